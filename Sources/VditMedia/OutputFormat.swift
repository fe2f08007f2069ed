import CFFmpeg
import VditFiles

/// What an output's name says it is.
public enum OutputFormat: String, Sendable, CaseIterable, Codable {
    case mp4, mov, mkv, webm, gif, y4m
    /// One still, `name.png`.
    case png
    /// One file per frame, `name%05d.png`.
    case pngSequence = "png-sequence"

    /// Endings we write, for messages and help.
    public static let names =
        ".mp4, .mov, .mkv, .webm, .gif, .y4m, .png or a pattern such as frames/%05d.png; - is Y4M to standard output"

    /// - Throws: `MediaError.setting` if the name's ending is none of ours.
    init(path: String) throws(MediaError) {
        if path == StandardOutput.name {
            self = .y4m
            return
        }
        let name = FilePath.split(path).name
        let ending = name.lastIndex(of: ".").map { name[name.index(after: $0)...].lowercased() } ?? ""
        guard let format = Self(rawValue: ending), format != .pngSequence else {
            throw .setting(
                "output", what: "output \(path)", found: ending.isEmpty ? "no file name extension" : ".\(ending)",
                expected: Self.names)
        }
        self = format == .png && name.contains("%") ? .pngSequence : format
    }

    /// Whether a name stands for one file per frame, as `frames/%05d.png` does.
    public static func isSequence(_ path: String) -> Bool { (try? OutputFormat(path: path)) == .pngSequence }

    /// libavformat's name of the muxer; nil where libpng writes.
    var muxer: String? {
        switch self {
        case .mp4, .mov, .webm, .gif: rawValue
        case .mkv: "matroska"
        case .y4m: "yuv4mpegpipe"
        case .png, .pngSequence: nil
        }
    }

    /// Codecs that players find in this container, the default first.
    public var codecs: [VideoCodec] {
        switch self {
        case .mp4: [.h264, .hevc, .av1, .vp9]
        case .mov: [.h264, .hevc, .prores]
        case .mkv: [.h264, .hevc, .av1, .vp9, .prores, .ffv1]
        case .webm: [.vp9, .av1]
        case .gif, .y4m, .png, .pngSequence: []
        }
    }

    var keepsMetadata: Bool { self != .gif && self != .y4m }
}

/// What we know about an encoder: its libav names in order of preference, and what it can be asked for.
struct EncoderRow {
    let names: [String]
    let pixelFormat: String
    var crf: (range: ClosedRange<Int>, standard: Int)?
    var presets: [String] = []
    var preset: String?
    /// The encoder itself refuses a size its chroma does not divide.
    var needsWholeChroma = false

    private static let x26xPresets = [
        "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
        "placebo",
    ]

    static func of(_ codec: VideoCodec) -> EncoderRow {
        switch codec {
        case .h264:
            EncoderRow(
                names: ["libx264", "libx264rgb"], pixelFormat: "yuv420p", crf: (0...51, 18),
                presets: x26xPresets, preset: "medium", needsWholeChroma: true)
        case .hevc:
            EncoderRow(
                names: ["libx265"], pixelFormat: "yuv420p", crf: (0...51, 20), presets: x26xPresets,
                preset: "medium", needsWholeChroma: true)
        case .av1:
            EncoderRow(
                names: ["libaom-av1"], pixelFormat: "yuv420p", crf: (0...63, 24),
                presets: (0...8).map(String.init), preset: "6")
        case .vp9:
            EncoderRow(
                names: ["libvpx-vp9"], pixelFormat: "yuv420p", crf: (0...63, 24),
                presets: (0...5).map(String.init), preset: "2")
        case .prores:
            EncoderRow(names: ["prores_ks"], pixelFormat: "yuv422p10le", needsWholeChroma: true)
        case .ffv1:
            EncoderRow(names: ["ffv1"], pixelFormat: "bgr0")
        }
    }

    static let gif = EncoderRow(names: ["gif"], pixelFormat: "pal8")
    static let y4m = EncoderRow(names: ["wrapped_avframe"], pixelFormat: "yuv444p")

    /// The first of `names` this build of FFmpeg has that takes the pixel format.
    func encoder(for format: AVPixelFormat) -> UnsafePointer<AVCodec>? {
        encoders.first { Self.pixelFormats(of: $0).map { $0.contains(format) } ?? true }
    }

    var encoders: [UnsafePointer<AVCodec>] { names.compactMap { avcodec_find_encoder_by_name($0) } }

    /// Formats an encoder takes; nil if it takes any.
    static func pixelFormats(of codec: UnsafePointer<AVCodec>) -> [AVPixelFormat]? {
        guard var next = codec.pointee.pix_fmts else { return nil }
        var formats: [AVPixelFormat] = []
        while next.pointee != AV_PIX_FMT_NONE {
            formats.append(next.pointee)
            next += 1
        }
        return formats
    }
}
