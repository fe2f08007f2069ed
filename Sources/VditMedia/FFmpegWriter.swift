import VditFiles
import VditTensor

/// Writes frames to one video, animation, still or PNG sequence, by what the output's name says.
///
/// The encoder is opened and the output's header written by `init`, so a setting or a directory that does
/// not work fails before the first frame is computed. Nothing appears under the final name before `finish`
/// has closed, synced, re-read and counted the file; a writer that is dropped or cancelled leaves nothing.
///
/// Y'CbCr output is BT.709, limited range, and tagged so; R'G'B' output (ffv1, PNG, GIF's palette) is not
/// converted. The same frames and options give the same bytes, whatever the number of threads.
///
/// Frames are streamed, but for a GIF, whose palette needs them all: it holds four bytes a pixel until `finish`.
/// A PNG sequence is collected in a hidden directory, moved to its place by `finish`, and counted from 0.
public struct FFmpegWriter: ~Copyable, @unchecked Sendable {
    // `@unchecked`: a writer cannot be copied, so the one sink has one user at a time.
    private let sink: any FrameSink
    private var written = 0
    public let plan: VideoPlan

    /// - Parameter frameCount: frames that will be written; `finish` insists on them.
    /// - Throws: `MediaError`, as `validate`, and where the encoder or the file cannot be opened.
    public init(
        path: String, width: Int, height: Int, frameCount: Int, options: VideoOptions
    ) throws(MediaError) {
        let plan = try VideoPlan(
            path: path, width: width, height: height, frameCount: frameCount, options: options)
        sink = try Self.sink(plan)
        self.plan = plan
    }

    /// Checks an output as `init` does, opens and closes its encoder, and creates nothing.
    ///
    /// - Throws: `MediaError` for an unknown ending; a codec, pixel format, preset, crf or metadata the
    ///   container or this build of FFmpeg cannot take; a size the pixel format cannot hold; a directory that
    ///   is missing or not writable; a target that exists (unless it may be replaced) or is no file.
    ///
    /// - Parameter known: encoders that need not be opened again.
    @discardableResult
    public static func validate(
        path: String, width: Int, height: Int, frameCount: Int, options: VideoOptions, known: KnownEncoders? = nil
    ) throws(MediaError) -> VideoPlan {
        let plan = try VideoPlan(
            path: path, width: width, height: height, frameCount: frameCount, options: options)
        if plan.format == .pngSequence {
            _ = try SequencePattern(path: path).check(plan)
        } else {
            try MediaError.files { () throws(FileError) in
                try AtomicFile.checkStream(path, existing: options.existing)
            }
        }
        if plan.format.muxer != nil, known?.contains(plan) != true {
            _ = try VideoEncoder(plan, globalHeader: false)
            known?.insert(plan)
        }
        return plan
    }

    private static func sink(_ plan: VideoPlan) throws(MediaError) -> any FrameSink {
        switch plan.format {
        case .png: try StillSink(plan)
        case .pngSequence: try SequenceSink(plan)
        default: try VideoSink(plan)
        }
    }

    /// Samples to hand to `write`.
    public var frameDepth: SampleDepth { plan.frameDepth }

    /// Appends one frame of the announced size and of `frameDepth`.
    ///
    /// - Throws: `MediaError.library` if the encoder or the disk refuses it; the writer is then of no more use.
    public mutating func write(_ frame: VideoFrame) throws(MediaError) {
        let found = "\(frame.width)x\(frame.height) of \(frame.depth.rawValue) bits"
        let expected = "\(plan.width)x\(plan.height) of \(plan.frameDepth.rawValue) bits"
        if found != expected {
            throw .invalid("frame \(written)", found: found, expected: expected, kind: .internalError)
        }
        if written == plan.frameCount {
            throw .invalid(
                "frames written to \(plan.path)", found: "more than \(written)",
                expected: "\(plan.frameCount)", kind: .internalError)
        }
        try sink.write(frame)
        written += 1
    }

    /// Closes the file, reads it back, and gives it its name.
    ///
    /// - Throws: `MediaError` if frames are missing, the disk is full, or the file read back is not what was
    ///   written; nothing is left then.
    public consuming func finish() throws(MediaError) {
        if written != plan.frameCount {
            throw .invalid(
                "frames written to \(plan.path)", found: "\(written)", expected: "\(plan.frameCount)",
                kind: .internalError)
        }
        try sink.finish()
    }

    /// Removes everything written so far. Dropping the writer does the same.
    public consuming func cancel() {}
}

/// Encoders that were opened, by all they were opened with: most of what it takes to check an output.
public final class KnownEncoders {
    private var known: Set<String> = []

    public init() {}

    private func key(_ plan: VideoPlan) -> String {
        "\(plan.format) \(plan.width) \(plan.height) \(plan.codec?.rawValue ?? "") \(plan.pixelFormat) "
            + "\(plan.crf ?? -1) \(plan.preset ?? "") \(plan.options.frameRate) \(plan.options.threads)"
    }

    func contains(_ plan: VideoPlan) -> Bool { known.contains(key(plan)) }
    func insert(_ plan: VideoPlan) { known.insert(key(plan)) }
}

/// Where frames go. A sink that is released before `finish` removes what it made.
package protocol FrameSink: AnyObject {
    func write(_ frame: VideoFrame) throws(MediaError)
    func finish() throws(MediaError)
}
