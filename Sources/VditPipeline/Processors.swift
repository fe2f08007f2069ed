import Foundation

/// Physical cores this process may use: its affinity, one per core, within the cgroup's share of time.
public func usableProcessors() -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") }
    let allowed = (line?.split(separator: "\t").last ?? "0").split(separator: ",").flatMap { part in
        let ends = part.split(separator: "-").compactMap { Int($0) }
        return Array((ends.first ?? 0)...max(ends.first ?? 0, ends.last ?? 0))
    }
    // Hyperthreads of one core share its units; the kernels keep one thread busy all by themselves.
    let cores = Set(
        allowed.map { processor in
            let folder = "/sys/devices/system/cpu/cpu\(processor)/topology/"
            let text = try? String(contentsOfFile: folder + "thread_siblings_list", encoding: .utf8)
            return text ?? "\(processor)"
        })
    let count = max(1, cores.count)
    guard let limit = processorLimit() else { return count }
    return min(count, max(1, Int(limit.rounded(.up))))
}

/// Processors' worth of time the cgroup grants, where it limits it.
func processorLimit() -> Double? {
    guard let quota = try? String(contentsOfFile: "/sys/fs/cgroup/cpu.max", encoding: .utf8) else { return nil }
    let fields = quota.split { $0 == " " || $0 == "\n" }.compactMap { Double($0) }
    return fields.count == 2 && fields[1] > 0 ? fields[0] / fields[1] : nil
}
