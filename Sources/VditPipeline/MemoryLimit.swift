import Glibc

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
    public static func current() -> MemoryLimit {
        var limit = MemoryLimit(bytes: Int.max, source: "unknown")
        func lower(_ bytes: Int?, _ source: String) {
            if let bytes, bytes < limit.bytes {
                limit = MemoryLimit(bytes: max(0, bytes), source: source)
            }
        }
        for line in lines("/proc/meminfo") where line.hasPrefix("MemAvailable:") {
            let digits = line.drop { !$0.isNumber }.prefix { $0.isNumber }
            lower(Int(digits).map { $0 << 10 }, "MemAvailable")
        }
        // `ulimit -v` counts addresses: what is mapped already is spent.
        var addresses = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &addresses) == 0,
            addresses.rlim_cur < UInt64(Int.max)
        {
            let pages = lines("/proc/self/statm").first?.split(separator: " ").first.flatMap { Int($0) }
            lower(Int(addresses.rlim_cur) - (pages ?? 0) * Int(getpagesize()), "ulimit -v")
        }
        for line in lines("/proc/self/cgroup") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let isSecond = fields[1].isEmpty
            guard isSecond || fields[1].split(separator: ",").contains("memory") else { continue }
            var path = String(fields[2])
            // A limit may sit on any ancestor; inside a container the path may not exist.
            while true {
                let folder = (isSecond ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory") + path
                let maximum = isSecond ? "memory.max" : "memory.limit_in_bytes"
                let current = isSecond ? "memory.current" : "memory.usage_in_bytes"
                if let most = number("\(folder)/\(maximum)"), most < 1 << 60 {
                    lower(most - (number("\(folder)/\(current)") ?? 0), "cgroup \(maximum)")
                }
                if path.isEmpty || path == "/" { break }
                path = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
            }
        }
        return limit
    }

    /// The largest resident size of this process so far.
    public static var peakResidentBytes: Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss << 10
    }

    private static func number(_ path: String) -> Int? { lines(path).first.flatMap { Int($0) } }

    private static func lines(_ path: String) -> [Substring] {
        guard let file = fopen(path, "r") else { return [] }
        defer { fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = fread(&buffer, 1, buffer.count, file)
        return String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n")
    }
}
