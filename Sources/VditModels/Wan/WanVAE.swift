import VditFiles
import VditTensor

/// The VAE of Wan 2.1 and 2.2: video to latents and back, a few frames at a time.
///
/// Latents are `[zDim, frames, height, width]` f32, normalised with the configuration's mean and standard
/// deviation, as the sampler has them. Results do not depend on the number of threads, nor on how a clip is
/// cut into chunks.
/// - Source: AutoencoderKLWan, diffusers 0.42.1.
public final class WanVAE: VideoDecoder, VideoEncoder {
    public let config: WanVAEConfig
    private let compute: ComputeContext
    private let decoder: LoadedVAEStages?
    private let encoder: LoadedVAEStages?

    /// What a VAE is loaded for.
    public enum Use: Sendable {
        case decoding, encoding, both
    }

    /// Packs the weights. Shapes must have been checked against `config.tensors`.
    ///
    /// - Throws: `TensorError` if a tensor is missing or oneDNN refuses a shape.
    public init(
        config: WanVAEConfig, weights: any WeightSource, use: Use = .decoding, compute: ComputeContext
    ) throws(TensorError) {
        self.config = config
        self.compute = compute
        func load(_ stages: [any VAEStage]) throws(TensorError) -> LoadedVAEStages {
            try LoadedVAEStages(stages, from: weights, compute)
        }
        decoder = use == .encoding ? nil : try load(config.decoderStages)
        encoder = use == .decoding ? nil : try load(config.encoderStages)
    }

    /// Reads `config.json` and the weights of a diffusers `vae` directory, checking every tensor first.
    ///
    /// - Throws: `TensorError` naming the file and what is wrong with it.
    public convenience init(
        directory: String, use: Use = .decoding, compute: ComputeContext
    ) throws(TensorError) {
        let (config, store) = try fileWork { () throws(FileError) in
            (try WanVAEConfig(ConfigFile(path: directory + "/config.json")), try WeightStore(directory))
        }
        try store.check(config.tensors)
        try self.init(config: config, weights: store, use: use, compute: compute)
    }

    /// Bytes of the packed weights.
    public var weightBytes: Int { (decoder?.weightBytes ?? 0) + (encoder?.weightBytes ?? 0) }

    public func decode(
        _ latents: Tensor, _ conditions: DecodeConditions, onFrames: ([Tensor]) throws -> Void
    ) throws {
        try decode(latents, trace: nil, onFrames: onFrames)
    }

    /// Decodes; `trace` records every stage's output frames as `stage/frame`, `[height, width, channels]`.
    public func decode(_ latents: Tensor, trace: Trace?, onFrames: ([Tensor]) throws -> Void) throws {
        try decodeFrames(latents, trace: trace) { try onFrames($0.map(picture)) }
    }

    /// Decodes as `decode` does, tile by tile; untiled when the latents fit into one tile.
    ///
    /// - Throws: `ModelError` too when a stride is smaller than a latent pixel or larger than its tile.
    public func decode(
        _ latents: Tensor, tiling: VAETiling, onFrames: ([Tensor]) throws -> Void
    ) throws {
        try tiling.check(compression: config.spatialCompression)
        try config.check(latents: latents)
        if tiling.holds(latents, compression: config.spatialCompression) {
            return try decode(latents, onFrames: onFrames)
        }
        let frames = try tiling.frames(
            of: latents, compression: config.spatialCompression, patch: config.patchSize
        ) { latents, deliver in try decodeFrames(latents, trace: nil, deliver: deliver) }
        for frame in frames { try onFrames([picture(frame)]) }
    }

    /// The picture a frame of the decoder is: patches unfolded, values limited.
    private func picture(_ frame: Tensor) -> Tensor {
        unpatchedFrame(frame, patch: config.patchSize, limitedTo: -1...1, compute: compute)
    }

    /// Decodes into the decoder's own frames, `[height, width, channels]`.
    private func decodeFrames(_ latents: Tensor, trace: Trace?, deliver: ([Tensor]) throws -> Void) throws {
        try config.check(latents: latents)
        guard let decoder else { preconditionFailure("the VAE was loaded for encoding only") }
        let session = VAESession(compute: compute, trace: trace)
        let chain = try decoder.start(height: latents.shape[2], width: latents.shape[3], session: session)
        for frame in 0..<latents.shape[1] {
            let input = latents.channelsLastFrame(
                frame, (scale: config.latentsStd, shift: config.latentsMean))
            try chain.push([input], isFirst: frame == 0, deliver: deliver)
        }
    }

    /// The mode whatever the noise, as Wan's pipelines take it.
    public func encode(_ video: Tensor, noise: Tensor?) throws -> Tensor { try encode(video, trace: nil) }

    /// Encodes `[3, frames, height, width]` f32 video in -1...1 into the mode of the latents' distribution,
    /// normalised.
    ///
    /// - Throws: `ModelError` unless frames is 1 more than a multiple of the temporal compression, and
    ///   height and width are multiples of the spatial one.
    public func encode(_ video: Tensor, trace: Trace? = nil) throws -> Tensor {
        let (space, time) = (config.spatialCompression, config.temporalCompression)
        try config.check(video: video)
        guard let encoder else { preconditionFailure("the VAE was loaded for decoding only") }
        let (frames, height, width) = (video.shape[1], video.shape[2], video.shape[3])
        let session = VAESession(compute: compute, trace: trace)
        let chain = try encoder.start(
            height: height / config.patchSize, width: width / config.patchSize, session: session)
        let latents = Tensor(
            .f32, [config.zDim, 1 + (frames - 1) / time, height / space, width / space])
        let scale = config.latentsStd.map { 1 / $0 }
        let normalization = (scale: scale, shift: zip(config.latentsMean, scale).map { -$0 * $1 })
        var made = 0
        var next = 0
        while next < frames {
            let range = next..<(next == 0 ? 1 : min(next + 2, frames))
            try chain.push(
                range.map { video.patchedFrame($0, patch: config.patchSize) }, isFirst: next == 0
            ) { moments in
                // The first half of the channels is the mean, the second the log-variance.
                for frame in moments {
                    latents.setFrame(made, channelsLast: frame, normalization)
                    made += 1
                }
            }
            next = range.upperBound
        }
        return latents
    }
}
