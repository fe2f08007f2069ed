import Glibc
import VditFiles

/// How much memory a process may still take, and who says so.
public struct MemoryLimit: Sendable, Equatable {
    public let bytes: Int
    /// `MemAvailable`, `ulimit -v`, `cgroup memory.max` or the caller's own word.
    public let source: String

    public init(bytes: Int, source: String) {
        self.bytes = bytes
        self.source = source
    }

    /// The smallest of the machine's available memory and what the limits and cgroups of this process leave.
    ///
    /// - Parameter root: a folder in whose `proc` and `sys` to look.
    public static func current(root: String = "") -> MemoryLimit {
        var limit = MemoryLimit(bytes: Int.max, source: "unknown")
        func lower(_ bytes: Int?, _ source: String) {
            if let bytes, bytes < limit.bytes {
                limit = MemoryLimit(bytes: max(0, bytes), source: source)
            }
        }
        for line in systemLines("\(root)/proc/meminfo") where line.hasPrefix("MemAvailable:") {
            let digits = line.drop { !$0.isNumber }.prefix { $0.isNumber }
            lower(Int(digits).map { $0 << 10 }, "MemAvailable")
        }
        // `ulimit -v` counts addresses: what is mapped already is spent.
        var addresses = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &addresses) == 0,
            addresses.rlim_cur < UInt64(Int.max)
        {
            let pages = systemLines("/proc/self/statm").first?.split(separator: " ").first.flatMap { Int($0) }
            lower(Int(addresses.rlim_cur) - (pages ?? 0) * Int(getpagesize()), "ulimit -v")
        }
        for group in ControlGroups(root: root).groups("memory") {
            let name = group.isUnified ? "memory.max" : "memory.limit_in_bytes"
            guard let most = group.number(name), most < 1 << 60 else { continue }
            let used = group.number(group.isUnified ? "memory.current" : "memory.usage_in_bytes") ?? 0
            // Files that were read count as used until their place is needed.
            let cached = group.number(group.isUnified ? "inactive_file" : "total_inactive_file", of: "memory.stat") ?? 0
            lower(most - max(0, used - cached), "cgroup \(name)")
        }
        return limit
    }

    /// The largest resident size of this process so far.
    public static var peakResidentBytes: Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss << 10
    }
}
