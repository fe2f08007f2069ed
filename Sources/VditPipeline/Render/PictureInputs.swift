import VditFiles
import VditMedia
import VditModels
import VditTensor

/// What a video is made from beside the prompt: pictures it begins and ends with, or another video.
struct PictureInputs: Sendable {
    let first: Clip?
    let last: Clip?
    let video: Clip?

    private var all: [(setting: String, clip: Clip?)] { [("image", first), ("last_image", last), ("video", video)] }

    /// Those that the model is shown.
    var given: GivenPictures { GivenPictures(first: first != nil, last: last != nil) }
    var notices: [String] { all.flatMap { $0.clip?.notices ?? [] } }
    /// By setting.
    var digests: [String: String] { Dictionary(all.compactMap { name, clip in clip.map { (name, $0.digest) } }) { $1 } }

    /// Frames in the video's size.
    struct Clip: Sendable {
        let frames: [VideoFrame]
        /// As they came, where an image encoder looks at them too.
        let own: VideoFrame?
        let digest: String
        let notices: [String]

        /// `[3, frames, height, width]` f32 in -1...1.
        ///
        /// - Source: `VideoProcessor.preprocess` of diffusers, which stretches.
        var pixels: Tensor {
            let (height, width) = (frames[0].height, frames[0].width)
            let pixels = Tensor(.f32, [3, frames.count, height, width])
            for (index, frame) in frames.enumerated() {
                let values = frame.pixels.withBytes { bytes in bytes.map { Float($0) / 127.5 - 1 } }
                pixels.setFrame(index, channelsLast: Tensor(values, shape: [height, width, 3]))
            }
            return pixels
        }

        /// A picture.
        ///
        /// - Parameter keepsOwn: whether it is needed as it came.
        init(image path: String, _ settings: RenderSettings, keepsOwn: Bool) throws(MediaError) {
            let image = try StillImage(path)
            let shape = try Fit(image.frame, path, settings)
            let fitted = shape.frame(image.frame)
            frames = [fitted]
            own = keepsOwn ? image.frame : nil
            let digests = [fitted, own].compactMap { $0?.pixels.withBytes { Digest.sha256($0) } }
            digest = digests.count == 1 ? digests[0] : Digest.sha256(Array(digests.joined().utf8))
            notices = image.notices + shape.notices
        }

        /// As many frames of a video as will be made.
        init(video path: String, _ settings: RenderSettings) throws(MediaError) {
            let reader = try FFmpegReader(path)
            var frames: [VideoFrame] = []
            var shape: Fit?
            while frames.count < settings.numFrames, let frame = try reader.next() {
                let fit: Fit
                if let shape { fit = shape } else { fit = try Fit(frame, path, settings) }
                shape = fit
                frames.append(fit.frame(frame))
            }
            guard frames.count == settings.numFrames else {
                throw .malformed(
                    path: path, found: "\(frames.count) frames",
                    expected: "at least the video's \(settings.numFrames) (num_frames)")
            }
            self.frames = frames
            own = nil
            let digests = frames.map { $0.pixels.withBytes { Digest.sha256($0) } }
            digest = Digest.sha256(Array(digests.joined().utf8))
            var notices = shape?.notices ?? []
            if let rate = reader.info.frameRate, rate != settings.frameRate {
                notices.append(
                    "\(path): its frames are taken one by one: \(rate) per second become \(settings.frameRate)")
            }
            self.notices = notices
        }
    }

    /// How frames of one size get the video's.
    private struct Fit {
        let width, height: Int
        let fit: ImageFit
        let notices: [String]

        /// - Throws: `MediaError.malformed` for a strip: scaling it until it covers the video would take memory for
        ///   what is then cut off.
        init(_ frame: VideoFrame, _ path: String, _ settings: RenderSettings) throws(MediaError) {
            (width, height, fit) = (settings.width, settings.height, settings.imageFit ?? .crop)
            let cover = frame.covering(width: width, height: height)
            let sides = [frame.width, frame.height]
            guard cover.width <= 16 * width, cover.height <= 16 * height, (sides.max() ?? 1) <= 64 * (sides.min() ?? 1)
            else {
                throw .malformed(
                    path: path, found: "a picture of \(frame.width)x\(frame.height)",
                    expected: "one whose shape is nearer to the video's \(width)x\(height)")
            }
            notices = (frame.width, frame.height) == (width, height)
                ? [] : ["\(path): \(frame.width)x\(frame.height) made \(width)x\(height) (\(fit.rawValue), Lanczos)"]
        }

        func frame(_ frame: VideoFrame) -> VideoFrame { frame.fitted(width: width, height: height, fit) }
    }

    /// - Throws: `PipelineError.setting` for one that the model does not take, or that is missing; `MediaError` for a
    ///   file that is no such thing.
    init(_ job: RenderJob, _ settings: RenderSettings, _ model: ModelSpecification) throws {
        let rule = model.defaults.pictureStart
        let path = (first: job.image, last: job.lastImage, video: settings.video)
        try Self.check(
            "image", path.first, rule?.first ?? .none, none: "this model makes videos of text alone",
            required: "a picture that the video begins with: this model makes videos from one")
        try Self.check(
            "last_image", path.last, rule?.last ?? .none,
            none: rule == nil ? "this model makes videos of text alone" : "this model takes the first picture alone",
            required: "a picture that the video ends with: this model makes videos between two")
        let given = [("image", path.first), ("last_image", path.last), ("video", path.video)]
        if !model.decoder.hasEncoder, case let (name, found?)? = given.first(where: { $0.1 != nil }) {
            throw PipelineError.setting(
                name, found: found,
                expected: "none: a tiny VAE cannot encode it, the model's own can")
        }
        if path.last != nil, settings.numFrames == 1 {
            throw PipelineError.setting("num_frames", found: "1", expected: "more than one with a last picture")
        }
        if let video = path.video {
            guard rule?.place != .channels else {
                throw PipelineError.setting(
                    "video", found: video, expected: "none: this model makes videos from pictures alone")
            }
            guard path.first == nil, path.last == nil else {
                throw PipelineError.setting("video", found: video, expected: "none beside a picture")
            }
        }
        let keepsOwn = model.transformer.conditioning.imageWidth != nil
        func picture(_ name: String, _ path: String?) throws -> Clip? {
            try path.map { path in try blaming(name) { try Clip(image: path, settings, keepsOwn: keepsOwn) } }
        }
        first = try picture("image", path.first)
        last = try picture("last_image", path.last)
        video = try path.video.map { path in try blaming("video") { try Clip(video: path, settings) } }
    }

    private static func check(
        _ name: String, _ path: String?, _ need: PictureStart.Need, none: String, required: String
    ) throws(PipelineError) {
        switch (need, path) {
        case (.none, let path?): throw .setting(name, found: path, expected: "none: \(none)")
        case (.required, nil): throw .setting(name, found: "none", expected: required)
        default: break
        }
    }
}
