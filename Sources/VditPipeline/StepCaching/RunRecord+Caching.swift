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
            /// What became of cross-attention, where a cache decides about it by itself.
            public var cross: CacheStatistics.Outcome?
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
    ///   - contexts: of every part of the loop that ran.
    ///   - layers: of a transformer.
    ///   - works: of a call of every part.
    init?(
        _ contexts: [CacheContext], calibration: String?, layers: Int, works: [TransformerWork],
        predictedStateBytes: Int
    ) {
        guard let first = contexts.first else { return nil }
        let all = contexts.flatMap(\.state.statistics.calls)
        let configuration = first.configuration
        let skipped = 1 - configuration.remainder(layers: layers).other
        var (flops, leftOut) = (0.0, 0.0)
        for (context, work) in zip(contexts, works) {
            let calls = context.state.statistics.calls
            flops += Double(calls.count) * work.other
            leftOut += Double(calls.count { $0.outcome != .computed }) * skipped * work.other
                + Double(calls.count { $0.cross.map { $0 != .computed } ?? false }) * work.crossAttention
        }
        self.init(
            cache: configuration.name, options: configuration.options, budget: configuration.budget,
            solvedThreshold: configuration.budget != nil && first.gate.rule.signal == nil ? first.gate.threshold : nil,
            calibration: calibration, computedCalls: all.count { $0.outcome == .computed },
            reusedCalls: all.count { $0.outcome == .reused }, forecastCalls: all.count { $0.outcome == .forecast },
            work: 1 - leftOut / max(1, flops), flopsSaved: leftOut,
            stateBytes: contexts.reduce(0) { $0 + $1.keptBytes }, predictedStateBytes: predictedStateBytes,
            calls: all.map {
                Call(step: $0.step, branch: $0.branch, outcome: $0.outcome, estimate: $0.estimate, cross: $0.cross)
            })
    }
}

/// What a part of the loop computes, as far as that is known before it starts.
struct PredictedPart {
    let work: TransformerWork
    let calls: PredictedCalls
    /// What the sparse method leaves of the self-attention of the calls that are computed, and all of it of all calls.
    let computedAttention: PredictedWork
    let attention: PredictedWork
    /// What the sparse method learns, and what a call of it takes.
    let methodBytes: Int
    let workingBytes: Int

    /// - Throws: what method and cache throw for a model or a layout they cannot serve, `PredictedCalls`' errors.
    init(
        _ part: RenderPlan.Part, _ method: ConfiguredMethod, _ cache: ConfiguredCache?,
        of transformer: any TransformerSpecification, _ precision: Precision, _ fallback: AttentionContext.Fallback
    ) throws {
        work = part.work
        calls = try PredictedCalls(cache, part, precision, of: transformer)
        let context = try AttentionContext(method, layouts: part.layouts, fallback: fallback)
        computedAttention = context.predictedWork(calls: calls.perStep, layers: transformer.layers)
        attention = calls.attention(computedAttention)
        methodBytes = method.predictedStateBytes(
            layout: context.layout(of: .conditional), heads: transformer.heads, headDim: transformer.headDim,
            layers: transformer.layers, branches: part.calls.isGuided ? 2 : 1)
        workingBytes = method.method.workingBytes(
            layout: context.layout(of: .conditional), headDim: transformer.headDim)
    }
}

/// What a step cache leaves of a part's calls, as far as that is known before it starts.
struct PredictedCalls {
    /// Computed calls of every step. Where they show while the run runs, as many as may be, the first ones: methods
    /// compute those densely.
    let perStep: [Int]
    let isUpperBound: Bool
    /// Calls in all, and all but what is left out of them, self-attention not counted.
    let all: Int
    let computed: Double
    /// Calls whose self-attention runs although they are left out; parts count as such.
    private let attended: Double
    /// What the cache keeps.
    let bytes: Int

    /// - Parameter transformer: of which all transformers are.
    /// - Throws: what the cache throws for a model it cannot serve or a budget it cannot keep; `PipelineError.setting`
    ///   where its blocks that always run are all there are, or there is no cross-attention to broadcast.
    init(
        _ cache: ConfiguredCache?, _ part: RenderPlan.Part, _ precision: Precision,
        of transformer: any TransformerSpecification
    ) throws(PipelineError) {
        let calls = part.calls
        let all = calls.all.count
        self.all = all
        guard let cache else {
            perStep = (0..<calls.steps).map { calls.branches(of: $0).count }
            (isUpperBound, computed, attended, bytes) = (false, Double(all), 0, 0)
            return
        }
        let outer = cache.cache.alwaysRuns
        guard outer.count < transformer.layers else {
            throw .setting(
                "cache_options", found: "\(outer.count) blocks of \(cache.name) that always run",
                expected: "fewer than the model's \(transformer.layers)")
        }
        let crossGate = try cache.crossGate(for: calls)
        guard crossGate == nil || part.work.crossAttention > 0 else {
            throw .setting(
                "cache_options", found: "cross-interval=\(cache.cache.crossInterval)",
                expected: "1: this model has no cross-attention")
        }
        let predicted = try cache.gate(for: calls).predicted
        var perStep = [Int](repeating: 0, count: calls.steps)
        for call in predicted.computed { perStep[call.step] += 1 }
        self.perStep = perStep
        isUpperBound = predicted.isUpperBound
        let leftOut = Double(all - predicted.computed.count)
        let remainder = cache.remainder(layers: transformer.layers)
        let crossLeftOut = crossGate.map { Double(all - $0.computedCalls().count) } ?? 0
        computed = Double(all) - leftOut * (1 - remainder.other) - crossLeftOut * part.work.crossShare
        attended = leftOut * remainder.attention
        let tokens = part.layouts[.conditional]?.tokens ?? 0
        bytes = cache.predictedStateBytes(
            streams: tokens * transformer.heads * transformer.headDim * 4, latents: part.latents.count * 4,
            layers: transformer.layers, operand: precision.dtype, branches: calls.isGuided ? 2 : 1)
    }

    /// The self-attention of all calls.
    ///
    /// - Parameter work: of the computed calls alone. What runs of the others counts as dense.
    func attention(_ work: PredictedWork) -> PredictedWork {
        let computed = Double(perStep.reduce(0, +))
        return PredictedWork(
            share: (work.share * computed + attended) / Double(max(1, all)),
            isUpperBound: work.isUpperBound || isUpperBound)
    }
}

extension TransformerWork {
    /// Cross-attention's part of what is not self-attention.
    var crossShare: Double { crossAttention / max(1, other) }
}
