import VditAttention
import VditTensor

/// Times one transformer layer of a Wan configuration with random weights, inside a real forward pass.
public struct LayerBenchmark: Sendable {
    public var config: WanTransformerConfig
    /// Latent extents, before patching.
    public var frames: Int
    public var height: Int
    public var width: Int
    public var textTokens: Int
    public var seed: UInt64

    public init(
        config: WanTransformerConfig, frames: Int, height: Int, width: Int, textTokens: Int = 512,
        seed: UInt64 = 0
    ) {
        self.config = config
        self.frames = frames
        self.height = height
        self.width = width
        self.textTokens = textTokens
        self.seed = seed
    }

    public struct Result: Sendable, Codable {
        public let tokens: Int
        public let threads: Int
        /// One layer, and within it self-attention (planning included).
        public let layer: Timing
        public let attention: Timing
        /// Operations of a dense layer, a multiply-add being two; the prompt's keys are made once per video
        /// and not counted.
        public let flops: Double
        public let attentionFlops: Double
        public let teraflopsPerSecond: Double
        /// Bytes of one layer's packed weights.
        public let weightBytes: Int
    }

    /// - Parameter attend: computes self-attention of one layer; dense if nil.
    public func run(
        repeats: Int, _ compute: ComputeContext,
        attend: ((AttentionCall) throws -> AttentionOutput)? = nil
    ) throws -> Result {
        // Layer i is timed from the start of its attention to the start of the next one's, so one more layer
        // than is timed is needed; the first pass warms up.
        var config = config
        config.layers = 2
        let model = try WanTransformer(
            config: config, weights: RandomWeights(config.tensors, seed: seed), compute: compute)
        let layout = try model.tokenLayout(frames: frames, height: height, width: width)
        let text = try RandomWeights([("text", [textTokens, config.textDim])], seed: seed).tensor("text")
        let prepared = try model.prepare(Conditioning(prompt: text))
        var random = TorchRandom(seed: seed)
        let latents = random.normal([config.inChannels, frames, height, width], .f32)
        var layerSeconds: [Double] = []
        var attentionSeconds: [Double] = []
        for pass in 0...max(1, repeats) {
            var starts: [ContinuousClock.Instant] = []
            var attention: [Double] = []
            _ = try model.predict(
                latents, conditioning: prepared,
                ForwardPass(timesteps: [500]) { call in
                    starts.append(.now)
                    defer { attention.append(starts[starts.count - 1].secondsUntilNow) }
                    return try attend?(call)
                        ?? blockSparseAttention(call, .dense(tokens: call.tokens), values: call.q.dtype)
                })
            if pass > 0 {
                layerSeconds.append(starts[0].duration(to: starts[1]) / .seconds(1))
                attentionSeconds.append(attention[0])
            }
        }
        let (s, d, t) = (Double(layout.tokens), Double(config.inner), Double(textTokens))
        let attentionFlops = 4 * s * s * d
        let linear = s * (2 * d * d * 6 + 4 * d * Double(config.ffnDim)) + 4 * s * t * d
        let layer = Timing(seconds: layerSeconds)
        return Result(
            tokens: layout.tokens, threads: compute.pool.threads, layer: layer,
            attention: Timing(seconds: attentionSeconds), flops: attentionFlops + linear,
            attentionFlops: attentionFlops,
            teraflopsPerSecond: (attentionFlops + linear) / layer.medianSeconds / 1e12,
            weightBytes: model.layerByteCount)
    }
}
