import VditFiles
import VditMedia
import VditModels
import VditTensor

/// The file a video goes to, and what is written beside it.
public struct VideoDestination: Sendable {
    /// Whether settings are embedded in the file.
    public enum Metadata: Sendable { case embed, omit }
    /// Whether `OUT.json` is written.
    public enum Record: Sendable { case write, omit }

    public var path: String
    /// Codec, quality and the like. Its frame rate gives way to the run's, its metadata is added to.
    public var options: VideoOptions
    public var metadata = Metadata.embed
    public var record = Record.write
    /// A PNG of evenly spaced frames.
    public var contactSheet: String?
    public var contactSheetTiles = 9

    /// - Parameter options: the format's own defaults if nil.
    public init(path: String, options: VideoOptions? = nil) {
        self.path = path
        self.options = options ?? VideoOptions(frameRate: .sixteen)
    }

    /// What to do with files that exist, of all that are written.
    public var existing: ExistingFile { options.existing }

    /// Whether the video goes to standard output: nothing lies beside it then.
    public var isStream: Bool { path == StandardOutput.name }

    /// Where the state lies that a run can go on from; nil beside a video that is no file.
    var statePath: String? { isStream ? nil : Checkpoint.path(forOutput: path) }

    var recordPath: String { RunRecord.path(forOutput: path) }

    /// Names every file that will be written.
    func add(to files: inout FileRoles) {
        files.make(path, as: "video", isNumbered: OutputFormat.isSequence(path))
        if record == .write { files.make(recordPath, as: "record") }
        files.make(contactSheet, as: "contact sheet")
    }

    /// Checks everything that will be written before anything is computed; creates nothing.
    ///
    /// - Parameter existing: what is to be done with files that exist, if not what the destination says.
    /// - Throws: `MediaError` or `FileError` naming the path and the reason.
    func validate(
        width: Int, height: Int, frameCount: Int, frameRate: FrameRate, existing: ExistingFile? = nil,
        known: KnownEncoders? = nil
    ) throws -> VideoPlan {
        var options = options
        options.frameRate = frameRate
        options.existing = existing ?? options.existing
        let plan = try FFmpegWriter.validate(
            path: path, width: width, height: height, frameCount: frameCount, options: options, known: known)
        if record == .write { try AtomicFile.check(recordPath, existing: options.existing) }
        if let contactSheet {
            try blaming("contact_sheet") { try AtomicFile.check(contactSheet, existing: options.existing) }
        }
        return plan
    }
}
