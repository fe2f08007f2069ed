import CFFmpeg
import Glibc
import VditFiles
import VditTensor

/// The few things every call into FFmpeg shares: silence, status checks, options.
enum Libav {
    /// Evaluated once before the first call: libav's messages are kept for our errors instead of printed.
    private static let silence: Void = vdit_av_keep_messages()

    /// Runs one libav call and turns a negative status into an error that carries libav's own words.
    @discardableResult
    static func check(
        _ path: String, _ call: String, fallback kind: FailureKind, _ body: () -> Int32
    ) throws(MediaError) -> Int32 {
        prepare()
        let status = body()
        if status < 0 { throw error(path, call, status, fallback: kind) }
        return status
    }

    static func prepare() {
        _ = silence
        vdit_av_clear_message()
    }

    /// The last error line libav logged on this thread since `prepare`, if any.
    static var message: String? {
        let text = String(path: vdit_av_message())
        return text.isEmpty ? nil : text
    }

    static func error(
        _ path: String, _ call: String, _ status: Int32, fallback kind: FailureKind
    ) -> MediaError {
        var text = [CChar](repeating: 0, count: 128)
        vdit_av_describe(status, &text, text.count)
        let name = text.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        let reason = message.map { "\(name) (\($0))" } ?? name
        // Small statuses are errno values, the system's word; the others are libav's own.
        let system: FailureKind? =
            switch -status {
            case ENOMEM, EMFILE, ENFILE: .osError
            case ENOSPC, EDQUOT, EFBIG, EIO, EPIPE: .ioError
            case EACCES, EPERM, EROFS: .permission
            default: nil
            }
        return .library(path: path, call: call, reason: reason, kind: system ?? kind)
    }

    /// What libav opens without looking for a protocol in the name.
    static func url(_ path: String) -> String { "file:" + path }

    /// What libav calls the stream that is written to without seeking.
    static let standardOutput = "pipe:1"

    static func outOfMemory(_ path: String, _ call: String) -> MediaError {
        .library(path: path, call: call, reason: "out of memory", kind: .osError)
    }

    static func pixelFormat(named name: String) -> AVPixelFormat? {
        let format = av_get_pix_fmt(name)
        return format == AV_PIX_FMT_NONE ? nil : format
    }

    static func name(of format: AVPixelFormat) -> String {
        av_get_pix_fmt_name(format).map { String(cString: $0) } ?? "none"
    }

    /// An allocated picture of a size and format, with room behind its rows for SIMD code.
    static func picture(
        _ format: AVPixelFormat, _ width: Int, _ height: Int
    ) throws(MediaError) -> UnsafeMutablePointer<AVFrame> {
        guard let frame = av_frame_alloc() else { throw outOfMemory("frame", "av_frame_alloc") }
        frame.pointee.format = format.rawValue
        frame.pointee.width = Int32(width)
        frame.pointee.height = Int32(height)
        let status = av_frame_get_buffer(frame, 0)
        if status < 0 {
            var released: UnsafeMutablePointer<AVFrame>? = frame
            av_frame_free(&released)
            throw error("frame", "av_frame_get_buffer", status, fallback: .osError)
        }
        return frame
    }
}

/// Options for libav, checked afterwards: one it did not understand is our mistake and is not ignored.
struct LibavOptions: ~Copyable {
    var dictionary: OpaquePointer?

    init(_ options: [(String, String)]) {
        for (key, value) in options { av_dict_set(&dictionary, key, value, 0) }
    }

    deinit {
        var dictionary = dictionary
        av_dict_free(&dictionary)
    }

    /// The name of an option that was left over, if any.
    var unused: String? {
        av_dict_get(dictionary, "", nil, AV_DICT_IGNORE_SUFFIX).map { String(cString: $0.pointee.key) }
    }
}
