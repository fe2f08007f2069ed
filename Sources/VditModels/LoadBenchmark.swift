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
        public let cold: Pair
        public let warm: Pair
    }

    /// Reading from the first byte to the last, and opening and packing; alternating.
    public struct Pair: Sendable {
        public let reading: Timing
        public let loading: Timing

        /// How many times the time of reading loading takes, of each run.
        public var ratios: [Double] { zip(loading.seconds, reading.seconds).map { $0 / $1 } }
    }

    /// - Throws: `FileError` for a file that cannot be read, what loading a transformer throws.
    public func run(repeats: Int, _ compute: ComputeContext) throws -> Result {
        // One buffer all along, as what is read is used and let go.
        let buffer = Tensor(.u8, [1 << 23])
        let file = try InputFile(path)
        func read() throws {
            for first in stride(from: 0, to: file.byteCount, by: buffer.count) {
                let range = first..<min(file.byteCount, first + buffer.count)
                try file.read(range, into: UnsafeMutableRawBufferPointer(start: buffer.rawPointer, count: range.count))
            }
        }
        func load() throws -> any VideoModel {
            let opened = try ModelCatalogue.openTransformer(path)
            return try opened.specification.load(opened.weights, compute)
        }
        var seconds = [[Double]](repeating: [], count: 4)
        for _ in 0..<max(1, repeats) {
            forget()
            seconds[0].append(try Self.time(read))
            forget()
            seconds[1].append(try Self.time(load))
            try read()
            seconds[2].append(try Self.time(read))
            seconds[3].append(try Self.time(load))
        }
        let timings = seconds.map(Timing.init(seconds:))
        return Result(
            byteCount: file.byteCount, cold: Pair(reading: timings[0], loading: timings[1]),
            warm: Pair(reading: timings[2], loading: timings[3]))
    }

    /// Until it is made, and not until it is gone.
    private static func time<Made>(_ make: () throws -> Made) rethrows -> Double {
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
