import CFFmpeg
import Glibc
import VditFiles
import VditTensor

/// SHA-256 through libavutil, as lower-case hexadecimal.
public enum Digest {
    public static func sha256(_ bytes: UnsafeRawBufferPointer) -> String {
        let state = State()
        state.add(bytes)
        return state.hexadecimal()
    }

    public static func sha256(_ bytes: [UInt8]) -> String {
        bytes.withUnsafeBytes { sha256($0) }
    }

    /// The digest of a file's content, read a megabyte at a time.
    ///
    /// - Throws: `MediaError.inaccessible` if the file is missing or cannot be read.
    public static func sha256(file path: String) throws(MediaError) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { throw .system(path, errno: errno, missing: .missingInput) }
        defer { close(descriptor) }
        let state = State()
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count == 0 { return state.hexadecimal() }
            if count < 0 {
                if errno == EINTR { continue }
                throw .system(path, errno: errno, missing: .missingInput)
            }
            buffer.withUnsafeBytes { state.add(UnsafeRawBufferPointer(rebasing: $0.prefix(count))) }
        }
    }

    private final class State {
        private let context: OpaquePointer

        init() {
            guard let context = av_sha_alloc() else { preconditionFailure("out of memory") }
            self.context = context
            av_sha_init(context, 256)
        }

        deinit { av_free(UnsafeMutableRawPointer(context)) }

        func add(_ bytes: UnsafeRawBufferPointer) {
            av_sha_update(context, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count)
        }

        func hexadecimal() -> String {
            var digest = [UInt8](repeating: 0, count: 32)
            av_sha_final(context, &digest)
            let digits = Array("0123456789abcdef")
            return String(digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
        }
    }
}
