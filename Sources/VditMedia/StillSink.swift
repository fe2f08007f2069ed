import VditFiles
import VditTensor

/// A single PNG: the first frame, or a contact sheet of the clip.
final class StillSink: FrameSink {
    private let plan: VideoPlan
    private var sheet: ContactSheet?
    private var first: VideoFrame?

    init(_ plan: VideoPlan) throws(MediaError) {
        self.plan = plan
        try MediaError.files { () throws(FileError) in
            try AtomicFile.check(plan.path, existing: plan.options.existing)
        }
        if case .contactSheet(let tiles) = plan.options.still {
            sheet = try ContactSheet(
                width: plan.width, height: plan.height, frameCount: plan.frameCount, tiles: tiles,
                frameRate: plan.options.frameRate, depth: plan.frameDepth)
        }
    }

    func write(_ frame: VideoFrame) throws(MediaError) {
        if sheet != nil {
            try sheet?.add(frame)
        } else if first == nil {
            first = frame
        }
    }

    func finish() throws(MediaError) {
        guard let picture = sheet?.picture ?? first else { return }
        try PNG.write(
            picture.pixels, text: plan.options.metadata, to: plan.path, existing: plan.options.existing)
    }
}
