import CVditKernels
import Glibc

/// Processors that the calling thread may run on.
public enum Affinity {
    /// Ascending, at least one.
    public static var current: [Int] {
        var words = [UInt64](repeating: 0, count: 16)
        while true {
            let status = vdit_get_affinity(&words, words.count)
            if status == 0 { break }
            guard status == EINVAL, words.count < 1024 else {
                return Array(0..<max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
            }
            words = [UInt64](repeating: 0, count: 2 * words.count)
        }
        return (0..<64 * words.count).filter { words[$0 / 64] >> UInt64($0 % 64) & 1 == 1 }
    }

    /// Holds the thread to some processors, where the system lets it.
    static func hold(to processors: [Int]) {
        var words = [UInt64](repeating: 0, count: (processors.last ?? 0) / 64 + 1)
        for processor in processors { words[processor / 64] |= 1 << UInt64(processor % 64) }
        _ = vdit_set_affinity(words, words.count)
    }
}
