import VditFiles
import VditTensor

/// Physical cores this process may use: its affinity, one per core, within the cgroup's share of time.
public func usableProcessors() -> Int {
    // Hyperthreads of one core share its units; the kernels keep one thread busy all by themselves.
    let cores = Set(
        Affinity.current.map { processor in
            systemLines("/sys/devices/system/cpu/cpu\(processor)/topology/thread_siblings_list").first
                ?? "\(processor)"
        })
    let count = max(1, cores.count)
    guard let limit = processorLimit() else { return count }
    return min(count, max(1, Int(limit.rounded(.up))))
}

/// Processors' worth of time the cgroups of this process grant, where they limit it.
///
/// - Parameter root: a folder in whose `proc` and `sys` to look.
public func processorLimit(root: String = "") -> Double? {
    ControlGroups(root: root).groups("cpu").compactMap { group -> Double? in
        let fields = group.isUnified
            ? systemLines("\(group.folder)/cpu.max").first?.split(separator: " ").map { Double($0) } ?? []
            : ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map { group.number($0).map(Double.init) }
        guard fields.count == 2, let quota = fields[0], let period = fields[1], quota > 0, period > 0 else { return nil }
        return quota / period
    }.min()
}
