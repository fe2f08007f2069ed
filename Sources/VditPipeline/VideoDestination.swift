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

/// Takes decoded frames to the encoder and the contact sheet, and counts the time that takes.
final class VideoOutput {
    private var writer: FFmpegWriter?
    private var sheet: ContactSheet?
    private let destination: VideoDestination
    private let pool: WorkPool
    private(set) var written = 0
    private(set) var seconds = 0.0
    let plan: VideoPlan

    init(
        _ destination: VideoDestination, width: Int, height: Int, frameCount: Int,
        frameRate: FrameRate, metadata: [String: String], pool: WorkPool
    ) throws {
        var options = destination.options
        options.frameRate = frameRate
        if destination.metadata == .embed { options.metadata.merge(metadata) { own, _ in own } }
        let writer = try FFmpegWriter(
            path: destination.path, width: width, height: height, frameCount: frameCount,
            options: options)
        plan = writer.plan
        self.writer = consume writer
        self.destination = destination
        self.pool = pool
        if destination.contactSheet != nil {
            sheet = try ContactSheet(
                width: width, height: height, frameCount: frameCount,
                tiles: destination.contactSheetTiles, frameRate: frameRate, depth: plan.frameDepth)
        }
    }

    /// Appends a decoder's frames, each `[height, width, 3]` f32 in −1…1.
    func append(_ frames: [Tensor]) throws {
        let start = ContinuousClock.now
        for picture in frames {
            let frame = try VideoFrame(
                rounding: picture, number: written, depth: plan.frameDepth, pool: pool)
            try writer?.write(frame)
            try sheet?.add(frame)
            written += 1
        }
        seconds += start.secondsUntilNow
    }

    /// Gives the files their names.
    func finish() throws {
        let start = ContinuousClock.now
        try writer.take()?.finish()
        if let path = destination.contactSheet, let sheet {
            try PNG.write(sheet.picture.pixels, to: path, existing: destination.existing)
        }
        seconds += start.secondsUntilNow
    }

    /// What the record says about the output.
    func record(of frameRate: FrameRate) -> RunRecord.Output {
        var output = RunRecord.Output(plan, frames: written, frameRate: frameRate)
        if !OutputFormat.isSequence(destination.path) { output.sha256 = try? Digest.sha256(file: destination.path) }
        return output
    }
}
