import Glibc
import VditFiles
import VditTensor

/// Times loading a transformer's file against reading it once, both from the disk.
public struct LoadBenchmark: Sendable {
    public let path: String

    /// - Parameter path: one file of weights.
    public init(_ path: String) { self.path = path }

    public struct Result: Sendable {
        public let byteCount: Int
        /// Reading it from the first byte to the last, and opening and packing it; alternating.
        public let reading: Timing
        public let loading: Timing
    }

    /// - Throws: `FileError` for a file that cannot be read, what loading a transformer throws.
    public func run(repeats: Int, _ compute: ComputeContext) throws -> Result {
        var (reading, loading): ([Double], [Double]) = ([], [])
        var byteCount = 0
        for _ in 0..<max(1, repeats) {
            forget()
            var start = ContinuousClock.now
            let file = try InputFile(path)
            byteCount = file.byteCount
            for first in stride(from: 0, to: byteCount, by: 1 << 23) {
                _ = try file.read(first..<min(byteCount, first + 1 << 23))
            }
            reading.append(start.secondsUntilNow)
            forget()
            start = .now
            let opened = try ModelCatalogue.openTransformer(path)
            _ = try opened.specification.load(opened.weights, compute)
            loading.append(start.secondsUntilNow)
        }
        return Result(byteCount: byteCount, reading: Timing(seconds: reading), loading: Timing(seconds: loading))
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
