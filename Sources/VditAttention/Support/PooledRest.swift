/// What `rest=` says: what becomes of the key blocks a method does not keep.
enum RestChoice: String, Sendable, CaseIterable {
    case dropped, pooled
    case firstOrder = "first-order"
    case rectified

    static let option = MethodOption<RestChoice>(
        "rest", .choice, default: .dropped,
        "key blocks not kept are dropped, enter as their means, as means with a slope, or by their estimated mass")

    /// A rest of whole blocks.
    var rest: AttentionPlan.Rest {
        switch self {
        case .dropped: .dropped
        case .pooled: .pooled(run: nil)
        case .firstOrder: .pooled(run: nil, order: .first)
        case .rectified: .rectified
        }
    }
}

/// Plans as another planner does, with another rest.
///
/// - Source: the pooled tail of Li et al., Piecewise Sparse Attention Is Wiser for Efficient Diffusion
///   Transformers, arXiv 2602.01077, under any choice of blocks.
struct PooledRest: AttentionPlanner {
    let base: any AttentionPlanner
    let rest: AttentionPlan.Rest

    private func pooled(_ plan: AttentionPlan) -> AttentionPlan { plan.with(rest: rest) }

    /// What is rectified is corrected in fp32.
    var finishes: Bool { base.finishes || rest == .rectified }
    var layoutPlan: AttentionPlan? { base.layoutPlan.map(pooled) }
    var solved: [String: Double] { base.solved }

    /// Without the means, which are few.
    func predictedWork(step: Int, first: Int) -> Double? { base.predictedWork(step: step, first: first) }

    func predictedWorkOfOther(step: Int, first: Int) -> Double? {
        base.predictedWorkOfOther(step: step, first: first)
    }

    var measuresForOneDensity: Bool { base.measuresForOneDensity }
    func lastMeasured(_ state: MethodState) -> Float? { base.lastMeasured(state) }
    func isRefresh(_ call: AttentionCall, _ state: MethodState) -> Bool { base.isRefresh(call, state) }

    func observe(
        _ call: AttentionCall, _ output: AttentionOutput, _ state: inout MethodState
    ) throws(AttentionError) {
        try base.observe(call, output, &state)
    }

    func plan(_ call: AttentionCall, _ state: inout MethodState) throws(AttentionError) -> AttentionPlan {
        pooled(try base.plan(call, &state))
    }

    func finish(
        _ output: inout AttentionOutput, of call: AttentionCall, by plan: AttentionPlan, _ state: inout MethodState,
        attend: (AttentionPlan) -> AttentionOutput
    ) throws(AttentionError) {
        try base.finish(&output, of: call, by: plan, &state) { attend(pooled($0)) }
    }
}
