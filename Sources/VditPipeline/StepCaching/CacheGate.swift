import VditAttention
import VditModels

/// What is decided about a call, and from which estimate; nil where it had to be computed.
public struct CacheVerdict: Sendable, Equatable {
    public let isComputed: Bool
    public let estimate: Double?

    public init(isComputed: Bool, estimate: Double?) { (self.isComputed, self.estimate) = (isComputed, estimate) }
}

/// The calls that are computed whatever a cache would do. By step index, never by timestep.
public struct CacheWindow: Sendable, Equatable {
    /// At the start of what a transformer serves, where the picture takes shape.
    public var first: DenseSchedule.Steps
    /// At the end of the loop.
    public var last: Int
    /// Whether all conditional calls are.
    var includesConditional = false

    public init(first: DenseSchedule.Steps = .count(0), last: Int = 0) {
        self.first = first
        self.last = last
    }

    /// - Source: `Zehong-Ma/MagCache`, which counts calls of both branches; a second transformer computes one more.
    func isForced(_ call: CacheCall, of calls: TransformerCalls) -> Bool {
        if call.step >= calls.steps - last || includesConditional && call.branch == .conditional { return true }
        let number = (call.step - calls.served.lowerBound) * calls.streams + (call.branch == .conditional ? 0 : 1)
        switch first {
        case .count(let count): return number < count * calls.streams
        case .fraction(let fraction):
            let share = fraction * Double(calls.served.count * calls.streams)
            return calls.served.lowerBound > 0 ? Double(number) <= share : number < Int(share)
        }
    }
}

/// When calls are computed: a rule's estimate against a threshold or a budget, within bounds that hold for all caches.
public struct CacheGate: Sendable {
    let rule: any CacheRule
    let calls: TransformerCalls
    let window: CacheWindow
    /// The estimate from which on a call is computed; with a budget of a rule without a signal, found for it.
    public private(set) var threshold: Double
    /// Calls left out in a row, at most.
    let mostSkips: Int
    /// Calls of a branch to compute, at most; nil where the threshold decides alone.
    private var quota: [AttentionSite.Branch: Int]?
    /// No estimate is above it.
    private static let highest = 1e9

    /// - Parameter budget: share of the calls that may be computed.
    /// - Throws: `PipelineError.setting` where more must be computed.
    public init(
        _ rule: any CacheRule, _ calls: TransformerCalls, window: CacheWindow, threshold: Double,
        mostSkips: Int = .max, budget: Double? = nil, name: String = ""
    ) throws(PipelineError) {
        self.rule = rule
        self.calls = calls
        self.window = window
        self.threshold = threshold
        self.mostSkips = mostSkips
        guard let budget else { return }
        var quota = calls.counts.mapValues { Int(budget * Double($0) + 1e-9) }
        if window.includesConditional {
            // Its calls are not for this cache to leave out.
            let all = calls.counts.values.reduce(0, +)
            quota[.conditional] = calls.served.count
            quota[.unconditional] = max(0, Int(budget * Double(all) + 1e-9) - calls.served.count)
        }
        var least = self
        least.threshold = Self.highest
        let fewest = least.simulated()
        guard fewest.allSatisfy({ $1 <= quota[$0] ?? 0 }) else {
            let share = (fewest.values.reduce(0, +), calls.counts.values.reduce(0, +))
            throw .setting(
                "cache_budget", found: "\(budget)",
                expected: "more: \(name) computes at least \(share.0) of \(share.1) calls with these options "
                    + "(first-steps, last-steps, most-skips)")
        }
        if rule.signal == nil { self.threshold = solved(within: quota) }
        self.quota = quota
    }

    /// Decides about a call. Called once for every call, in step order.
    ///
    /// - Parameters:
    ///   - change: of the rule's signal.
    ///   - mayReuse: whether there is anything to stand in for the call.
    public func judge(
        _ call: CacheCall, change: Double, mayReuse: Bool, _ numbers: inout CacheNumbers
    ) -> CacheVerdict {
        var estimate: Double?
        var isComputed = true
        if mayReuse, !window.isForced(call, of: calls) {
            let found = rule.estimate(call, change: change, &numbers)
            if found.isFinite {
                numbers.estimates += found
                numbers.counted += numbers.skips + 1
                estimate = found
            }
            let (limit, isSpent) = limit(call, numbers)
            isComputed = !isSpent && (limit <= 0 || !(found < limit) || numbers.skips >= mostSkips)
        }
        guard isComputed else {
            numbers.skips += 1
            return CacheVerdict(isComputed: false, estimate: estimate)
        }
        rule.begin(&numbers, threshold: threshold, isForced: estimate == nil)
        numbers.skips = 0
        numbers.computed += 1
        numbers.gap = max(1, call.step - (numbers.lastComputed ?? call.step - 1))
        numbers.lastComputed = call.step
        return CacheVerdict(isComputed: true, estimate: estimate)
    }

    /// The estimate from which on a call is computed, and whether the budget has no call left.
    ///
    /// A signal is not known before the run: a budget is then spent so that the stretches between computed calls have
    /// equal errors, from how fast the error grew so far.
    private func limit(_ call: CacheCall, _ numbers: CacheNumbers) -> (most: Double, isSpent: Bool) {
        guard let quota = quota?[call.branch] else { return (threshold, false) }
        let rest = calls.steps(of: call.branch).clamped(to: call.step..<calls.steps)
        let forced = rest.count { window.isForced(CacheCall(step: $0, branch: call.branch), of: calls) }
        let (left, free) = (quota - numbers.computed - forced, rest.count - forced)
        if left <= 0 { return (.infinity, true) }
        if left >= free { return (0, false) }
        if rule.signal == nil { return (threshold, false) }
        return (numbers.estimates / Double(max(1, numbers.counted)) * Double(free) / Double(left), false)
    }

    /// Calls that are computed, where no signal is needed to tell; with one, as if it never changed.
    func computedCalls() -> [CacheCall] {
        var numbers: [AttentionSite.Branch: CacheNumbers] = [:]
        return calls.all.filter { call in
            var own = numbers[call.branch] ?? CacheNumbers()
            defer { numbers[call.branch] = own }
            return judge(call, change: 0, mayReuse: own.computed > 0, &own).isComputed
        }
    }

    private func simulated() -> [AttentionSite.Branch: Int] {
        computedCalls().reduce(into: [:]) { $0[$1.branch, default: 0] += 1 }
    }

    /// The smallest threshold that keeps a quota, to a millionth of itself.
    private func solved(within quota: [AttentionSite.Branch: Int]) -> Double {
        func keeps(_ threshold: Double) -> Bool {
            var gate = self
            gate.threshold = threshold
            return gate.simulated().allSatisfy { $1 <= quota[$0] ?? 0 }
        }
        if keeps(0) { return 0 }
        var (low, high) = (0.0, 1.0)
        while high < Self.highest, !keeps(high) { (low, high) = (high, high * 2) }
        while high - low > high * 1e-6 {
            let middle = (low + high) / 2
            if keeps(middle) { high = middle } else { low = middle }
        }
        return high
    }

    /// Calls that will be computed. Where a signal decides, as many as may be, the first ones of each branch.
    var predicted: (computed: [CacheCall], isUpperBound: Bool) {
        if rule.signal == nil { return (computedCalls(), false) }
        guard let quota else { return (calls.all, true) }
        return (calls.all.filter { $0.step - calls.steps(of: $0.branch).lowerBound < quota[$0.branch] ?? 0 }, true)
    }
}
