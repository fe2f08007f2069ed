import VditAttention
import VditTensor

extension Renderer {
    /// How long the denoising loop will take, from less than a second of the model's own products and attention.
    ///
    /// What a sparse method leaves out is not counted where that is known beforehand, nor is its planning; a busy
    /// machine makes it larger.
    public func expectedDenoisingSeconds() throws -> Double {
        let compute = try ComputeContext(threads: settings.threads, precision: settings.precision)
        let config = plan.model.transformer
        let matrices = config.tensors.map(\.shape).filter { $0.count == 2 }
        let largest = matrices.max { $0[0] * $0[1] < $1[0] * $1[1] } ?? [1024, 1024]
        let linear = try LinearBenchmark(rows: 512, inputs: largest[1], outputs: largest[0])
            .run(repeats: 2, chunk: 128, compute)
        let attention = AttentionBenchmark(
            heads: config.heads, tokens: min(estimate.tokens, 1024), headDim: config.headDim,
            precision: settings.precision
        ).run(repeats: 2, pool: compute.pool, instructionSet: compute.instructionSet)
        let seconds =
            estimate.otherFLOPs / (linear.teraflopsPerSecond * 1e12)
            + estimate.selfAttentionFLOPs * estimate.attention.share / (attention.teraflopsPerSecond * 1e12)
        return seconds * estimate.computedCalls
    }
}
