import Glibc
import VditFiles
import VditTensor

/// The VAE of LTX-Video: video to latents and back, a few frames at a time.
///
/// The decoder takes part in the sampling: noise is mixed into its latents, it is told a time, and in 0.9.1 its layers
/// draw noise. Its convolutions see one frame ahead, so that frames come late; results do not depend on how a clip is
/// cut into groups, nor on the number of threads.
/// - Source: AutoencoderKLLTXVideo and the pipelines' decoding, diffusers 0.42.1. As there, noise is mixed into
///   latents that are no longer normalised; the original mixes it in before.
public final class LTXVAE: VideoDecoder, VideoEncoder {
    public let config: LTXVAEConfig
    private let compute: ComputeContext
    private let decoder: LoadedVAEStages?
    private let encoder: LoadedVAEStages?
    private let mean: [Float]
    private let deviation: [Float]
    /// From a time in 0…1 to the decoder's own scale.
    private let timestepScale: Float

    /// What a VAE is loaded for.
    public enum Use: Sendable {
        case decoding, encoding, both
    }

    /// Packs the weights. Shapes must have been checked against `config.tensors`.
    ///
    /// - Throws: `TensorError` if a tensor is missing or oneDNN refuses a shape.
    public init(
        config: LTXVAEConfig, weights: any WeightSource, use: Use = .decoding, compute: ComputeContext
    ) throws(TensorError) {
        self.config = config
        self.compute = compute
        func numbers(_ name: String) throws(TensorError) -> [Float] {
            defer { weights.release(name) }
            return try weights.tensor(name).converted(to: .f32).floats()
        }
        mean = try numbers("latents_mean")
        deviation = try numbers("latents_std")
        timestepScale = config.decoder.takesTime ? try numbers(LTXVAEConfig.timestepScale)[0] : 1
        decoder = use == .encoding ? nil : try LoadedVAEStages(config.decoderStages, from: weights, compute)
        encoder = use == .decoding ? nil : try LoadedVAEStages(config.encoderStages, from: weights, compute)
    }

    /// Bytes of the packed weights.
    public var weightBytes: Int { (decoder?.weightBytes ?? 0) + (encoder?.weightBytes ?? 0) }

    public func decode(
        _ latents: Tensor, _ conditions: DecodeConditions, onFrames: ([Tensor]) throws -> Void
    ) throws {
        try config.check(latents: latents)
        var draws = NoiseDraws(conditions.noise)
        var share: Float = 0
        var noise: Tensor?
        if config.decoder.takesTime {
            noise = draws([1] + latents.shape).reshaped(latents.shape)
            share = Float(conditions.noiseScale)
        }
        try decode(
            frames: (0..<latents.shape[1]).map { frame in
                let values = latents.channelsLastFrame(frame, (scale: deviation, shift: mean))
                noise.map { mix($0.channelsLastFrame(frame), into: values, share) }
                return values
            }, timestep: Float(conditions.timestep), draws, trace: nil, onFrames: onFrames)
    }

    /// Decodes latents as the decoder takes them, no longer normalised and with noise mixed in.
    ///
    /// - Parameters:
    ///   - latents: `[channels, frames, height, width]` f32.
    ///   - together: frames that enter at once; of no account to the result.
    public func decode(
        denormalized latents: Tensor, timestep: Double = 0, noise: DecodeNoise = .given([]), together: Int = 2,
        trace: Trace? = nil, onFrames: ([Tensor]) throws -> Void
    ) throws {
        try decode(
            frames: (0..<latents.shape[1]).map { latents.channelsLastFrame($0) }, timestep: Float(timestep),
            NoiseDraws(noise), together: together, trace: trace, onFrames: onFrames)
    }

    private func decode(
        frames: [Tensor], timestep: Float, _ draws: NoiseDraws, together: Int = 2, trace: Trace?,
        onFrames: ([Tensor]) throws -> Void
    ) throws {
        guard let decoder else { preconditionFailure("the VAE was loaded for encoding only") }
        let session = VAESession(compute: compute, trace: trace, timestep: timestep * timestepScale, draws: draws)
        let chain = try decoder.start(height: frames[0].shape[0], width: frames[0].shape[1], session: session)
        for start in stride(from: 0, to: frames.count, by: together) {
            let end = min(start + together, frames.count)
            try chain.push(Array(frames[start..<end]), isFirst: start == 0, isLast: end == frames.count) { made in
                try onFrames(
                    made.map {
                        unpatchedFrame($0, patch: config.patchSize, limitedTo: -1...1, compute: compute)
                    })
            }
        }
    }

    /// `values · (1 − share) + noise · share`, in place.
    private func mix(_ noise: Tensor, into values: Tensor, _ share: Float) {
        noise.withFloats { noise in
            values.withMutableFloats { values in
                for index in values.indices { values[index] = values[index] * (1 - share) + noise[index] * share }
            }
        }
    }

    public func encode(_ video: Tensor, noise: Tensor?) throws -> Tensor {
        let (latents, logVariance) = try distribution(of: video)
        let noise = noise ?? Tensor(.f32, latents.shape)
        precondition(noise.shape == latents.shape)
        let spread = logVariance.floats().map { expf($0 / 2) }
        for channel in 0..<config.latentChannels {
            latents[channel].withMutableFloats { values in
                noise[channel].withFloats { noise in
                    for index in values.indices {
                        let drawn = values[index] + spread[index] * noise[index]
                        values[index] = (drawn - mean[channel]) / deviation[channel]
                    }
                }
            }
        }
        return latents
    }

    /// Encodes `[3, frames, height, width]` f32 video in -1...1 into the latents' distribution, before normalisation.
    ///
    /// - Returns: mean, and the logarithm of the variance limited to -30...20: one for all channels.
    /// - Throws: `ModelError` unless frames is 1 more than a multiple of the temporal compression, and height and
    ///   width are multiples of the spatial one.
    public func distribution(of video: Tensor, trace: Trace? = nil) throws -> (mean: Tensor, logVariance: Tensor) {
        let (space, time) = (config.spatialCompression, config.temporalCompression)
        try config.check(video: video)
        guard let encoder else { preconditionFailure("the VAE was loaded for decoding only") }
        let (frames, height, width) = (video.shape[1], video.shape[2], video.shape[3])
        let session = VAESession(compute: compute, trace: trace)
        let chain = try encoder.start(
            height: height / config.patchSize, width: width / config.patchSize, session: session)
        let extents = [1 + (frames - 1) / time, height / space, width / space]
        let mean = Tensor(.f32, [config.latentChannels] + extents)
        let logVariance = Tensor(.f32, [1] + extents)
        var made = 0
        for frame in 0..<frames {
            try chain.push(
                [video.patchedFrame(frame, patch: config.patchSize)], isFirst: frame == 0, isLast: frame == frames - 1
            ) { moments in
                for moment in moments {
                    mean.setFrame(made, channelsLast: moment)
                    let values = moment.floats()
                    logVariance.withMutableFloats { variances in
                        let area = extents[1] * extents[2]
                        for pixel in 0..<area {
                            let value = values[pixel * (config.latentChannels + 1) + config.latentChannels]
                            variances[made * area + pixel] = min(max(value, -30), 20)
                        }
                    }
                    made += 1
                }
            }
        }
        return (mean, logVariance)
    }
}
