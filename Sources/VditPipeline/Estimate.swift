import VditAttention
import VditModels
import VditTensor

/// What a run will cost, before it starts.
public struct Estimate: Sendable, Equatable {
    /// Video tokens of the transformer.
    public let tokens: Int
    /// Multiply-adds count as 2; dense attention. Of one transformer call.
    public let selfAttentionFLOPs: Double
    public let otherFLOPs: Double
    /// Transformer calls of the whole run.
    public let calls: Int
    /// What of the self-attention the sparse method computes.
    public let attention: PredictedWork
    /// Of decoding the latents.
    public let decodeFLOPs: Double
    /// Of the whole run: what the method leaves out is not counted, as far as that is known.
    public var totalFLOPs: Double { totalFLOPs(attentionWork: attention.share) }

    /// Of a run that computed this share of dense attention's token pairs.
    public func totalFLOPs(attentionWork share: Double) -> Double {
        (selfAttentionFLOPs * share + otherFLOPs) * Double(calls) + decodeFLOPs
    }

    public let parameters: Int
    /// Packed weights of all transformers.
    public let weightBytes: Int
    /// Residual stream, queries, keys, values and what the layers keep of the prompts.
    public let activationBytes: Int
    /// Weights and frames of the decoder, which runs after the transformers are gone.
    public let decoderBytes: Int
    /// Latents, scheduler history, guidance.
    public let samplerBytes: Int
    /// What the method learns. While a step runs, what it replaces is kept too: an interrupted step is undone.
    public let methodBytes: Int
    /// The larger of sampling and decoding, with the process itself.
    public var peakBytes: Int {
        Self.processBytes + samplerBytes
            + max(weightBytes + activationBytes + 2 * methodBytes, decoderBytes)
    }

    /// With transformers and decoder loaded at the same time, as a process that makes several videos has them.
    public var residentBytes: Int {
        Self.processBytes + samplerBytes + weightBytes + activationBytes + 2 * methodBytes + decoderBytes
    }

    /// Code, libraries and the threads' scratch.
    private static let processBytes = 192 << 20

    /// - Parameters:
    ///   - latents: `[channels, frames, height, width]` of the latents.
    ///   - calls: transformer calls of every step: 2 where guidance is on.
    ///   - decoderActivationBytes: what the decoder holds beside its weights.
    ///   - methodBytes: what the sparse method keeps.
    public init(
        model: ModelDirectory, latents: [Int], textTokens: Int, calls: [Int], precision: Precision,
        decoderActivationBytes: Int, attention: PredictedWork = .dense, methodBytes: Int = 0
    ) {
        let config = model.config
        let tokens =
            latents[1] / config.patch[0] * (latents[2] / config.patch[1])
            * (latents[3] / config.patch[2])
        self.tokens = tokens
        let (s, d, t) = (Double(tokens), Double(config.inner), Double(textTokens))
        let layers = Double(config.layers)
        selfAttentionFLOPs = layers * 4 * s * s * d
        otherFLOPs =
            layers
            * (8 * d * d * s + 4 * d * d * s + 4 * s * t * d + 4 * d * d * t
                + 4 * d * Double(config.ffnDim) * s)
        self.calls = calls.reduce(0, +)
        self.attention = attention
        decodeFLOPs = model.vae.decodeFLOPs(
            height: latents[2] * model.vae.spatialCompression, width: latents[3] * model.vae.spatialCompression,
            frames: latents[1])
        parameters = model.transformers.reduce(0) { $0 + $1.config.parameterCount }
        let operand = precision.dtype.byteCount
        weightBytes = parameters * operand
        // Residual fp32; q, k, v and their packed copies; the output; room for one chunk per thread.
        let perToken = config.inner * (4 + 6 * operand + operand)
        let prompts = (calls.max() ?? 1) * config.layers * textTokens * config.inner * 2 * operand
        activationBytes = tokens * perToken + prompts
        decoderBytes = model.vae.parameterCount * 4 + decoderActivationBytes
        samplerBytes = latents.reduce(1, *) * 4 * 10
        self.methodBytes = methodBytes
    }
}

extension Estimate {
    /// A run with these settings and a prompt of the model's length, dense attention.
    public init(model: ModelDirectory, settings: RenderSettings) throws {
        let steps = try settings.scheduler.scheduler(steps: settings.steps).steps
        let guidance = try Renderer.guidance(settings)[0]
        self.init(
            model: model,
            latents: model.latentShape(
                width: settings.width, height: settings.height, numFrames: settings.numFrames),
            textTokens: model.defaults.textLength ?? 512,
            calls: steps.map { guidance.applies(to: $0) ? 2 : 1 }, precision: settings.precision,
            decoderActivationBytes: model.vae.decodeBytes(
                height: settings.height, width: settings.width,
                operandBytes: settings.precision.dtype.byteCount))
    }
}
