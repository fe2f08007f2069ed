import CFFmpeg
import Glibc
import VditTensor

/// Everything about an output that follows from its name, size and options: what `validate` found good.
public struct VideoPlan: Sendable, Equatable {
    public let path: String
    public let format: OutputFormat
    public let width: Int
    public let height: Int
    public let frameCount: Int
    public let options: VideoOptions
    /// The codec the container will hold; nil for GIF, Y4M and PNG.
    public let codec: VideoCodec?
    /// libav's name of the encoder, or "libpng".
    public let encoder: String
    public let pixelFormat: String
    public let crf: Int?
    public let preset: String?
    /// The samples to hand to `FFmpegWriter.write`: 16 bits where the file keeps more than 8.
    public let frameDepth: SampleDepth

    /// x264 and libaom write other bytes on several threads, so they get one.
    var threads: Int32 { codec == .h264 || codec == .av1 ? 1 : Int32(options.threads) }

    var libavFormat: AVPixelFormat { Libav.pixelFormat(named: pixelFormat) ?? AV_PIX_FMT_NONE }

    /// Checks everything that can be known before the first frame, in the order a person would fix it.
    ///
    /// - Parameter frameCount: frames that will be written.
    /// - Throws: `MediaError`, naming the option or path and what to use instead.
    init(
        path: String, width: Int, height: Int, frameCount: Int, options: VideoOptions
    ) throws(MediaError) {
        let format = try OutputFormat(path: path)
        try Self.checkSize(width, height, frameCount, format, options)
        try Self.checkMetadata(options, format)
        self.path = path
        self.format = format
        self.width = width
        self.height = height
        self.frameCount = frameCount
        self.options = options

        let codec = try Self.codec(options, format)
        self.codec = codec
        try Self.checkLoop(options.loop, format)
        let row: EncoderRow? =
            switch format {
            case .gif: .gif
            case .y4m: .y4m
            case .png, .pngSequence: nil
            default: codec.map(EncoderRow.of)
            }
        guard let row else {
            try Self.refuse(options.crf.map(String.init), "crf", "crf", for: format)
            try Self.refuse(options.preset, "preset", "preset", for: format)
            try Self.refuse(options.pixelFormat, "pix_fmt", "pixel format", for: format)
            encoder = "libpng"
            pixelFormat = options.pngDepth == .eight ? "rgb24" : "rgb48be"
            (crf, preset) = (nil, nil)
            frameDepth = options.pngDepth
            return
        }
        let label = codec?.rawValue ?? format.rawValue
        crf = try Self.crf(options.crf, row, label)
        preset = try Self.preset(options.preset, row, label)
        if format == .gif { try Self.refuse(options.pixelFormat, "pix_fmt", "pixel format", for: format) }
        let name = options.pixelFormat ?? row.pixelFormat
        let pixelFormat = try Self.pixelFormat(name, row, label)
        self.pixelFormat = name
        guard let encoder = row.encoder(for: pixelFormat) else {
            throw .invalid(
                "codec \(label)", found: "an FFmpeg build without \(row.names.joined(separator: " or "))",
                expected: "a build with it, or another codec", kind: .unsupported)
        }
        self.encoder = String(cString: encoder.pointee.name)
        let description = av_pix_fmt_desc_get(pixelFormat)
        frameDepth = description.map { $0.pointee.comp.0.depth > 8 } ?? false ? .sixteen : .eight
        try Self.checkChroma(width, height, pixelFormat, name, row, label)
    }

    private static func checkSize(
        _ width: Int, _ height: Int, _ frameCount: Int, _ format: OutputFormat, _ options: VideoOptions
    ) throws(MediaError) {
        for (what, value) in [("width", width), ("height", height)] where !(1...16384).contains(value) {
            throw .invalid(what, found: "\(value)", expected: "1 to 16384 pixels", kind: .usage)
        }
        guard frameCount >= 1, frameCount <= 10_000_000 else {
            throw .invalid("frames", found: "\(frameCount)", expected: "1 to 10000000", kind: .usage)
        }
        guard (1...1024).contains(options.threads) else {
            throw .invalid("threads", found: "\(options.threads)", expected: "1 to 1024", kind: .usage)
        }
        if format == .gif, options.frameRate.framesPerSecond > 50 {
            throw .setting(
                "fps", what: "frame rate of a GIF", found: "\(options.frameRate)",
                expected: "at most 50: its clock ticks in hundredths of a second")
        }
        if format == .png, case .contactSheet(let tiles) = options.still, !(1...400).contains(tiles) {
            throw .invalid("contact sheet tiles", found: "\(tiles)", expected: "1 to 400", kind: .usage)
        }
    }

    private static func checkMetadata(
        _ options: VideoOptions, _ format: OutputFormat
    ) throws(MediaError) {
        for (key, value) in options.metadata {
            let plain = key.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "=") }
            if key.isEmpty || key.utf8.count > 79 || !plain {
                throw .invalid(
                    "metadata key \"\(key.prefix(80))\"", found: "\(key.utf8.count) bytes",
                    expected: "1 to 79 printable ASCII characters without space and =", kind: .usage)
            }
            if value.utf8.contains(0) || value.utf8.count > 1 << 20 {
                throw .invalid(
                    "metadata \(key)", found: "\(value.utf8.count) bytes",
                    expected: "at most 1 MiB without NUL", kind: .usage)
            }
        }
    }

    private static func checkLoop(_ loop: Int?, _ format: OutputFormat) throws(MediaError) {
        guard let loop else { return }
        guard format == .gif else { return try refuse("\(loop)", "loop", "loop", for: format) }
        guard (-1...65535).contains(loop) else {
            throw .setting("loop", what: "loop", found: "\(loop)", expected: "-1 to 65535")
        }
    }

    private static func codec(
        _ options: VideoOptions, _ format: OutputFormat
    ) throws(MediaError) -> VideoCodec? {
        guard let wanted = options.codec else { return format.codecs.first }
        if format.codecs.contains(wanted) { return wanted }
        let homes = OutputFormat.allCases.filter { $0.codecs.contains(wanted) }.map { ".\($0.rawValue)" }
        let choices = format.codecs.map(\.rawValue).joined(separator: ", ")
        throw .setting(
            "codec", what: "codec of a .\(format == .pngSequence ? "png" : format.rawValue) output",
            found: wanted.rawValue,
            expected: (choices.isEmpty ? "no codec option" : choices)
                + " (or name the output \(homes.joined(separator: " or ")))")
    }

    private static func crf(
        _ wanted: Int?, _ row: EncoderRow, _ label: String
    ) throws(MediaError) -> Int? {
        guard let crf = row.crf else {
            if let wanted {
                throw .setting(
                    "crf", what: "crf of \(label)", found: "\(wanted)",
                    expected: "none: \(label) has no such setting")
            }
            return nil
        }
        let value = wanted ?? crf.standard
        guard crf.range.contains(value) else {
            throw .setting(
                "crf", what: "crf of \(label)", found: "\(value)",
                expected: "\(crf.range.lowerBound) to \(crf.range.upperBound)")
        }
        return value
    }

    private static func preset(
        _ wanted: String?, _ row: EncoderRow, _ label: String
    ) throws(MediaError) -> String? {
        guard let wanted else { return row.preset }
        if row.presets.contains(wanted) { return wanted }
        let choices = row.presets.joined(separator: ", ")
        throw .setting(
            "preset", what: "preset of \(label)", found: "\"\(wanted.prefix(40))\"",
            expected: choices.isEmpty ? "none: \(label) has no such setting" : choices)
    }

    private static func pixelFormat(
        _ name: String, _ row: EncoderRow, _ label: String
    ) throws(MediaError) -> AVPixelFormat {
        let format = Libav.pixelFormat(named: name)
        let offered =
            label == "y4m"
            ? ["yuv420p", "yuv422p", "yuv444p"].compactMap(Libav.pixelFormat(named:))
            : row.encoders.flatMap { EncoderRow.pixelFormats(of: $0) ?? [] }
        // Alpha and the deprecated yuvj formats (full range by another name) are nothing we can fill rightly.
        let usable = offered.filter {
            let description = av_pix_fmt_desc_get($0)
            let alpha = description.map { $0.pointee.flags & UInt64(AV_PIX_FMT_FLAG_ALPHA) != 0 } ?? true
            return !alpha && !Libav.name(of: $0).hasPrefix("yuvj") || Libav.name(of: $0) == "pal8"
        }
        if let format, usable.contains(format) || offered.isEmpty { return format }
        throw .setting(
            "pix_fmt", what: "pixel format of \(label)", found: "\"\(name.prefix(40))\"",
            expected: usable.map(Libav.name(of:)).joined(separator: ", "))
    }

    private static func checkChroma(
        _ width: Int, _ height: Int, _ format: AVPixelFormat, _ name: String, _ row: EncoderRow,
        _ label: String
    ) throws(MediaError) {
        guard row.needsWholeChroma, let description = av_pix_fmt_desc_get(format) else { return }
        let (x, y) = (1 << Int(description.pointee.log2_chroma_w), 1 << Int(description.pointee.log2_chroma_h))
        if width % x == 0, height % y == 0 { return }
        let even = "\((width + x - 1) / x * x)x\((height + y - 1) / y * y)"
        let fuller = label == "prores" ? "yuv444p10le" : "yuv444p"
        throw .setting(
            "width", what: "size for \(label) with pixel format \(name)", found: "\(width)x\(height)",
            expected: "even sizes such as \(even), or pixel format \(fuller)")
    }

    private static func refuse(
        _ value: String?, _ setting: String, _ what: String, for format: OutputFormat
    ) throws(MediaError) {
        if let value {
            let name = format == .pngSequence ? "png" : format.rawValue
            throw .setting(
                setting, what: "\(what) of a .\(name) output", found: value,
                expected: "none: it has no such setting")
        }
    }
}
