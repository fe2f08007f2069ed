import VditTensor

/// The attention of one video: what a method learned at every (layer, branch), or at every layer where branches share
/// it, the dense schedule around it, and what it all cost. Owned by one run; calls come in step order.
public final class AttentionContext {
    /// What happens when the method cannot serve a layout or a call.
    public enum Fallback: String, Sendable, CaseIterable, Codable {
        /// The call throws.
        case refuse
        /// The call is computed densely and counted.
        case dense
    }

    public let configuration: ConfiguredMethod
    /// What its calls should bring of the checkpoint.
    public var trained: TrainedAttention?
    private let fallback: Fallback
    /// Of the scores; that of the operands if nil.
    private let precision: AttentionPrecision?
    private let services: [AttentionSite.Branch: Service]
    private let buffers = TensorPool()
    /// All that changes from call to call. Putting an earlier value back undoes what came after it.
    public var state = State()

    /// What was learned at every site, and what it all cost.
    public struct State: Sendable {
        fileprivate var sites: [AttentionSite: MethodState] = [:]
        public fileprivate(set) var statistics = AttentionStatistics()

        public init() {}
    }

    /// How calls of one layout are computed.
    private struct Service {
        let layout: TokenLayout
        /// As `ConfiguredMethod.planners`; none where the method cannot serve the layout and every call falls back to
        /// dense.
        let planners: [Double?: any AttentionPlanner]
        let refusal: AttentionError?
        let dense: AttentionPlan

        init(_ method: ConfiguredMethod, _ layout: TokenLayout, _ fallback: Fallback) throws(AttentionError) {
            guard layout.tokens <= AttentionPlan.mostTokens else {
                throw .invalid(
                    "tokens", found: "\(layout.tokens)",
                    expected: "at most \(AttentionPlan.mostTokens): a smaller size or fewer frames", kind: .usage)
            }
            self.layout = layout
            dense = .dense(tokens: layout.tokens)
            do {
                planners = try method.planners(for: layout)
                refusal = nil
            } catch {
                if fallback == .refuse { throw error }
                planners = [:]
                refusal = error
            }
        }
    }

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

    /// - Parameter layouts: of every branch there will be calls of; their texts may differ.
    /// - Throws: what `SparseMethod.planner` throws, unless falling back to dense.
    public init(
        _ configuration: ConfiguredMethod, layouts: [AttentionSite.Branch: TokenLayout],
        fallback: Fallback = .refuse, precision: AttentionPrecision? = nil
    ) throws(AttentionError) {
        self.configuration = configuration
        trained = configuration.method.trained
        self.fallback = fallback
        self.precision = precision
        var services: [AttentionSite.Branch: Service] = [:]
        for branch in AttentionSite.Branch.allCases {
            guard let layout = layouts[branch] else { continue }
            if let same = services.values.first(where: { $0.layout == layout }) {
                services[branch] = same
            } else {
                services[branch] = try Service(configuration, layout, fallback)
            }
        }
        self.services = services
    }

    /// One layout for all branches.
    public convenience init(
        _ configuration: ConfiguredMethod, layout: TokenLayout, fallback: Fallback = .refuse,
        precision: AttentionPrecision? = nil
    ) throws(AttentionError) {
        let layouts = AttentionSite.Branch.allCases.map { ($0, layout) }
        try self.init(
            configuration, layouts: Dictionary(uniqueKeysWithValues: layouts), fallback: fallback, precision: precision)
    }

    private func service(_ branch: AttentionSite.Branch) -> Service {
        guard let service = services[branch] else {
            preconditionFailure("a context serves the branches it was made for")
        }
        return service
    }

    public func layout(of branch: AttentionSite.Branch) -> TokenLayout { service(branch).layout }

    /// What plans a branch's calls: the plan, where that depends on the layout alone, and what was solved for it. Nil
    /// where the method cannot serve the layout.
    ///
    /// - Parameter density: of the method's schedule; nil is that of all other calls.
    public func planner(
        of branch: AttentionSite.Branch = .conditional, density: Double? = nil
    ) -> (any AttentionPlanner)? {
        service(branch).planners[density]
    }

    /// Why the method cannot serve a branch's layout, when its calls fall back to dense.
    public func refusal(of branch: AttentionSite.Branch = .conditional) -> AttentionError? {
        service(branch).refusal
    }

    public var statistics: AttentionStatistics { state.statistics }

    /// Computes one attention as the method and the schedule say.
    ///
    /// - Returns: values in the type of `q`.
    /// - Throws: what the method throws, unless falling back to dense.
    public func attend(_ call: AttentionCall) throws(AttentionError) -> AttentionOutput {
        precondition(call.layout == layout(of: call.site.branch), "a context serves the layouts it was made for")
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
        defer { state.statistics.add(cost) }
        let service = service(call.site.branch)
        let place = AttentionSite(
            layer: call.site.layer, branch: configuration.method.learningBranch(of: call.site.branch))

        let kernel = AttentionKernel(call.instructionSet, operands: call.q.dtype, precision: precision)
        func run(
            _ plan: AttentionPlan, _ type: DType, _ cost: inout AttentionStatistics.Row
        ) -> (output: AttentionOutput, pairs: Int) {
            plans.append(plan)
            let start = ContinuousClock.now
            let work = PlanWork(plan, for: call)
            let output = blockSparseAttention(call, plan, work, values: type, kernel: kernel, buffers: buffers)
            cost.attentionSeconds += start.secondsUntilNow
            cost.computedPairs += work.pairs
            return (output, work.pairs)
        }

        let (dense, layer) = (configuration.schedule.denseSteps(of: call.steps), call.site.layer)
        let sparse = max(call.step, dense)
        let planner = service.planners[configuration.densities.density(step: sparse, of: call.steps, layer: layer)]
        var learned = state.sites[place] ?? MethodState()
        let start = configuration.densities.start(step: sparse, of: call.steps, layer: layer, dense: dense)
        if start > 0, let planner, planner.measuresForOneDensity, let last = planner.lastMeasured(learned),
            last < Float(start)
        {
            learned = MethodState()
        }
        let denseLayer = configuration.schedule.isDense(layer: layer)
        if denseLayer || call.step < dense {
            cost.scheduledDenseCalls = 1
            let output = run(service.dense, call.q.dtype, &cost).output
            if !denseLayer, let planner {
                let start = ContinuousClock.now
                try planner.observe(call, output, &learned)
                state.sites[place] = learned
                cost.planningSeconds += start.secondsUntilNow
            }
            return output
        }
        guard let planner else {
            cost.fallbackCalls = 1
            return run(service.dense, call.q.dtype, &cost).output
        }

        do {
            let start = ContinuousClock.now
            let isRefresh = planner.isRefresh(call, learned)
            let plan = try planner.plan(call, &learned)
            cost.planningSeconds += start.secondsUntilNow
            var (output, kept) = run(plan, planner.finishes ? .f32 : call.q.dtype, &cost)
            if kept == pairs { cost.fullCalls = 1 } else { cost.sparseCalls = 1 }
            if isRefresh { cost.refreshCalls = 1 }
            if kept < pairs {
                cost.sparsePairs = pairs
                cost.keptPairs = kept
            }
            let finishing = ContinuousClock.now
            let nested = cost.attentionSeconds
            try planner.finish(&output, of: call, by: plan, &learned) { plan in run(plan, .f32, &cost).output }
            if output.values.dtype != call.q.dtype {
                let (whole, values) = (output.values, buffers.tensor(call.q.dtype, output.values.shape))
                let parts = call.tokenParts
                call.pool.run(parts.count) { part, _ in values.slice(parts[part]).convert(from: whole.slice(parts[part])) }
                output.values = values
            }
            cost.planningSeconds +=
                finishing.secondsUntilNow - (cost.attentionSeconds - nested)
            state.sites[place] = learned
            return output
        } catch {
            if fallback == .refuse { throw error }
            cost.fallbackCalls = 1
            cost.sparseCalls = 0
            (cost.fullCalls, cost.refreshCalls) = (0, 0)
            return run(service.dense, call.q.dtype, &cost).output
        }
    }

    /// Bytes of everything learned so far.
    public var learnedBytes: Int { state.sites.values.reduce(0) { $0 + $1.byteCount } }

    /// What was learned at every site, as `branch.layer.name`, for a checkpoint.
    public func learnedState() -> [String: Tensor] {
        var tensors: [String: Tensor] = [:]
        for (site, learned) in state.sites {
            for (name, tensor) in learned.tensors {
                tensors["\(site.branch.rawValue).\(site.layer).\(name)"] = tensor
            }
        }
        return tensors
    }

    /// Puts back what `learnedState` gave, and the statistics of that moment.
    ///
    /// - Throws: `AttentionError.state` for a name that is no site's, no state of this method, or statistics no
    ///   run has. Shapes are checked when the state is used.
    public func restore(
        _ tensors: [String: Tensor], statistics: AttentionStatistics = AttentionStatistics()
    ) throws(AttentionError) {
        guard statistics.isPlausible else {
            throw .state("statistics", found: "numbers out of range", expected: "counts and seconds of a run")
        }
        var restored = State()
        restored.statistics = statistics
        for (key, tensor) in tensors {
            let parts = key.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, let branch = AttentionSite.Branch(rawValue: String(parts[0])),
                let layer = Int(parts[1]), layer >= 0
            else { throw .state(key, found: "that name", expected: "branch.layer.name") }
            let name = String(parts[2])
            guard configuration.method.learns.contains(name) else {
                throw .state(name, found: "that name", expected: "state of \(configuration.name)")
            }
            restored.sites[AttentionSite(layer: layer, branch: branch), default: MethodState()][name] = tensor
        }
        state = restored
    }
}
