import VditAttention
import VditModels
import VditTensor

/// Times calls that step caches leave out, of a transformer with random weights.
public struct CacheBenchmark: Sendable {
    /// What each layer is like.
    public var layers: LayerBenchmark

    public init(_ layers: LayerBenchmark) { self.layers = layers }

    public struct Row: Sendable, Codable {
        public let cache: String
        /// Of a call that is left out.
        public let seconds: Double
        /// Over a computed one.
        public let share: Double
        /// What the cache keeps of both branches, and of one over the bytes of the residual stream.
        public let stateBytes: Int
        public let stateCopies: Double
    }

    public struct Result: Sendable, Codable {
        public let tokens: Int
        public let threads: Int
        /// Of a call with all of the model's layers: one layer as many times, embedding and head.
        public let computedSeconds: Double
        public let rows: [Row]
    }

    /// Blocks that are loaded; what more of them take follows from these.
    private static let loaded = 4

    /// - Parameter caches: names of the catalogue. Whatever they decide by, they see calls that do not change;
    ///   `guidance` is timed on the unconditional branch.
    public func run(_ caches: [String], repeats: Int, _ compute: ComputeContext) throws -> Result {
        let specification = layers.specification
        let few = specification.withLayers(min(Self.loaded, specification.layers))
        let layout = try few.tokenLayout(layers.latents, textTokens: layers.textTokens)
        let model = try few.load(RandomWeights(few.tensors, seed: layers.seed), compute)
        let prepared = try model.prepare(layers.conditioning())
        var random = TorchRandom(seed: layers.seed)
        let extents = layers.latents.extents.dropFirst()
        let noise = random.normal([specification.inputChannels] + extents, .f32)
        let output = [specification.outputChannels] + extents
        func reused(_ cache: ConfiguredCache) throws -> Double {
            try Self.reusedSeconds(cache, output, repeats: repeats, compute) { pass in
                try model.predict(noise, conditioning: prepared, pass)
            }
        }
        let layer = try layers.run(repeats: repeats, compute)
        // Embedding and head, and adding what is kept.
        let outer = try reused(Self.repeating(TaylorSeer.name))
        let computed = Double(specification.layers) * layer.layer.medianSeconds + outer
        let rows = try caches.map { name in
            let cache = try Self.repeating(name)
            var seconds = try reused(cache)
            if cache.cache.standIn == .attention {
                seconds = outer + (seconds - outer) * Double(specification.layers) / Double(few.layers)
            }
            let streams = layout.tokens * few.heads * few.headDim * 4
            let bytes = cache.predictedStateBytes(
                streams: streams, latents: layers.latents.count * 4, layers: specification.layers,
                operand: compute.precision.dtype, branches: 2)
            return Row(
                cache: name, seconds: seconds, share: seconds / computed, stateBytes: bytes,
                stateCopies: Double(bytes) / Double(2 * streams))
        }
        return Result(tokens: layer.tokens, threads: layer.threads, computedSeconds: computed, rows: rows)
    }

    private static let model = "random"

    /// A cache that computes nothing behind the first step.
    private static func repeating(_ name: String) throws -> ConfiguredCache {
        let entry = try CacheCatalogue.all.entry(name)
        var options = ["first-steps": "1", "last-steps": "0"]
        for (option, value) in ["interval": "1000", "threshold": "1000", "most-skips": "1000", "steps": "0"]
        where entry.options.contains(where: { $0.name == option }) {
            options[option] = value
        }
        let table = CacheTable(steps: 2, streams: 2, ratios: [1, 1], coefficients: [0, 0, 0, 0, 0])
        return try CacheChoice(cache: name, options: options).configured(tables: CacheTables([model: table]))
    }

    /// The median of the calls of some steps that a cache leaves out.
    private static func reusedSeconds(
        _ cache: ConfiguredCache, _ output: [Int], repeats: Int, _ compute: ComputeContext,
        predict: (ForwardPass) throws -> Tensor
    ) throws -> Double {
        let steps = max(1, repeats) + 1
        let calls = TransformerCalls(model: model, steps: steps, served: 0..<steps, guided: 0..<steps)
        let context = try CacheContext(cache, calls, pool: compute.pool)
        var seconds: [Double] = []
        for step in 0..<steps {
            var conditional: Tensor?
            for branch in AttentionSite.Branch.allCases {
                let start = ContinuousClock.now
                let call = CacheCall(step: step, branch: branch)
                conditional = try context.predict(call, output: output, conditional: conditional) { prepare in
                    var pass = ForwardPass(timesteps: [500], branch: branch, step: step, steps: steps) { call in
                        blockSparseAttention(call, .dense(tokens: call.tokens), values: call.q.dtype)
                    }
                    prepare(&pass)
                    return try predict(pass)
                }
                let isComputed = context.state.statistics.calls.last?.outcome == .computed
                if !isComputed { seconds.append(start.secondsUntilNow) }
            }
        }
        return Timing(seconds: seconds).medianSeconds
    }
}
