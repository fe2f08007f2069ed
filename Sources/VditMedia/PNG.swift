import CPNG
import Glibc
import VditFiles
import VditTensor

/// PNG files through libpng.
public enum PNG {
    /// Larger pictures are refused before memory is taken for them.
    public static let byteLimit = 1 << 30

    /// A picture read from a file.
    public struct Picture: Sendable {
        /// u8 or u16 `[height, width, channels]`, 1 channel (gray) or 3 (R'G'B').
        public let samples: Tensor
        /// The text chunks.
        public let text: [String: String]
        /// Whether an alpha channel was dropped.
        public let hadAlpha: Bool

        /// The picture as a frame; gray is repeated in the three channels.
        public var frame: VideoFrame {
            if samples.shape[2] == 3 { return VideoFrame(pixels: samples) }
            let result = VideoFrame(
                height: samples.shape[0], width: samples.shape[1],
                depth: samples.dtype == .u8 ? .eight : .sixteen)
            let bytes = samples.dtype.byteCount
            for index in 0..<samples.count {
                for channel in 0..<3 {
                    memcpy(
                        result.pixels.rawPointer + (3 * index + channel) * bytes,
                        samples.rawPointer + index * bytes, bytes)
                }
            }
            return result
        }
    }

    /// Writes samples to a file that appears complete or not at all, tagged sRGB.
    ///
    /// - Parameters:
    ///   - samples: u8 or u16 `[height, width, channels]`, 1 or 3 channels.
    ///   - text: text chunks; keys of 1 to 79 printable characters.
    /// - Throws: `MediaError` if the target exists (unless it may be replaced) or cannot be written.
    public static func write(
        _ samples: Tensor, text: [String: String] = [:], to path: String, existing: ExistingFile
    ) throws(MediaError) {
        try MediaError.files { () throws(FileError) in try AtomicFile.check(path, existing: existing) }
        let temporary = AtomicFile.freshTemporaryPath(for: path)
        do throws(MediaError) {
            try writeInPlace(samples, text: text, to: temporary, named: path)
        } catch {
            unlink(temporary)
            throw error
        }
        try MediaError.files { () throws(FileError) in
            try AtomicFile.commit(temporary: temporary, to: path, existing: existing)
        }
    }

    /// Reads any PNG; palettes and low bit depths are expanded to 8 bits, alpha is dropped.
    ///
    /// - Throws: `MediaError`: missing or unreadable, no PNG, damaged, truncated, or over `byteLimit`.
    public static func read(_ path: String) throws(MediaError) -> Picture {
        if path.utf8.contains(0) {
            throw .invalid("path", found: "a NUL character", expected: "a file name", kind: .usage)
        }
        guard let type = FilePath.type(path).type else { throw .system(path, errno: errno, missing: .missingInput) }
        if type != S_IFREG {
            throw .inaccessible(
                path: path, reason: type == S_IFDIR ? "is a directory" : "is not a regular file",
                kind: .badData)
        }
        var picture = vdit_png_picture()
        var failure = vdit_png_failure()
        if path.withPath({ vdit_png_read($0, byteLimit, &picture, &failure) }) != 0 {
            throw error(path, failure, missing: .missingInput, content: .badData)
        }
        defer { vdit_png_free(&picture) }
        let samples = Tensor(
            picture.depth == 8 ? .u8 : .u16,
            [Int(picture.height), Int(picture.width), Int(picture.channels)])
        memcpy(samples.rawPointer, picture.samples, samples.byteCount)
        var text: [String: String] = [:]
        for index in 0..<Int(picture.text_count) {
            text[String(cString: picture.texts[index].key)] = String(cString: picture.texts[index].value)
        }
        return Picture(samples: samples, text: text, hadAlpha: picture.has_alpha != 0)
    }

    /// Writes `path` itself, without syncing it; errors name `name`.
    static func writeInPlace(
        _ samples: Tensor, text: [String: String], to path: String, named name: String
    ) throws(MediaError) {
        precondition(samples.rank == 3 && [1, 3].contains(samples.shape[2]) && samples.count > 0)
        precondition(samples.dtype == .u8 || samples.dtype == .u16)
        let sorted = text.sorted { $0.key < $1.key }
        // strdup, so that all strings live until the call is over.
        let chunks = sorted.map { vdit_png_text(key: strdup($0.key), value: strdup($0.value)) }
        defer {
            for chunk in chunks {
                free(UnsafeMutablePointer(mutating: chunk.key))
                free(UnsafeMutablePointer(mutating: chunk.value))
            }
        }
        var failure = vdit_png_failure()
        let status = path.withPath {
            vdit_png_write(
                $0, UInt32(samples.shape[1]), UInt32(samples.shape[0]), Int32(samples.shape[2]),
                Int32(samples.dtype.byteCount * 8), samples.pointer(of: UInt8.self), chunks,
                Int32(chunks.count), &failure)
        }
        if status != 0 { throw error(name, failure, missing: .cannotCreate, content: .internalError) }
    }

    private static func error(
        _ path: String, _ failure: vdit_png_failure, missing: FailureKind, content: FailureKind
    ) -> MediaError {
        if failure.code != 0 { return .system(path, errno: failure.code, missing: missing) }
        let reason = withUnsafeBytes(of: failure.text) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        return .library(path: path, call: "libpng", reason: reason, kind: content)
    }
}
