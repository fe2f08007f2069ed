import VditAttention
import VditModels
import VditTensor

extension RunRecord {
    /// What a step cache computed and what stood in for the rest, in all processes of a run.
    public struct Caching: Sendable, Codable, Equatable {
        public struct Call: Sendable, Codable, Equatable {
            public var step: Int
            public var branch: AttentionSite.Branch
            public var outcome: CacheStatistics.Outcome
            /// The error of leaving the call out, as the cache counts it; left out where the call had to be computed.
            public var estimate: Double?
        }

        public var cache: String
        public var options: [String: String]
        /// What was asked for, and the threshold that was found for it.
        public var budget: Double?
        public var solvedThreshold: Double?
        public var calibration: String?
        public var computedCalls: Int
        public var reusedCalls: Int
        public var forecastCalls: Int
        /// What ran of the work of all calls, self-attention not counted, and the operations that did not run. Left out
        /// in older records.
        public var work: Double?
        public var flopsSaved: Double?
        /// What the cache keeps at the end of the run, and at most.
        public var stateBytes: Int
        public var predictedStateBytes: Int
        /// In the order they came.
        public var calls: [Call]
    }
}

extension RunRecord.Caching {
    /// Nil without a step cache.
    ///
    /// - Parameters:
    ///   - contexts: of every transformer that ran.
    ///   - layers: of a transformer.
    ///   - flops: of one call without its self-attention.
    init?(
        _ contexts: [CacheContext], calibration: String?, layers: Int, flops: Double, predictedStateBytes: Int
    ) {
        guard let first = contexts.first else { return nil }
        let all = contexts.flatMap(\.state.statistics.calls)
        let configuration = first.configuration
        let leftOut = Double(all.count { $0.outcome != .computed })
            * (1 - configuration.remainder(layers: layers).other)
        self.init(
            cache: configuration.name, options: configuration.options, budget: configuration.budget,
            solvedThreshold: configuration.budget != nil && first.gate.rule.signal == nil ? first.gate.threshold : nil,
            calibration: calibration, computedCalls: all.count { $0.outcome == .computed },
            reusedCalls: all.count { $0.outcome == .reused }, forecastCalls: all.count { $0.outcome == .forecast },
            work: 1 - leftOut / Double(max(1, all.count)), flopsSaved: leftOut * flops,
            stateBytes: contexts.reduce(0) { $0 + $1.keptBytes }, predictedStateBytes: predictedStateBytes,
            calls: all.map { Call(step: $0.step, branch: $0.branch, outcome: $0.outcome, estimate: $0.estimate) })
    }
}

/// What a step cache leaves of a run's calls, as far as that is known before it starts.
struct PredictedCalls {
    /// Computed calls of every step. Where they show while the run runs, as many as may be, the first ones: methods
    /// compute those densely.
    let perStep: [Int]
    let isUpperBound: Bool
    /// Calls in all but what is left out of them, self-attention not counted.
    let computed: Double
    /// Calls whose self-attention runs although they are left out; parts count as such.
    private let attended: Double
    private let all: Int
    /// What the cache keeps.
    let bytes: Int

    /// - Parameters:
    ///   - tokens: of the joint sequence.
    ///   - transformer: of which all transformers are.
    /// - Throws: what the cache throws for a model it cannot serve or a budget it cannot keep; `PipelineError.setting`
    ///   where its blocks that always run are all there are.
    init(
        _ cache: ConfiguredCache, _ calls: [TransformerCalls], tokens: Int, latents: LatentShape, precision: Precision,
        of transformer: any TransformerSpecification
    ) throws(PipelineError) {
        let outer = cache.cache.alwaysRuns
        guard outer.count < transformer.layers else {
            throw .setting(
                "cache_options", found: "\(outer.count) blocks of \(cache.name) that always run",
                expected: "fewer than the model's \(transformer.layers)")
        }
        var (isUpperBound, bytes) = (false, 0)
        var perStep = [Int](repeating: 0, count: calls.first?.steps ?? 0)
        for calls in calls {
            let gate = try cache.gate(for: calls)
            let predicted = gate.predicted
            for call in predicted.computed { perStep[call.step] += 1 }
            isUpperBound = isUpperBound || predicted.isUpperBound
            bytes += cache.predictedStateBytes(
                streams: tokens * transformer.heads * transformer.headDim * 4, latents: latents.count * 4,
                layers: transformer.layers, operand: precision.dtype, branches: calls.isGuided ? 2 : 1)
        }
        let all = calls.reduce(0) { $0 + $1.all.count }
        let leftOut = Double(all - perStep.reduce(0, +))
        let remainder = cache.remainder(layers: transformer.layers)
        computed = Double(all) - leftOut * (1 - remainder.other)
        attended = leftOut * remainder.attention
        (self.perStep, self.isUpperBound, self.bytes, self.all) = (perStep, isUpperBound, bytes, all)
    }

    /// The self-attention of the whole run.
    ///
    /// - Parameter work: of the computed calls alone. What runs of the others counts as dense.
    func attention(_ work: PredictedWork) -> PredictedWork {
        let computed = Double(perStep.reduce(0, +))
        return PredictedWork(
            share: (work.share * computed + attended) / Double(max(1, all)),
            isUpperBound: work.isUpperBound || isUpperBound)
    }
}
