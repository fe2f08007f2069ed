import Foundation

/// Repeatable random choices for tests: SplitMix64.
public struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
        return value ^ value >> 31
    }

    /// How many damaged files a test reads: a few, or what `VDIT_FUZZ` says.
    public static func mutatedFiles(orFew few: Int) -> Int {
        ProcessInfo.processInfo.environment["VDIT_FUZZ"].flatMap { Int($0) } ?? few
    }

    /// How many of the numbers below `count` are accepted; all processors look at them.
    public static func accepted(of count: Int, _ isAccepted: @escaping @Sendable (Int) -> Bool) async -> Int {
        let parts = ProcessInfo.processInfo.activeProcessorCount
        return await withTaskGroup(of: Int.self) { group in
            for part in 0..<parts {
                group.addTask { stride(from: part, to: count, by: parts).count(where: isAccepted) }
            }
            return await group.reduce(0, +)
        }
    }
}
