import VditAttention
import VditFiles
import VditModels
import VditTensor

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
        guard let first = pictures.first, let rule = model.defaults.pictureStart, let layout = layouts[.conditional]
        else {
            var start = Start(noise: inputs.noise ?? draw(sizes[0]))
            if let video = pictures.video {
                try onLoad("vae")
                start.video = try loaded.encoded(video.pixels, noise: nil)
            }
            return start
        }
        try onLoad("vae")
        if rule.place == .channels {
            var start = Start(noise: inputs.noise ?? draw(sizes[0]))
            let video = PictureChannels.video(
                first: first.pixels, last: pictures.last?.pixels, frames: settings.numFrames)
            start.channels = PictureChannels.joined(
                try loaded.encoded(video, noise: nil), compression: model.decoder.temporalCompression,
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
        var drawn = rule.draw == .beforeStart ? draw(frame) : nil
        let noise = inputs.noise ?? draw(sizes[0])
        if rule.draw == .afterStart { drawn = draw(frame) }
        let encoded = try loaded.encoded(first.pixels, noise: drawn)
        return Start(
            noise: noise,
            held: HeldPicture(latents: encoded, layout: layout, noiseScale: rule.noiseScale, random: random))
    }

    /// What a decoder goes by that takes part in the sampling: its noise is drawn after all that the sampler drew.
    ///
    /// - Parameter startWasGiven: and not drawn.
    func decodeConditions(startWasGiven: Bool, hasPicture: Bool) -> DecodeConditions? {
        guard model.decoder.takesConditions else { return nil }
        var conditions = DecodeConditions()
        conditions.timestep = settings.decodeTimestep ?? conditions.timestep
        conditions.noiseScale = settings.decodeNoiseScale ?? conditions.noiseScale
        var drawn = startWasGiven ? [] : sizes.map(\.count)
        if hasPicture { drawn += pictureDraws }
        drawn += Array(repeating: latents.count, count: settings.scheduler.kind.drawsNoise ? steps.count - 1 : 0)
        conditions.noise = .seed(UInt64(settings.seed), drawn: drawn)
        return conditions
    }

    /// Whether the seed matters even where the noise to start from is given.
    func drawsNoise(hasPicture: Bool) -> Bool {
        settings.scheduler.kind.drawsNoise || model.decoder.takesConditions || hasPicture && !pictureDraws.isEmpty
    }

    /// Numbers that a picture takes of the seed's: its latents' noise, and that of every call of the model.
    private var pictureDraws: [Int] {
        guard let rule = model.defaults.pictureStart else { return [] }
        return (rule.draw == .none ? [] : [latents.count / latents.frames])
            + Array(repeating: latents.count, count: rule.noiseScale > 0 ? steps.count : 0)
    }
}
