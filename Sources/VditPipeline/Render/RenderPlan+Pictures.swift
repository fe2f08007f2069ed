import VditAttention
import VditFiles
import VditModels
import VditTensor

/// The pictures a video is made between.
public struct GivenPictures: Sendable, Equatable {
    public var first = false
    public var last = false

    public init(first: Bool = false, last: Bool = false) { (self.first, self.last) = (first, last) }

    /// Latent frames that the model sees ahead of the video's own.
    func framesAhead(_ rule: PictureStart?) -> Int { last && rule?.place == .firstFrame ? 1 : 0 }
}

extension RenderPlan {
    /// What a run starts from: noise, and what of pictures goes with it.
    struct Start {
        let noise: Tensor
        var held: HeldPicture?
        /// Of every call, beside the latents.
        var channels: Tensor?
        /// An image encoder's, of all pictures.
        var imageTokens: Tensor?
        /// Latents that the noise is mixed with.
        var video: Tensor?
    }

    /// Draws the noise to start from, unless it is given, and encodes pictures or a video.
    ///
    /// - Parameter onLoad: called before an encoder is loaded, with its component's name.
    func start(_ inputs: RenderInputs, _ loaded: LoadedModel, onLoad: (String) throws -> Void) throws -> Start {
        var random = TorchRandom(seed: UInt64(settings.seed))
        func draw(_ shape: LatentShape) -> Tensor { random.normal(shape.extents, model.defaults.drawOrder) }
        let pictures = inputs.pictures
        guard pictures.given != GivenPictures(), let rule = model.defaults.pictureStart,
            let layout = layouts[.conditional]
        else {
            var start = Start(noise: inputs.noise ?? draw(sizes[0]))
            if let video = pictures.video {
                try onLoad("vae")
                start.video = try loaded.encoder().encode(video.pixels, noise: nil)
            }
            return start
        }
        try onLoad("vae")
        if rule.place == .channels, let first = pictures.first {
            var start = Start(noise: inputs.noise ?? draw(sizes[0]))
            let video = PictureChannels.video(
                first: first.pixels, last: pictures.last?.pixels, frames: settings.numFrames)
            start.channels = PictureChannels.joined(
                try loaded.encoder().encode(video, noise: nil), compression: model.decoder.temporalCompression,
                hasLast: pictures.last != nil)
            let own = [first, pictures.last].compactMap { $0?.own }
            if !own.isEmpty {
                try onLoad("image_encoder")
                start.imageTokens = try loaded.imageTokens(own)
            }
            return start
        }
        var frame = latents
        frame.frames = 1
        let drawn = rule.draw == .beforeStart ? draw(frame) : nil
        let noise = inputs.noise ?? draw(sizes[0])
        let encoder = try loaded.encoder()
        func held(_ picture: PictureInputs.Clip) throws -> HeldPicture.Frame {
            HeldPicture.Frame(
                try encoder.encode(picture.pixels, noise: rule.draw == .afterStart ? draw(frame) : drawn),
                noiseScale: rule.noiseScale)
        }
        let first = try pictures.first.map(held)
        let last = try pictures.last.map(held)
        // The reference has noise at hand for what a weaker picture lacks.
        if last != nil { _ = draw(frame) }
        return Start(
            noise: noise, held: HeldPicture(first: first, ahead: last, layout: layout, noise: .after(random)))
    }

    /// What a decoder goes by that takes part in the sampling: its noise is drawn after all that the sampler drew.
    ///
    /// - Parameter startWasGiven: and not drawn.
    func decodeConditions(startWasGiven: Bool) -> DecodeConditions? {
        guard model.decoder.takesConditions else { return nil }
        var conditions = DecodeConditions()
        conditions.timestep = settings.decodeTimestep ?? conditions.timestep
        conditions.noiseScale = settings.decodeNoiseScale ?? conditions.noiseScale
        var drawn = startWasGiven ? [] : sizes.map(\.count)
        drawn += pictureDraws
        drawn += Array(repeating: latents.count, count: settings.scheduler.kind.drawsNoise ? steps.count - 1 : 0)
        conditions.noise = .seed(UInt64(settings.seed), drawn: drawn)
        return conditions
    }

    /// Whether the seed matters even where the noise to start from is given.
    var drawsNoise: Bool {
        settings.scheduler.kind.drawsNoise || model.decoder.takesConditions || !pictureDraws.isEmpty
    }

    /// Numbers that pictures take of the seed's: their latents' noise, and that of every call of the model.
    private var pictureDraws: [Int] {
        guard pictures != GivenPictures(), let rule = model.defaults.pictureStart else { return [] }
        let frame = latents.count / latents.frames
        let own = rule.draw == .none ? 0 : (pictures.first ? 1 : 0) + (pictures.last ? 2 : 0)
        return Array(repeating: frame, count: own)
            + Array(
                repeating: latents.count + frame * pictures.framesAhead(rule),
                count: rule.noiseScale > 0 ? steps.count : 0)
    }
}
