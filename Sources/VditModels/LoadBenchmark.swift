import Glibc
import VditFiles
import VditTensor

/// Times loading a transformer's file against reading it once: from the disk, as the first time is, and from the
/// system's memory, as times after it are.
public struct LoadBenchmark: Sendable {
    public let path: String

    /// - Parameter path: one file of weights.
    public init(_ path: String) { self.path = path }

    public struct Result: Sendable {
        public let byteCount: Int
        public let cold: Rounds
        public let warm: Rounds
    }

    /// Reading from the first byte to the last, the same into new memory that keeps it, and opening and packing; taking
    /// turns.
    public struct Rounds: Sendable {
        public let reading: Timing
        public let keeping: Timing
        public let loading: Timing

        /// How many times the time of reading loading takes, of each run.
        public var ratios: [Double] { zip(loading.seconds, reading.seconds).map { $0 / $1 } }
        /// The same of reading into new memory, which whoever goes on to use a file needs too.
        public var ratiosOfKeeping: [Double] { zip(loading.seconds, keeping.seconds).map { $0 / $1 } }
    }

    /// - Throws: `FileError` for a file that cannot be read, what loading a transformer throws.
    public func run(repeats: Int, _ compute: ComputeContext) throws -> Result {
        let file = try InputFile(path)
        let step = 1 << 23
        // One buffer all along, as what is read is used and let go.
        let buffer = Tensor(.u8, [step])
        func read() throws -> Tensor {
            try readAll { range in buffer.slice(0..<range.count) }
            return buffer
        }
        func keep() throws -> Tensor {
            let whole = Tensor(.u8, [file.byteCount])
            try readAll { range in whole.slice(range) }
            return whole
        }
        func readAll(_ place: (Range<Int>) -> Tensor) throws {
            for first in stride(from: 0, to: file.byteCount, by: step) {
                let range = first..<min(file.byteCount, first + step)
                let bytes = place(range).rawPointer
                try file.read(range, into: UnsafeMutableRawBufferPointer(start: bytes, count: range.count))
            }
        }
        func load() throws -> any VideoModel {
            let opened = try ModelCatalogue.openTransformer(path)
            return try opened.specification.load(opened.weights, compute)
        }
        var (cold, warm) = ([[Double]](), [[Double]]())
        for _ in 0..<max(1, repeats) {
            cold.append([try Self.time(read, after: forget), try Self.time(keep, after: forget),
                         try Self.time(load, after: forget)])
            _ = try read()
            warm.append([try Self.time(read), try Self.time(keep), try Self.time(load)])
        }
        return Result(byteCount: file.byteCount, cold: Rounds(seconds: cold), warm: Rounds(seconds: warm))
    }

    /// Until it is made, and not until it is gone.
    private static func time<Made>(_ make: () throws -> Made, after prepare: () -> Void = {}) rethrows -> Double {
        prepare()
        let start = ContinuousClock.now
        let made = try make()
        return withExtendedLifetime(made) { start.secondsUntilNow }
    }

    /// Has the system forget what it knows of the file, as far as it will.
    private func forget() {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        if file < 0 { return }
        fdatasync(file)
        posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED)
        close(file)
    }
}

extension LoadBenchmark.Rounds {
    /// - Parameter seconds: of reading, of keeping and of loading, in each round.
    fileprivate init(seconds: [[Double]]) {
        let timings = (0..<3).map { place in Timing(seconds: seconds.map { $0[place] }) }
        (reading, keeping, loading) = (timings[0], timings[1], timings[2])
    }
}
