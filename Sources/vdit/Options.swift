import ArgumentParser
import Foundation
import VDiT

/// What is said while a job runs.
struct ReportOptions: ParsableArguments {
    enum LogFormat: String, ExpressibleByArgument, CaseIterable { case text, json }

    @Flag(name: [.short, .long], help: "Only say what went wrong.")
    var quiet = false

    @Flag(name: [.short, .long], help: "Also say which settings are used and why, and where time goes.")
    var verbose = false

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Messages as text, or as one JSON object per line.", valueName: "text|json"))
    var logFormat = LogFormat.text

    func validate() throws {
        if quiet && verbose { throw ValidationError("--quiet and --verbose contradict each other; give one") }
    }
}

/// What a job computes with.
struct MachineOptions: ParsableArguments {
    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "bf16: bf16 weights and operands, fp32 sums. fp32: the reference. Default: bf16.",
            valueName: "bf16|fp32"))
    var precision: Precision?

    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp("Threads. Default: the cores this process may use.", valueName: "n"))
    var threads: Int?

    /// Both, decided, for jobs that have no table of settings.
    func decided() throws -> (precision: Precision, threads: Int) {
        var settings = Settings()
        let threads = try settings.value("threads", threads) ?? usableProcessors()
        guard (1...1024).contains(threads) else {
            throw CommandError(description: "threads: found \(threads), expected 1 to 1024")
        }
        return (try settings.value("precision", precision) ?? .bf16, threads)
    }
}

/// Where a video goes and how it is written.
struct OutputOptions: ParsableArguments {
    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp(
            "The file to make: \(OutputFormat.names). A single .png is a contact sheet.",
            valueName: "file"))
    var output: String?

    @Flag(name: .long, help: "Replace files that exist.")
    var overwrite = false

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Default: h264; vp9 for .webm.",
            valueName: "name"))
    var codec: VideoCodec?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Quality, lower is better and larger. Default: h264 18, hevc 20, av1 and vp9 24.", valueName: "n"))
    var crf: Int?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Encoder speed: h264 and hevc 'medium', 'slow', …; av1 and vp9 a number.", valueName: "name"))
    var preset: String?

    @Option(
        name: [.customLong("pixel-format"), .customLong("pix-fmt")], parsing: .unconditional,
        help: ArgumentHelp("FFmpeg's name of a pixel format. Default: yuv420p.", valueName: "name"))
    var pixelFormat: String?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Bits per sample of PNG files. Default: 8.", valueName: "8|16"))
    var pngDepth: SampleDepth?

    @Flag(name: .long, help: "A single .png shows the first frame instead of a contact sheet.")
    var firstFrame = false

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Also write a PNG of evenly spaced frames.", valueName: "file.png"))
    var contactSheet: String?

    @Flag(name: .long, help: "Embed no settings in the file.")
    var noMetadata = false

    @Flag(name: .long, help: "Write no OUT.json beside the file.")
    var noSidecar = false

    /// - Throws: 64 when none was given.
    func path() throws -> String {
        guard let output else { throw ValidationError("Missing expected argument '--output <file>'") }
        return output
    }

    /// - Parameters:
    ///   - path: of the file to make.
    ///   - threads: of the encoder.
    ///   - recorded: how a file of the same kind was encoded, for what no flag says.
    func destination(
        _ path: String, threads: Int, recorded: RunRecord.Output? = nil
    ) throws -> VideoDestination {
        // The rate is the run's; this one is replaced by it.
        var options = VideoOptions(frameRate: try FrameRate(16))
        options.codec = codec
        options.crf = crf
        options.preset = preset
        options.pixelFormat = pixelFormat
        options.pngDepth = pngDepth ?? .eight
        if let recorded, Self.ending(recorded.path) == Self.ending(path) {
            if let name = recorded.codec, codec == nil || codec?.rawValue == name {
                options.codec = VideoCodec(rawValue: name)
                options.crf = crf ?? recorded.crf
                options.pixelFormat = pixelFormat ?? recorded.pixFmt
                options.preset = preset ?? recorded.preset
            }
            if pngDepth == nil, recorded.pixFmt == "rgb48be" { options.pngDepth = .sixteen }
        }
        if firstFrame { options.still = .firstFrame }
        options.existing = overwrite ? .replace : .refuse
        options.threads = min(max(threads, 1), 1024)
        var destination = VideoDestination(path: path, options: options)
        destination.contactSheet = contactSheet
        if noMetadata { destination.metadata = .omit }
        if noSidecar { destination.record = .omit }
        return destination
    }

    private static func ending(_ path: String) -> Substring? { path.split(separator: ".").last }
}

extension SampleDepth: ExpressibleByArgument {}

/// The command line, for records.
var commandLine: [String] { ["vdit"] + CommandLine.arguments.dropFirst() }
