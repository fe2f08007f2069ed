import Dispatch
import VditFiles
import VditMedia
import VditTensor

/// Takes decoded frames to the encoder and the contact sheet, beside the decoder's work: while it makes the next frames,
/// a thread of its own encodes the last ones.
final class VideoOutput {
    private let work: EncodingWork
    private let lane = DispatchQueue(label: "encoding")
    private let pool: WorkPool
    private(set) var written = 0
    /// What whoever appends frames waited here.
    private(set) var waited = 0.0
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
        let sheet =
            destination.contactSheet == nil
            ? nil
            : try ContactSheet(
                width: width, height: height, frameCount: frameCount,
                tiles: destination.contactSheetTiles, frameRate: frameRate, depth: plan.frameDepth)
        work = EncodingWork(writer, sheet, destination)
        self.pool = pool
    }

    deinit {
        // What is half written goes now, not when the thread gets to it.
        lane.sync { [work] in work.drop() }
    }

    /// Seconds of encoding, most of them beside the decoder's.
    var seconds: Double { lane.sync { [work] in work.seconds } }

    /// Appends a decoder's frames, each `[height, width, 3]` f32 in −1…1, once those before them are encoded.
    ///
    /// - Throws: what encoding those before them threw, too.
    func append(_ frames: [Tensor]) throws {
        let start = ContinuousClock.now
        defer { waited += start.secondsUntilNow }
        var rounded: [VideoFrame] = []
        for picture in frames {
            rounded.append(
                try VideoFrame(rounding: picture, number: written + rounded.count, depth: plan.frameDepth, pool: pool))
        }
        try lane.sync { [work] in try work.throwIfFailed() }
        lane.async { [work, rounded] in work.add(rounded) }
        written += frames.count
    }

    /// Gives the files their names.
    func finish() throws {
        let start = ContinuousClock.now
        defer { waited += start.secondsUntilNow }
        try lane.sync { [work] in try work.finish() }
    }

    /// What the record says about the output.
    ///
    /// - Throws: what reading it back throws: without its digest it could not be told from another.
    func record(of frameRate: FrameRate) throws -> RunRecord.Output {
        var output = RunRecord.Output(plan, frames: written, frameRate: frameRate)
        if !OutputFormat.isSequence(plan.path), plan.path != StandardOutput.name {
            output.sha256 = try Digest.sha256(file: plan.path)
        }
        return output
    }
}

/// What happens on the encoding thread, and only there.
private final class EncodingWork: @unchecked Sendable {
    private var writer: FFmpegWriter?
    private var sheet: ContactSheet?
    private let destination: VideoDestination
    private var failure: MediaError?
    private(set) var seconds = 0.0

    init(_ writer: consuming FFmpegWriter, _ sheet: ContactSheet?, _ destination: VideoDestination) {
        self.writer = consume writer
        self.sheet = sheet
        self.destination = destination
    }

    /// A failure waits for who asks next.
    func add(_ frames: [VideoFrame]) {
        let start = ContinuousClock.now
        defer { seconds += start.secondsUntilNow }
        do throws(MediaError) {
            for frame in frames {
                try writer?.write(frame)
                try sheet?.add(frame)
            }
        } catch {
            failure = error
        }
    }

    func throwIfFailed() throws(MediaError) {
        if let failure { throw failure }
    }

    func finish() throws {
        try throwIfFailed()
        let start = ContinuousClock.now
        defer { seconds += start.secondsUntilNow }
        try writer.take()?.finish()
        if let path = destination.contactSheet, let sheet {
            try PNG.write(sheet.picture.pixels, to: path, existing: destination.existing)
        }
    }

    func drop() {
        writer = nil
        sheet = nil
    }
}
