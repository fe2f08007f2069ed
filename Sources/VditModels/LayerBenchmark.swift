import VditAttention
import VditTensor

/// Times one transformer layer with random weights, inside a real forward pass.
public struct LayerBenchmark: Sendable {
    public var specification: any TransformerSpecification
    public var latents: LatentShape
    public var textTokens: Int
    public var seed: UInt64

    public init(
        _ specification: any TransformerSpecification, latents: LatentShape, textTokens: Int = 512, seed: UInt64 = 0
    ) {
        self.specification = specification
        self.latents = latents
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
        /// Of packing the layers that were run, and what is around them.
        public let loadSeconds: Double
    }

    /// Layers that are run to time one: one more than is timed, and with int8, which leaves out a first and a last one,
    /// those.
    public static func layers(_ precision: Precision) -> Int { precision == .int8 ? 4 : 2 }

    /// - Parameters:
    ///   - weights: of a checkpoint; random ones if nil.
    ///   - takesGates: whether `attend` needs the model's gates.
    ///   - attend: computes self-attention of one layer; dense if nil.
    public func run(
        repeats: Int, _ compute: ComputeContext, from weights: (any WeightSource)? = nil, takesGates: Bool = false,
        attend: ((AttentionCall) throws -> AttentionOutput)? = nil
    ) throws -> Result {
        // Layer i is timed from the start of its attention to the start of the next one's; the first pass warms up.
        let few = specification.withLayers(Self.layers(compute.precision))
        let timed = few.layers / 2 - 1
        let loading = ContinuousClock.now
        let model = try few.load(weights ?? RandomWeights(few.tensors, seed: seed), compute)
        let loadSeconds = loading.secondsUntilNow
        let layout = try few.tokenLayout(latents, textTokens: textTokens)
        let prepared = try model.prepare(conditioning())
        var random = TorchRandom(seed: seed)
        let noise = random.normal([specification.inputChannels] + latents.extents.dropFirst(), .f32)
        var layerSeconds: [Double] = []
        var attentionSeconds: [Double] = []
        for pass in 0...max(1, repeats) {
            var starts: [ContinuousClock.Instant] = []
            var attention: [Double] = []
            var run = ForwardPass(timesteps: [500]) { call in
                starts.append(.now)
                defer { attention.append(starts[starts.count - 1].secondsUntilNow) }
                return try attend?(call)
                    ?? blockSparseAttention(call, .dense(tokens: call.tokens), values: call.q.dtype)
            }
            run.takesGates = takesGates
            _ = try model.predict(noise, conditioning: prepared, run)
            if pass > 0 {
                layerSeconds.append(starts[timed].duration(to: starts[timed + 1]) / .seconds(1))
                attentionSeconds.append(attention[timed])
            }
        }
        let work = specification.withLayers(1).work(layout, textTokens: textTokens)
        let layer = Timing(seconds: layerSeconds)
        let flops = work.selfAttention + work.other + (takesGates ? work.gates : 0)
        return Result(
            tokens: layout.tokens, threads: compute.pool.threads, layer: layer,
            attention: Timing(seconds: attentionSeconds), flops: flops, attentionFlops: work.selfAttention,
            teraflopsPerSecond: flops / layer.medianSeconds / 1e12, weightBytes: model.layerByteCount,
            loadSeconds: loadSeconds)
    }

    /// Random numbers for all that the model takes.
    package func conditioning() throws -> Conditioning {
        let needs = specification.conditioning
        func random(_ name: String, _ shape: [Int]) throws -> Tensor {
            try RandomWeights([(name, shape)], seed: seed).tensor(name)
        }
        return Conditioning(
            prompt: try random("text", [textTokens, needs.promptWidth]),
            mask: needs.takesMask ? Array(repeating: true, count: textTokens) : nil,
            pooled: try needs.pooledWidth.map { try random("pooled", [$0]).converted(to: .f32) },
            image: try needs.imageWidth.map { try random("image", [needs.expectedImageTokens, $0]) },
            frameRate: needs.takesFrameRate ? 24 : nil)
    }
}
