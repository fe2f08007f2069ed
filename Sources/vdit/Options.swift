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

    @OptionGroup var settings: SettingFlags<OutputSection>

    @Flag(name: .long, help: "A single .png shows the first frame instead of a contact sheet.")
    var firstFrame = false

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
        var given = Settings(recorded: recorded.map { recordedSettings($0, for: path) } ?? [:])
        given.add(settings)
        // The rate is the run's; this one is replaced by it.
        var options = VideoOptions(frameRate: try FrameRate(16))
        if firstFrame { options.still = .firstFrame }
        options.existing = overwrite ? .replace : .refuse
        options.threads = min(max(threads, 1), 1024)
        var job = RenderJob(model: "", promptEmbedding: "", destination: VideoDestination(path: path, options: options))
        if noSidecar || job.destination.isStream { job.destination.record = .omit }
        try given.apply(OutputSection.rows, to: &job)
        return job.destination
    }

    /// Another container has codecs of its own.
    private func recordedSettings(_ output: RunRecord.Output, for path: String) -> [String: String] {
        func ending(_ path: String) -> Substring? { path.split(separator: ".").last }
        return ending(output.path) == ending(path) ? output.settings : [:]
    }
}

/// - Throws: 64 where two things would go to standard output.
func checkStandardOutput(_ outputs: String?..., json: Bool) throws {
    if json && outputs.contains(StandardOutput.name) {
        throw ValidationError("--json and an output '-' both write to standard output; give one")
    }
}

/// The command line, for records.
var commandLine: [String] { ["vdit"] + Vdit.arguments }
