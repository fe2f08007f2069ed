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

    public typealias Attend = (AttentionCall) throws -> AttentionOutput

    /// - Parameters:
    ///   - weights: of a checkpoint; random ones if nil.
    ///   - trained: what `attend` needs of the model.
    ///   - attend: computes self-attention of one layer; dense if nil.
    public func run(
        repeats: Int, _ compute: ComputeContext, from weights: (any WeightSource)? = nil,
        trained: TrainedAttention? = nil, attend: Attend? = nil
    ) throws -> Result {
        let layer = try LoadedLayer(self, compute, from: weights, trained: trained, attend: attend)
        for _ in 0...max(1, repeats) { try layer.pass() }
        return layer.result
    }

    /// A layer and those around it, loaded to be timed: pass by pass, so that two of them may alternate.
    public final class LoadedLayer {
        private let benchmark: LayerBenchmark
        private let compute: ComputeContext
        private let trained: TrainedAttention?
        private let attend: Attend
        /// Layer i is timed from the start of its attention to the start of the next one's.
        private let timed: Int
        private let model: any VideoModel
        private let prepared: any PreparedConditioning
        private let noise: Tensor
        private let layout: TokenLayout
        private let loadSeconds: Double
        private var passes: [(layer: Double, attention: Double)] = []

        /// - Parameters: as of `LayerBenchmark.run`.
        public init(
            _ benchmark: LayerBenchmark, _ compute: ComputeContext, from weights: (any WeightSource)? = nil,
            trained: TrainedAttention? = nil, attend: Attend? = nil
        ) throws {
            (self.benchmark, self.compute, self.trained) = (benchmark, compute, trained)
            self.attend = attend ?? { blockSparseAttention($0, .dense(tokens: $0.tokens), values: $0.q.dtype) }
            let specification = benchmark.specification
            let few = specification.withLayers(LayerBenchmark.layers(compute.precision))
            timed = few.layers / 2 - 1
            let loading = ContinuousClock.now
            model = try few.load(weights ?? RandomWeights(few.tensors, seed: benchmark.seed), compute)
            loadSeconds = loading.secondsUntilNow
            layout = try few.tokenLayout(benchmark.latents, textTokens: benchmark.textTokens)
            prepared = try model.prepare(benchmark.conditioning())
            var random = TorchRandom(seed: benchmark.seed)
            noise = random.normal([specification.inputChannels] + benchmark.latents.extents.dropFirst(), .f32)
        }

        /// Runs and times it; the first pass only warms up.
        public func pass() throws {
            var starts: [ContinuousClock.Instant] = []
            var attention: [Double] = []
            var run = ForwardPass(timesteps: [500]) { [attend] call in
                starts.append(.now)
                defer { attention.append(starts[starts.count - 1].secondsUntilNow) }
                return try attend(call)
            }
            run.trained = trained
            _ = try model.predict(noise, conditioning: prepared, run)
            passes.append((starts[timed].duration(to: starts[timed + 1]) / .seconds(1), attention[timed]))
        }

        /// Of two passes at least.
        public var result: Result {
            let (text, measured) = (benchmark.textTokens, passes.dropFirst())
            let work = benchmark.specification.withLayers(1).work(layout, textTokens: text)
            let layer = Timing(seconds: measured.map(\.layer))
            let flops = work.selfAttention + work.other + (trained == nil ? 0 : work.trained)
            return Result(
                tokens: layout.tokens, threads: compute.pool.threads, layer: layer,
                attention: Timing(seconds: measured.map(\.attention)), flops: flops, attentionFlops: work.selfAttention,
                teraflopsPerSecond: flops / layer.medianSeconds / 1e12, weightBytes: model.layerByteCount,
                loadSeconds: loadSeconds)
        }
    }

    /// Random numbers for all that the model takes.
    package func conditioning() throws -> Conditioning {
        let needs = specification.conditioning
        func random(_ name: String, _ shape: [Int]) throws -> Tensor {
            try RandomWeights([(name, shape)], seed: seed).tensor(name)
        }
        var conditioning = Conditioning(
            prompt: try random("text", [textTokens, needs.promptWidth]),
            mask: needs.takesMask ? Array(repeating: true, count: textTokens) : nil,
            pooled: try needs.pooledWidth.map { try random("pooled", [$0]).converted(to: .f32) },
            image: try needs.imageWidth.map { try random("image", [needs.expectedImageTokens, $0]) },
            frameRate: needs.takesFrameRate ? 24 : nil)
        conditioning.guidance = needs.takesGuidance ? 6 : nil
        return conditioning
    }
}
