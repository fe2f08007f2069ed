import VditAttention
import VditModels
import VditTensor

/// The calls of one transformer in one video: which were computed, what stood in for the others and what for that is
/// kept, for each guidance branch by itself. Owned by one run; calls come in step order.
public final class CacheContext {
    public let configuration: ConfiguredCache
    public let gate: CacheGate
    private let crossGate: CacheGate?
    private let pool: WorkPool
    /// All that changes from call to call. Putting an earlier value back undoes what came after it.
    public var state = State()

    /// What is kept of every branch, and what was decided.
    public struct State: Sendable {
        fileprivate var memories: [AttentionSite.Branch: CacheMemory] = [:]
        /// Of cross-attention, where it has steps of its own.
        fileprivate var crossMemories: [AttentionSite.Branch: CacheMemory] = [:]
        public fileprivate(set) var statistics = CacheStatistics()

        public init() {}
    }

    /// A call that was computed: what its blocks added to the first stream, and the family's signal.
    struct Observation {
        let call: CacheCall
        let residual: Tensor
        let signal: Tensor?
    }

    /// Sees every computed call whose blocks' residual is kept.
    var observer: ((Observation) -> Void)?

    /// - Throws: what the cache throws for a model it cannot serve or a budget it cannot keep.
    public init(
        _ configuration: ConfiguredCache, _ calls: TransformerCalls, pool: WorkPool
    ) throws(PipelineError) {
        self.configuration = configuration
        gate = try configuration.gate(for: calls)
        crossGate = try configuration.crossGate(for: calls)
        self.pool = pool
    }

    /// Computes a call, or what stands in for it.
    ///
    /// - Parameters:
    ///   - output: extents of what the model predicts.
    ///   - conditional: the output of the same step's conditional call, where this is the other.
    ///   - run: runs the model in a pass that this makes ready.
    public func predict(
        _ call: CacheCall, output: [Int], conditional: Tensor?, run: ((inout ForwardPass) -> Void) throws -> Tensor
    ) throws -> Tensor {
        switch configuration.cache.standIn {
        case .blocks:
            let decide = decider(call)
            return try run { $0.decideBlocks = decide }
        case .attention: return try predictAroundAttention(call, run: run)
        case .output: return try predictOutput(call, output, run: run)
        case .difference:
            guard let conditional else {
                _ = judge(call, change: 0)
                return try run { _ in }
            }
            return try predictOutput(call, output, from: conditional, run: run)
        }
    }

    /// Keeps what self-attention gives, layer by layer, or takes it from there; likewise cross-attention.
    private func predictAroundAttention(
        _ call: CacheCall, run: ((inout ForwardPass) -> Void) throws -> Tensor
    ) throws -> Tensor {
        let kept = judge(call, change: 0) ? nil : forecast(call)
        let keptCross = judgesCross(call) ? nil : crossGate.map { _ in forecast(call, state.crossMemories) }
        var (given, givenCross): ([Tensor], [Tensor]) = ([], [])
        let output = try run { pass in
            let attend = pass.attend
            pass.attend = { attention in
                let layer = attention.site.layer
                let (tokens, heads) = (attention.tokens, attention.heads)
                if let kept {
                    guard layer < kept.count, kept[layer].shape == [tokens, heads, attention.q.shape[2]] else {
                        throw PipelineError.damagedCheckpoint(
                            "checkpoint: cached: found \(kept.map(\.shape)), expected attention of \(tokens) tokens")
                    }
                    return AttentionOutput(values: kept[layer], logSumExp: Tensor(.f32, [heads, 0]))
                }
                let output = try attend(attention)
                given.append(output.values)
                return output
            }
            if crossGate != nil { pass.crossAttention = keptCross.map { .given($0) } ?? .kept { givenCross = $0 } }
        }
        // Differences are taken in f32.
        func learned(_ given: [Tensor]) -> [Tensor] {
            configuration.order == 0 ? given : given.map { $0.converted(to: .f32) }
        }
        if kept == nil { learn(learned(given), call) }
        if crossGate != nil, keptCross == nil {
            state.crossMemories[call.branch, default: CacheMemory()].learn(
                learned(givenCross), order: configuration.order, pool)
        }
        return output
    }

    /// Whether a call's cross-attention is computed; notes it beside what was decided about the call.
    private func judgesCross(_ call: CacheCall) -> Bool {
        guard let crossGate else { return true }
        var memory = state.crossMemories[call.branch] ?? CacheMemory()
        let verdict = crossGate.judge(call, change: 0, mayReuse: !memory.terms.isEmpty, &memory.numbers)
        state.crossMemories[call.branch] = memory
        state.statistics.calls[state.statistics.calls.count - 1].cross = memory.outcome(verdict)
        return verdict.isComputed
    }

    /// - Parameter base: what the output is kept as a difference from.
    private func predictOutput(
        _ call: CacheCall, _ extents: [Int], from base: Tensor? = nil,
        run: ((inout ForwardPass) -> Void) throws -> Tensor
    ) throws -> Tensor {
        guard judge(call, change: 0) else {
            let kept = forecast(call)[0]
            guard kept.shape == extents else {
                throw PipelineError.damagedCheckpoint("checkpoint: cached: found \(kept.shape), expected \(extents)")
            }
            return base.map { combination([(1, $0), (1, kept)], pool) } ?? kept
        }
        let output = try run { _ in }
        learn([base.map { combination([(1, output), (-1, $0)], pool) } ?? output], call)
        return output
    }

    /// Decides about the blocks of a call.
    private func decider(_ call: CacheCall) -> (BlockState) throws -> BlockDecision {
        var opened: Tensor?
        let outer = configuration.cache.alwaysRuns
        return { [self] blocks throws in
            let inner = outer.inner(of: blocks.count)
            if blocks.next >= inner.upperBound { return .run(upTo: blocks.count) }
            if blocks.next < inner.lowerBound {
                guard case .firstBlocks(let stride) = gate.rule.signal else { return .run(upTo: inner.lowerBound) }
                return .run(upTo: inner.lowerBound) { opened = channels(every: stride, of: $0[0]) }
            }
            var change = 0.0
            switch gate.rule.signal {
            case nil: break
            case .call(let kind):
                guard let now = blocks.signal(kind) else {
                    throw PipelineError.setting(
                        "cache", found: configuration.name,
                        expected: "a cache that needs no \(kind.rawValue) signal: this family offers none")
                }
                if let before = memory(call).signal { change = try relativeChange(now, since: before, pool) }
                state.memories[call.branch, default: CacheMemory()].signal = now
            case .firstBlocks:
                if let opened, let before = memory(call).signal {
                    change = try relativeChange(opened, since: before, pool)
                }
            }
            if !judge(call, change: change) {
                let kept = forecast(call)
                guard kept.map(\.shape) == blocks.streams.map(\.shape) else {
                    throw PipelineError.damagedCheckpoint(
                        "checkpoint: cached: found \(kept.map(\.shape)), expected \(blocks.streams.map(\.shape))")
                }
                return .skip(upTo: inner.upperBound, adding: kept)
            }
            if let opened { state.memories[call.branch, default: CacheMemory()].signal = opened }
            let signal = observer == nil ? nil : blocks.signal(.time)
            return .run(upTo: inner.upperBound) { [self] in
                observer?(Observation(call: call, residual: $0[0], signal: signal))
                learn($0, call)
            }
        }
    }

    private func memory(_ call: CacheCall) -> CacheMemory { state.memories[call.branch] ?? CacheMemory() }

    private func judge(_ call: CacheCall, change: Double) -> Bool {
        var memory = memory(call)
        let verdict = gate.judge(call, change: change, mayReuse: !memory.terms.isEmpty, &memory.numbers)
        state.memories[call.branch] = memory
        state.statistics.calls.append(
            CacheStatistics.Call(
                step: call.step, branch: call.branch, outcome: memory.outcome(verdict),
                estimate: verdict.estimate.flatMap { $0.isFinite ? $0 : nil }))
        return verdict.isComputed
    }

    private func forecast(_ call: CacheCall) -> [Tensor] { forecast(call, state.memories) }

    private func forecast(_ call: CacheCall, _ memories: [AttentionSite.Branch: CacheMemory]) -> [Tensor] {
        memories[call.branch]?.forecast(call.step, lean: configuration.lean, pool) ?? []
    }

    private func learn(_ value: [Tensor], _ call: CacheCall) {
        state.memories[call.branch, default: CacheMemory()].learn(value, order: configuration.order, pool)
    }

    // MARK: Checkpoints

    /// Bytes of everything that is kept.
    public var keptBytes: Int {
        [state.memories, state.crossMemories].joined().reduce(0) { $0 + $1.value.byteCount }
    }

    /// What is kept of every branch, as `branch.name` and `cross.branch.name`, and what is counted.
    func saved() -> (tensors: [String: Tensor], counts: SavedCache) {
        var tensors: [String: Tensor] = [:]
        func save(_ memories: [AttentionSite.Branch: CacheMemory], _ prefix: String) -> [String: CacheNumbers] {
            for (branch, memory) in memories {
                for (name, tensor) in memory.tensors { tensors["\(prefix)\(branch.rawValue).\(name)"] = tensor }
            }
            return Dictionary(uniqueKeysWithValues: memories.map { ($0.key.rawValue, $0.value.numbers) })
        }
        let numbers = save(state.memories, "")
        let cross = crossGate == nil ? nil : save(state.crossMemories, Self.crossPrefix)
        return (tensors, SavedCache(numbers: numbers, cross: cross, statistics: state.statistics))
    }

    private static let crossPrefix = "cross."

    /// Puts back what `saved` gave.
    ///
    /// Extents are checked when tensors are used.
    /// - Throws: `PipelineError.damagedCheckpoint` for what no cache keeps.
    func restore(_ tensors: [String: Tensor], _ saved: SavedCache) throws(PipelineError) {
        func memories(
            _ prefix: String, _ numbers: [String: CacheNumbers]
        ) throws(PipelineError) -> [AttentionSite.Branch: CacheMemory] {
            var memories: [AttentionSite.Branch: CacheMemory] = [:]
            for branch in AttentionSite.Branch.allCases {
                guard let own = numbers[branch.rawValue] else { continue }
                memories[branch] = try CacheMemory(tensors.below("\(prefix)\(branch.rawValue)."), own)
            }
            return memories
        }
        var restored = State()
        restored.statistics = saved.statistics
        restored.memories = try memories("", saved.numbers)
        restored.crossMemories = try memories(Self.crossPrefix, saved.cross ?? [:])
        state = restored
    }
}

/// What a checkpoint says of a cache beside its tensors.
public struct SavedCache: Sendable, Codable, Equatable {
    /// By branch.
    var numbers: [String: CacheNumbers] = [:]
    var cross: [String: CacheNumbers]?
    var statistics = CacheStatistics()
}

/// What became of every call.
public struct CacheStatistics: Sendable, Codable, Equatable {
    public enum Outcome: String, Sendable, Codable { case computed, reused, forecast }

    public struct Call: Sendable, Codable, Equatable {
        public var step: Int
        public var branch: AttentionSite.Branch
        public var outcome: Outcome
        /// The error of leaving it out, as the cache counts; nil where the call had to be computed.
        public var estimate: Double?
        /// What became of cross-attention, where that is decided by itself.
        public var cross: Outcome?
    }

    /// In order.
    public internal(set) var calls: [Call] = []

    public init() {}

    public func count(_ outcome: Outcome) -> Int { calls.count { $0.outcome == outcome } }
}
