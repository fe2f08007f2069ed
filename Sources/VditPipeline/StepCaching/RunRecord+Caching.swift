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
    /// - Parameter contexts: of every transformer that ran.
    init?(_ contexts: [CacheContext], calibration: String?, predictedStateBytes: Int) {
        guard let first = contexts.first else { return nil }
        let all = contexts.flatMap(\.state.statistics.calls)
        let configuration = first.configuration
        self.init(
            cache: configuration.name, options: configuration.options, budget: configuration.budget,
            solvedThreshold: configuration.budget != nil && first.gate.rule.signal == nil ? first.gate.threshold : nil,
            calibration: calibration, computedCalls: all.count { $0.outcome == .computed },
            reusedCalls: all.count { $0.outcome == .reused }, forecastCalls: all.count { $0.outcome == .forecast },
            stateBytes: contexts.reduce(0) { $0 + $1.keptBytes }, predictedStateBytes: predictedStateBytes,
            calls: all.map { Call(step: $0.step, branch: $0.branch, outcome: $0.outcome, estimate: $0.estimate) })
    }
}

/// What a step cache leaves of a run's calls, as far as that is known before it starts.
struct PredictedCalls {
    /// Whole calls; what of a call runs although it is left out counts for its part.
    let computed: Double
    let isUpperBound: Bool
    /// Computed calls of every step, where they are known: nil else.
    let perStep: [Int]?
    /// What the cache keeps.
    let bytes: Int

    /// - Parameters:
    ///   - tokens: of the joint sequence.
    ///   - transformer: of which all transformers are.
    /// - Throws: what the cache throws for a model it cannot serve or a budget it cannot keep.
    init(
        _ cache: ConfiguredCache, _ calls: [TransformerCalls], tokens: Int, latents: LatentShape,
        of transformer: any TransformerSpecification
    ) throws(PipelineError) {
        var (computed, isUpperBound, bytes) = (0.0, false, 0)
        var perStep = [Int](repeating: 0, count: calls.first?.steps ?? 0)
        for calls in calls {
            let gate = try cache.gate(for: calls)
            let (count, isLimit) = gate.predicted
            computed += Double(count)
            if case .firstBlocks(let blocks, _) = gate.rule.signal {
                computed += Double(calls.all.count - count) * Double(blocks) / Double(transformer.layers)
            }
            isUpperBound = isUpperBound || isLimit
            for call in gate.computedCalls() { perStep[call.step] += 1 }
            bytes += cache.predictedStateBytes(
                streams: tokens * transformer.heads * transformer.headDim * 4, latents: latents.count * 4,
                branches: calls.isGuided ? 2 : 1)
        }
        (self.computed, self.isUpperBound, self.bytes) = (computed, isUpperBound, bytes)
        self.perStep = isUpperBound ? nil : perStep
    }
}
