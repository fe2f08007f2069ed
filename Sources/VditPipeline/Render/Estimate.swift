import VditAttention
import VditModels
import VditTensor

/// What a run will cost, before it starts.
public struct Estimate: Sendable, Equatable {
    /// Video tokens of the transformer.
    public let tokens: Int
    /// Multiply-adds count as 2; dense attention. Of one transformer call, in the mean.
    public let selfAttentionFLOPs: Double
    public let otherFLOPs: Double
    /// Of the prompts, once per video.
    public let promptFLOPs: Double
    /// Transformer calls of every step: 2 where guidance is on.
    public let callsPerStep: [Int]
    /// Transformer calls of the whole run.
    public var calls: Int { callsPerStep.reduce(0, +) }
    /// Those of them that are computed, as far as that is known. What runs of a call that a step cache leaves out
    /// counts for its part, self-attention not counted.
    public let computedCalls: Double
    /// Whether it may turn out less, because what decides is seen while the run runs.
    public var isUpperBound: Bool { attention.isUpperBound }
    /// What of the self-attention is computed: of all calls, those left out among them.
    public let attention: PredictedWork
    /// The same of the calls that are computed: what the sparse method leaves of them.
    let computedAttention: PredictedWork
    /// Of decoding the latents.
    public let decodeFLOPs: Double
    /// Of the whole run: what the method leaves out is not counted, as far as that is known.
    public var totalFLOPs: Double {
        totalFLOPs(attentionWork: attention.share, otherWork: computedCalls / Double(max(1, calls)))
    }

    /// Of a run that computed these shares of dense attention's token pairs and of all other work of its calls.
    public func totalFLOPs(attentionWork: Double, otherWork: Double) -> Double {
        callFLOPs(attentionWork: attentionWork, otherWork: otherWork) * Double(calls) + promptFLOPs + decodeFLOPs
    }

    /// Of a call, in the mean.
    public func callFLOPs(attentionWork: Double, otherWork: Double) -> Double {
        selfAttentionFLOPs * attentionWork + otherFLOPs * otherWork
    }

    public let parameters: Int
    /// Weights of each transformer as they are kept. One is in memory at a time.
    public internal(set) var weightBytes: [Int]
    /// Residual stream, queries, keys, values, what attention takes, and what the layers keep of the prompts.
    public let activationBytes: Int
    /// Weights and frames of the decoder, which runs after the transformers are gone.
    public let decoderBytes: Int
    /// Latents, scheduler history, guidance.
    public let samplerBytes: Int
    /// What the method learns. While a step runs, what it replaces is kept too: an interrupted step is undone.
    public let methodBytes: Int
    /// What the step cache keeps, likewise twice while a step runs.
    public let cacheBytes: Int
    /// The larger of sampling and decoding, with the process itself.
    public var peakBytes: Int {
        processBytes + samplerBytes
            + max((weightBytes.max() ?? 0) + activationBytes + 2 * (methodBytes + cacheBytes), decoderBytes)
    }

    /// With all transformers and the decoder loaded at the same time, as a process that makes several videos has them.
    public var residentBytes: Int {
        processBytes + samplerBytes + weightBytes.reduce(0, +) + activationBytes
            + 2 * (methodBytes + cacheBytes) + decoderBytes
    }

    /// Code, libraries and the encoder, and the scratch of threads: 207 MiB at 320x192 on one thread, 215 on two, 237 on
    /// eight, 368 on 64.
    private let processBytes: Int

    /// - Parameters:
    ///   - layout: of the conditional branch's tokens.
    ///   - textTokens: of a prompt embedding.
    ///   - calls: transformer calls of every step: 2 where guidance is on.
    ///   - threads: that work.
    ///   - decoderActivationBytes: what the decoder holds beside its weights.
    ///   - parts: of the loop.
    init(
        model: ModelSpecification, latents: LatentShape, layout: TokenLayout, textTokens: Int, calls: [Int],
        precision: Precision, keeping: LayerKeeping = .packed, threads: Int, decoderActivationBytes: Int,
        parts: [PredictedPart]
    ) {
        let transformer = model.transformer
        tokens = layout.videoTokens
        /// Over all calls.
        func mean(_ value: (PredictedPart) -> Double) -> Double {
            parts.reduce(0) { $0 + Double($1.calls.all) * value($1) } / Double(max(1, calls.reduce(0, +)))
        }
        selfAttentionFLOPs = mean(\.work.selfAttention)
        otherFLOPs = mean(\.work.other)
        let branches = calls.max() ?? 1
        promptFLOPs = parts.reduce(0) { $0 + $1.work.prompt } * Double(branches)
        callsPerStep = calls
        computedCalls = parts.reduce(0) { $0 + $1.calls.computed * $1.work.other } / max(1, otherFLOPs)
        cacheBytes = parts.reduce(0) { $0 + $1.calls.bytes }
        attention = PredictedWork(
            share: mean { $0.attention.share * $0.work.selfAttention } / max(1, selfAttentionFLOPs),
            isUpperBound: parts.contains(where: \.attention.isUpperBound))
        computedAttention = PredictedWork(
            share: mean { $0.computedAttention.share * $0.work.selfAttention } / max(1, selfAttentionFLOPs),
            isUpperBound: parts.contains(where: \.computedAttention.isUpperBound))
        methodBytes = parts.reduce(0) { $0 + $1.methodBytes }
        let size = model.decoder.videoSize(of: latents)
        decodeFLOPs = model.decoder.decodeFLOPs(height: size.height, width: size.width, frames: latents.frames)
        let weights = model.weightSizes(precision, keeping)
        (parameters, weightBytes) = (weights.parameters, weights.bytes)
        activationBytes =
            transformer.activationBytes(layout, operand: precision.dtype)
            + branches * transformer.promptBytes(textTokens: textTokens, operand: precision.dtype)
            + (parts.map(\.workingBytes).max() ?? 0)
        decoderBytes = weights.decoderParameters * 4 + decoderActivationBytes
        samplerBytes = latents.count * 4 * 10
        processBytes = (120 << 20) + threads * (5 << 19)
    }
}
