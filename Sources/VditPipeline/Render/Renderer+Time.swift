import VditAttention
import VditModels
import VditTensor

/// What a run will take on this machine, in seconds.
public struct ExpectedTime: Sendable, Codable, Equatable {
    public let loading: Double
    public let denoising: Double
    /// With the frames' encoding, which runs beside it.
    public let decoding: Double

    public var total: Double { loading + denoising + decoding }
    /// How far off it may be either way: a short measurement of a machine that others use too.
    public static let uncertainty = 0.2
    public var range: ClosedRange<Double> { total * (1 - Self.uncertainty)...total * (1 + Self.uncertainty) }
}

extension Renderer {
    /// What the run will take, from the model's own layers and decoder at a smaller size, timed for a few seconds.
    ///
    /// What a sparse method leaves out is not counted where that is known beforehand, nor is its planning.
    /// - Throws: what loading the model's files throws.
    public func expectedTime() throws -> ExpectedTime {
        let compute = try ComputeContext(threads: settings.threads, numa: settings.numa, precision: settings.precision)
        let transformer = plan.model.transformer
        let (layer, loading) = try timedLayer(compute)
        let decoder = try timedDecoder(compute)
        return ExpectedTime(
            loading: loading + decoder.loading, denoising: Double(transformer.layers) * layer,
            decoding: decoder.decoding)
    }

    /// Times a layer runs to be timed, after once to warm up.
    private static let repeats = 3

    /// Seconds of one layer at the run's size in all calls, and of loading all of the model's layers.
    private func timedLayer(_ compute: ComputeContext) throws -> (layer: Double, loading: Double) {
        let transformer = plan.model.transformer
        var small = plan.latents
        small.frames = min(small.frames, 3)
        (small.height, small.width) = (min(small.height, 32), min(small.width, 32))
        let text = inputs.prompts.conditional.shape[0]
        let layers = LayerBenchmark.layers(settings.precision)
        let kernel = AttentionKernel(
            compute.instructionSet, operands: compute.operandType, precision: settings.attentionPrecision)
        func time(_ latents: LatentShape) throws -> LayerBenchmark.Result {
            try LayerBenchmark(transformer, latents: latents, textTokens: text)
                .run(
                    repeats: Self.repeats, compute,
                    from: transformer.layers < layers ? nil : model.transformerWeights[0]
                ) { call in blockSparseAttention(call, .dense(tokens: call.tokens), values: call.q.dtype, kernel: kernel) }
        }
        var timed = try time(small)
        let loadSeconds = timed.loadSeconds
        // Few tokens keep cores less busy than a run's: as many as about a second allows.
        let pass = Double(layers * (Self.repeats + 1)) * timed.layer.fastestSeconds
        let frames = min(plan.latents.frames, Int(Double(small.frames) * min(64, 1.2 / pass)))
        if frames > small.frames {
            small.frames = frames
            timed = try time(small)
        }
        let parameters = plan.model.transformers.reduce(0) { $0 + $1.specification.parameterCount }
        let loading = loadSeconds * Double(parameters) / Double(transformer.withLayers(layers).parameterCount)
        let all = Double(transformer.layers)
        let attention = timed.attention.fastestSeconds * estimate.selfAttentionFLOPs / all / timed.attentionFlops
        let rest = (timed.layer.fastestSeconds - timed.attention.fastestSeconds)
            * estimate.otherFLOPs / all / (timed.flops - timed.attentionFlops)
        let seconds = attention * estimate.attention.share * Double(estimate.calls) + rest * estimate.computedCalls
        return (seconds, loading)
    }

    private func timedDecoder(_ compute: ComputeContext) throws -> (loading: Double, decoding: Double) {
        let specification = plan.model.decoder
        let start = ContinuousClock.now
        let decoder = try specification.load(model.decoderWeights, compute)
        let loading = start.secondsUntilNow
        var small = plan.latents
        small.frames = min(small.frames, 2)
        (small.height, small.width) = (min(small.height, 24), min(small.width, 24))
        var random = TorchRandom(seed: 0)
        let noise = random.normal(small.extents, .f32)
        let timing = try Timing(repeats: 2) { try decoder.decode(noise) { _ in } }
        func operations(_ latents: LatentShape) -> Double {
            let size = specification.videoSize(of: latents)
            return specification.decodeFLOPs(height: size.height, width: size.width, frames: latents.frames)
        }
        return (loading, timing.fastestSeconds * operations(plan.latents) / operations(small))
    }
}
