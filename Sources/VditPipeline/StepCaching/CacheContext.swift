import VditAttention
import VditModels
import VditTensor

/// The calls of one transformer in one video: which were computed, what stood in for the others and what for that is
/// kept, for each guidance branch by itself. Owned by one run; calls come in step order.
public final class CacheContext {
    public let configuration: ConfiguredCache
    public let gate: CacheGate
    private let pool: WorkPool
    /// All that changes from call to call. Putting an earlier value back undoes what came after it.
    public var state = State()

    /// What is kept of every branch, and what was decided.
    public struct State: Sendable {
        fileprivate var memories: [AttentionSite.Branch: CacheMemory] = [:]
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
        self.pool = pool
    }

    /// Computes a call, or what stands in for it.
    ///
    /// - Parameters:
    ///   - conditional: the output of the same step's conditional call, where this is the other.
    ///   - run: runs the model in a pass that this makes ready.
    public func predict(
        _ call: CacheCall, conditional: Tensor?, run: ((inout ForwardPass) -> Void) throws -> Tensor
    ) throws -> Tensor {
        switch configuration.cache.standIn {
        case .blocks:
            let decide = decider(call)
            return try run { $0.decideBlocks = decide }
        case .attention: return try predictAroundAttention(call, run: run)
        case .output: return try predictOutput(call, run: run)
        case .difference:
            guard let conditional else {
                _ = judge(call, change: 0)
                return try run { _ in }
            }
            return try predictOutput(call, from: conditional, run: run)
        }
    }

    /// Keeps what self-attention gives, layer by layer, or takes it from there.
    private func predictAroundAttention(
        _ call: CacheCall, run: ((inout ForwardPass) -> Void) throws -> Tensor
    ) throws -> Tensor {
        guard judge(call, change: 0) else {
            let kept = forecast(call)
            return try run { pass in
                pass.attend = { attention in
                    let layer = attention.site.layer
                    let (tokens, heads) = (attention.tokens, attention.heads)
                    guard layer < kept.count, kept[layer].shape == [tokens, heads, attention.q.shape[2]] else {
                        throw PipelineError.damagedCheckpoint(
                            "checkpoint: cached: found \(kept.map(\.shape)), expected attention of \(tokens) tokens")
                    }
                    return AttentionOutput(values: kept[layer], logSumExp: Tensor(.f32, [heads, 0]))
                }
            }
        }
        var given: [Tensor] = []
        let output = try run { pass in
            let attend = pass.attend
            pass.attend = { attention in
                let output = try attend(attention)
                given.append(output.values)
                return output
            }
        }
        // Differences are taken in f32.
        learn(configuration.order == 0 ? given : given.map { $0.converted(to: .f32) }, call)
        return output
    }

    /// - Parameter base: what the output is kept as a difference from.
    private func predictOutput(
        _ call: CacheCall, from base: Tensor? = nil, run: ((inout ForwardPass) -> Void) throws -> Tensor
    ) throws -> Tensor {
        guard judge(call, change: 0) else {
            let kept = forecast(call)[0]
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
        let stoodIn: CacheStatistics.Outcome = memory.terms.count > 1 ? .forecast : .reused
        state.statistics.calls.append(
            CacheStatistics.Call(
                step: call.step, branch: call.branch, outcome: verdict.isComputed ? .computed : stoodIn,
                estimate: verdict.estimate.flatMap { $0.isFinite ? $0 : nil }))
        return verdict.isComputed
    }

    private func forecast(_ call: CacheCall) -> [Tensor] {
        memory(call).forecast(call.step, lean: configuration.lean, pool)
    }

    private func learn(_ value: [Tensor], _ call: CacheCall) {
        state.memories[call.branch, default: CacheMemory()].learn(value, order: configuration.order, pool)
    }

    // MARK: Checkpoints

    /// Bytes of everything that is kept.
    public var keptBytes: Int { state.memories.values.reduce(0) { $0 + $1.byteCount } }

    /// What is kept of every branch, as `branch.name`, and what is counted.
    func saved() -> (tensors: [String: Tensor], counts: SavedCache) {
        var tensors: [String: Tensor] = [:]
        for (branch, memory) in state.memories {
            for (name, tensor) in memory.tensors { tensors["\(branch.rawValue).\(name)"] = tensor }
        }
        let numbers = state.memories.map { ($0.key.rawValue, $0.value.numbers) }
        return (
            tensors,
            SavedCache(numbers: Dictionary(uniqueKeysWithValues: numbers), statistics: state.statistics)
        )
    }

    /// Puts back what `saved` gave.
    ///
    /// - Parameter output: extents of what the model predicts; those of its streams are checked when they are used.
    /// - Throws: `PipelineError.damagedCheckpoint` for what no cache keeps.
    func restore(_ tensors: [String: Tensor], _ saved: SavedCache, output: [Int]) throws(PipelineError) {
        var restored = State()
        restored.statistics = saved.statistics
        for branch in AttentionSite.Branch.allCases {
            let prefix = "\(branch.rawValue)."
            let own = tensors.filter { $0.key.hasPrefix(prefix) }
            guard let numbers = saved.numbers[branch.rawValue] else { continue }
            let memory = try CacheMemory(
                Dictionary(uniqueKeysWithValues: own.map { (String($0.key.dropFirst(prefix.count)), $0.value) }), numbers)
            let isOutput = [.output, .difference].contains(configuration.cache.standIn)
            guard !isOutput || memory.terms.allSatisfy({ $0.map(\.shape) == [output] }) else {
                throw .damagedCheckpoint("checkpoint: cached: found other extents, expected \(output)")
            }
            restored.memories[branch] = memory
        }
        state = restored
    }
}

/// What a checkpoint says of a cache beside its tensors.
public struct SavedCache: Sendable, Codable, Equatable {
    /// By branch.
    var numbers: [String: CacheNumbers] = [:]
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
    }

    /// In order.
    public internal(set) var calls: [Call] = []

    public init() {}

    public func count(_ outcome: Outcome) -> Int { calls.count { $0.outcome == outcome } }
}
