import VditTensor

/// The attention of one video: a method's state at every (layer, branch), the dense schedule around it, and
/// what it all cost. Owned by one run; calls come in step order.
public final class AttentionContext {
    /// What happens when the method cannot serve a layout or a call.
    public enum Fallback: String, Sendable, CaseIterable, Codable {
        /// The call throws.
        case refuse
        /// The call is computed densely and counted.
        case dense
    }

    public let configuration: ConfiguredMethod
    public let layout: TokenLayout
    private let fallback: Fallback
    private let prototype: any SparseMethod
    /// Why the method cannot serve the layout, when every call falls back to dense.
    public let refusal: AttentionError?
    private let densePlan: AttentionPlan
    private var sites: [AttentionSite: any SparseMethod] = [:]
    private let buffers = TensorPool()
    public private(set) var statistics = AttentionStatistics()

    /// One attention as it was computed.
    public struct Observation: Sendable {
        /// Its q, k and v are the caller's and may change with the next call.
        public let call: AttentionCall
        /// The plans that ran: the call's own, then those of the correction.
        public let plans: [AttentionPlan]
        public let output: AttentionOutput

        public init(call: AttentionCall, plans: [AttentionPlan], output: AttentionOutput) {
            self.call = call
            self.plans = plans
            self.output = output
        }
    }

    /// Sees every call once it is computed.
    public var observer: ((Observation) throws(AttentionError) -> Void)?

    /// - Throws: what `SparseMethod.prepare` throws, unless falling back to dense.
    public init(
        _ configuration: ConfiguredMethod, layout: TokenLayout, fallback: Fallback = .refuse
    ) throws(AttentionError) {
        self.configuration = configuration
        self.layout = layout
        self.fallback = fallback
        densePlan = .dense(tokens: layout.tokens)
        var method = configuration.method
        do {
            try method.prepare(for: layout)
            refusal = nil
        } catch {
            if fallback == .refuse { throw error }
            refusal = error
        }
        prototype = method
    }

    /// The method after `prepare`: its plan where that depends on the layout alone, and what it solved.
    public var prepared: any SparseMethod { prototype }

    /// Computes one attention as the method and the schedule say.
    ///
    /// - Returns: values in the type of `q`.
    /// - Throws: what the method throws, unless falling back to dense.
    public func attend(_ call: AttentionCall) throws(AttentionError) -> AttentionOutput {
        precondition(call.layout == layout, "a context serves the layout it was made for")
        var plans: [AttentionPlan] = []
        let output = try compute(call, &plans)
        try observer?(Observation(call: call, plans: plans, output: output))
        return output
    }

    private func compute(
        _ call: AttentionCall, _ plans: inout [AttentionPlan]
    ) throws(AttentionError) -> AttentionOutput {
        var cost = AttentionStatistics.Row(step: call.step, layer: call.site.layer)
        let pairs = call.tokens * call.tokens * call.heads
        cost.pairs = pairs
        defer { statistics.add(cost) }

        func run(_ plan: AttentionPlan, _ type: DType, _ cost: inout AttentionStatistics.Row) -> AttentionOutput {
            plans.append(plan)
            let start = ContinuousClock.now
            let output = blockSparseAttention(call, plan, values: type, buffers: buffers)
            cost.attentionSeconds += start.secondsUntilNow
            cost.computedPairs += plan.pairs(heads: call.heads)
            return output
        }

        let denseLayer = configuration.schedule.isDense(layer: call.site.layer)
        let denseStep = configuration.schedule.isDense(step: call.step, of: call.steps)
        if denseLayer || denseStep {
            cost.scheduledDenseCalls = 1
            if !denseLayer && refusal == nil {
                let start = ContinuousClock.now
                var method = take(call.site)
                defer { sites[call.site] = method }
                try method.observe(call)
                cost.planningSeconds += start.secondsUntilNow
            }
            return run(densePlan, call.q.dtype, &cost)
        }
        if refusal != nil {
            cost.fallbackCalls = 1
            return run(densePlan, call.q.dtype, &cost)
        }

        var method = take(call.site)
        defer { sites[call.site] = method }
        do {
            let start = ContinuousClock.now
            let plan = try method.plan(call)
            cost.planningSeconds += start.secondsUntilNow
            let kept = plan.pairs(heads: call.heads)
            if kept == pairs { cost.fullCalls = 1 } else { cost.sparseCalls = 1 }
            if kept < pairs {
                cost.sparsePairs = pairs
                cost.keptPairs = kept
            }
            var output = run(plan, method.finishes ? .f32 : call.q.dtype, &cost)
            let finishing = ContinuousClock.now
            let nested = cost.attentionSeconds
            try method.finish(&output, of: call) { plan in run(plan, .f32, &cost) }
            if output.values.dtype != call.q.dtype {
                output.values = output.values.converted(to: call.q.dtype)
            }
            cost.planningSeconds +=
                finishing.secondsUntilNow - (cost.attentionSeconds - nested)
            return output
        } catch {
            if fallback == .refuse { throw error }
            cost.fallbackCalls = 1
            cost.sparseCalls = 0
            cost.fullCalls = 0
            return run(densePlan, call.q.dtype, &cost)
        }
    }

    /// The site's method, taken out so that its state is changed in place rather than copied.
    private func take(_ site: AttentionSite) -> any SparseMethod {
        sites.removeValue(forKey: site) ?? prototype
    }

    /// Bytes of everything learned so far.
    public var learnedBytes: Int {
        sites.values.reduce(0) { $0 + $1.learned.values.reduce(0) { $0 + $1.byteCount } }
    }

    /// What was learned at every site, as `branch.layer.name`, for a checkpoint.
    public func learnedState() -> [String: Tensor] {
        var state: [String: Tensor] = [:]
        for (site, method) in sites {
            for (name, tensor) in method.learned {
                state["\(site.branch.rawValue).\(site.layer).\(name)"] = tensor
            }
        }
        return state
    }

    /// Puts back what `learnedState` gave, and the statistics of that moment.
    ///
    /// - Throws: `AttentionError.state` for a name that is no site's, no state of this method, or statistics no
    ///   run has. Shapes are checked when the state is used.
    public func restore(
        _ state: [String: Tensor], statistics: AttentionStatistics = AttentionStatistics()
    ) throws(AttentionError) {
        guard statistics.isPlausible else {
            throw .state("statistics", found: "numbers out of range", expected: "counts and seconds of a run")
        }
        var bySite: [AttentionSite: [String: Tensor]] = [:]
        for (key, tensor) in state {
            let parts = key.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, let branch = AttentionSite.Branch(rawValue: String(parts[0])),
                let layer = Int(parts[1]), layer >= 0
            else { throw .state(key, found: "that name", expected: "branch.layer.name") }
            bySite[AttentionSite(layer: layer, branch: branch), default: [:]][String(parts[2])] = tensor
        }
        var restored: [AttentionSite: any SparseMethod] = [:]
        for (site, learned) in bySite {
            var method = prototype
            method.learned = learned
            if let lost = Set(learned.keys).subtracting(method.learned.keys).min() {
                throw .state(lost, found: "that name", expected: "state of \(configuration.name)")
            }
            restored[site] = method
        }
        sites = restored
        self.statistics = statistics
    }
}
