/// How long something took, over several runs.
public struct Timing: Sendable, Codable, Equatable {
    /// Of every run, in order.
    public let seconds: [Double]
    public let medianSeconds: Double
    /// Of the run that was disturbed least.
    public var fastestSeconds: Double { seconds.min() ?? medianSeconds }
    /// Slowest less fastest run, over the median.
    public let spread: Double

    /// Statistics of runs already timed; at least one.
    public init(seconds: [Double]) {
        precondition(!seconds.isEmpty)
        let sorted = seconds.sorted()
        let middle = sorted.count / 2
        let median = sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
        self.seconds = seconds
        medianSeconds = median
        spread = median > 0 ? (sorted[sorted.count - 1] - sorted[0]) / median : 0
    }

    /// Runs `body` once untimed, then `repeats` times.
    public init<E: Error>(repeats: Int, _ body: () throws(E) -> Void) throws(E) {
        try body()
        var seconds: [Double] = []
        for _ in 0..<max(1, repeats) {
            let start = ContinuousClock.now
            try body()
            seconds.append(start.secondsUntilNow)
        }
        self.init(seconds: seconds)
    }
}

/// What this machine's arithmetic units and memory reach at most, measured now on the pool's threads.
public struct MachinePeaks: Sendable, Codable, Equatable {
    public let threads: Int
    public let instructionSet: String
    /// Teraflops per second of multiply-adds that never leave registers; nil where the set has none.
    public let fp32: Double?
    public let bf16: Double?
    /// The same of multiply-adds of 8-bit whole numbers.
    public let int8: Double?
    /// Gigabytes per second of reading memory in order.
    public let readBandwidth: Double

    public func teraflops(_ precision: Precision) -> Double? {
        switch precision {
        case .fp32: fp32
        case .bf16: bf16 ?? fp32
        case .int8: int8 ?? bf16 ?? fp32
        }
    }
}

extension ContinuousClock.Instant {
    package var secondsUntilNow: Double { duration(to: .now) / .seconds(1) }
}
