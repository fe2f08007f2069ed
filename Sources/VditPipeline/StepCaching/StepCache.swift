import VditAttention
import VditModels
import VditTensor

/// A step cache with its parameters, before any run is known.
///
/// Neighbouring steps of the sampler's loop ask a transformer nearly the same. A cache says which calls are computed;
/// what those gave stands in for the others. A sparse method says how a call is computed: the two multiply, and a call
/// that is left out leaves what the method learned as it is.
public protocol StepCache: Sendable {
    static var name: String { get }

    /// The estimate from which on a call is computed, where no budget decides.
    var threshold: Double { get }
    var standIn: CacheStandIn { get }
    /// Blocks that run in every call, where blocks are what is left out.
    var alwaysRuns: OuterBlocks { get }
    /// What it keeps of its signal, over the bytes of the residual streams.
    var signalShare: Double { get }
    /// Every so many-th step computes cross-attention, where attention's outputs are what stands in; 1 for all.
    var crossInterval: Double { get }

    /// How it decides about the calls of one transformer.
    ///
    /// - Throws: `PipelineError` for a model it cannot serve.
    func rule(for calls: TransformerCalls, _ tables: CacheTables) throws(PipelineError) -> any CacheRule
}

extension StepCache {
    public var standIn: CacheStandIn { .blocks }
    public var alwaysRuns: OuterBlocks { OuterBlocks() }
    public var signalShare: Double { 0 }
    public var crossInterval: Double { 1 }
}

/// Tells, call by call, how wrong it would be to leave the call out. Knows no family and no tensors.
public protocol CacheRule: Sendable {
    /// What it must be told of a call; nil for what is known before the run.
    var signal: CacheSignal? { get }

    /// The error of leaving a call out, counted since the last one that was computed. Called once for every call that
    /// may be left out, in step order.
    ///
    /// - Parameter change: mean absolute change of the signal over its mean absolute value; 0 without a signal.
    func estimate(_ call: CacheCall, change: Double, _ numbers: inout CacheNumbers) -> Double

    /// A call is computed: what is counted from there begins anew.
    ///
    /// - Parameter isForced: whether it was computed whatever the estimate.
    func begin(_ numbers: inout CacheNumbers, threshold: Double, isForced: Bool)
}

extension CacheRule {
    public var signal: CacheSignal? { nil }
    public func begin(_ numbers: inout CacheNumbers, threshold: Double, isForced: Bool) {
        (numbers.ratio, numbers.error) = (1, 0)
    }
}

/// What of a call is compared, and with which one before it.
public enum CacheSignal: Sendable, Equatable {
    /// What the family says of the call, with the call before it, computed or not.
    case call(CallSignal)
    /// What the blocks that always run first add to the first stream, with the last call that was computed; every so
    /// many-th channel.
    case firstBlocks(everyChannel: Int)
}

/// Blocks at both ends of a transformer.
public struct OuterBlocks: Sendable, Equatable {
    public var first: Int
    public var last: Int

    public init(first: Int = 0, last: Int = 0) { (self.first, self.last) = (first, last) }

    var count: Int { first + last }

    /// The blocks between them, of so many.
    func inner(of count: Int) -> Range<Int> { min(first, count)..<max(min(first, count), count - last) }
}

/// What stands in for a call that is left out.
public enum CacheStandIn: String, Sendable, CaseIterable {
    /// What the blocks added to the residual streams: embedding and head run on what the call is given.
    case blocks
    /// The model's output: nothing runs.
    case output
    /// What the unconditional output differs by from the conditional one of its step, which is always computed.
    case difference
    /// What self-attention gave in every layer, of the operand type, and cross-attention likewise, each at steps of its
    /// own: all else runs.
    case attention
}

/// One call of a transformer.
public struct CacheCall: Sendable, Equatable {
    /// 0-based, in the sampler's loop.
    public let step: Int
    public let branch: AttentionSite.Branch

    public init(step: Int, branch: AttentionSite.Branch) {
        self.step = step
        self.branch = branch
    }
}

/// The calls of one transformer in a run, as they are known before it starts.
public struct TransformerCalls: Sendable {
    /// Name of the published model.
    public let model: String
    /// Of the whole loop, and those the transformer serves.
    public let steps: Int
    public let served: Range<Int>
    /// Those of the served that call the unconditional branch too.
    public let guided: Range<Int>
    /// Whether any step of the run does.
    public let isGuided: Bool

    public init(model: String, steps: Int, served: Range<Int>, guided: Range<Int>, isGuided: Bool? = nil) {
        self.model = model
        self.steps = steps
        self.served = served
        self.guided = guided
        self.isGuided = isGuided ?? !guided.isEmpty
    }

    /// Branches of a step, as published schedules count calls.
    var streams: Int { isGuided ? 2 : 1 }

    func steps(of branch: AttentionSite.Branch) -> Range<Int> { branch == .conditional ? served : guided }

    /// Calls of each branch.
    var counts: [AttentionSite.Branch: Int] { [.conditional: served.count, .unconditional: guided.count] }

    /// All of them in the order they come.
    var all: [CacheCall] {
        served.flatMap { step in
            branches(of: step).map { CacheCall(step: step, branch: $0) }
        }
    }

    /// Those of a step, in the order they come.
    func branches(of step: Int) -> [AttentionSite.Branch] {
        AttentionSite.Branch.allCases.filter { steps(of: $0).contains(step) }
    }
}

/// What a cache counts in one branch: saved in checkpoints.
public struct CacheNumbers: Sendable, Codable, Equatable {
    /// What a rule counts since the last computed call: MagCache's running ratio, an accumulated error.
    public var ratio = 1.0
    public var error = 0.0
    /// Calls left out since then.
    public internal(set) var skips = 0
    /// Calls computed, and the step of the last.
    public internal(set) var computed = 0
    public internal(set) var lastComputed: Int?
    /// Steps from the computed call before it.
    var gap = 1
    /// Estimates over all, and the calls each was counted over: how fast the error grows.
    var estimates = 0.0
    var counted = 0

    public init() {}

    var isPlausible: Bool {
        [ratio, error, estimates].allSatisfy(\.isFinite)
            && [skips, computed, counted, lastComputed ?? 0, gap - 1].allSatisfy { (0...1_000_000).contains($0) }
    }
}
