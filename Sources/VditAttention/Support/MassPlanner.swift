import VditTensor

/// Turns the exact masses of a full call into the blocks that later calls keep.
protocol MassSelector: Sendable {
    /// Name of what is kept of the masses between full calls.
    static var learned: String { get }
    /// Whether that is a choice for one density already.
    static var choosesAtOnce: Bool { get }

    /// - Parameter masses: of each head, `[video blocks · video blocks]`: mean mass of a block's queries on a block.
    /// - Returns: `[heads, video blocks, video blocks]` u8.
    func learn(_ masses: [[Float]], _ blocks: VideoBlocks, _ pool: WorkPool) -> Tensor

    /// Of each head, which pairs of video blocks are kept.
    ///
    /// - Parameter place: of the step, from 0 at the first full one to 1 at the last of the run.
    func kept(
        _ learned: Tensor, at place: Double, _ call: AttentionCall, _ blocks: VideoBlocks
    ) throws(AttentionError) -> [[Bool]]

    /// Share of all pairs that a call between full ones computes.
    func density(_ blocks: VideoBlocks) -> Double
}

extension VideoBlocks {
    /// Video blocks, where those of queries and keys are the same.
    var count: Int { queries.video.count }

    /// The plan that keeps everything, and measures.
    var full: AttentionPlan {
        let every = (0..<Int32(count)).map { $0 }
        return AttentionPlan(heads: [head { _ in every }], measuresMass: true)
    }

    /// Masses of video queries on video keys, of a full call.
    func masses(_ output: AttentionOutput, _ pool: WorkPool) -> [[Float]] {
        pool.map(output.masses.count) { head, _ in
            output.masses[head].withFloats { masses in
                queries.video.flatMap { row in
                    masses[row * keys.count + keys.video.lowerBound..<row * keys.count + keys.video.upperBound]
                }
            }
        }
    }
}

/// When a method that measures computes a call in full.
struct Refresh: Sendable {
    /// Steps from a full one to the next.
    let every: Int
    /// Steps in a row that are at first.
    let start: Int

    init(every: Int, start: Int = 1) { (self.every, self.start) = (every, start) }

    /// Whether a step is one, where none is left out.
    func isFull(step: Int, first: Int) -> Bool {
        let age = step - first
        return age < start || (age - (start - 1)) % every == 0
    }

    /// Whether a step is one, or the one that should have been was left out.
    func isDue(step: Int, first: Float, last: Float) -> Bool {
        Float(step) - last >= Float(Float(step) - first < Float(start) ? 1 : every)
    }

    static let startOption = MethodOption(
        "full-steps", .integer(1...1000), default: 1,
        "so many steps after the dense ones are full, each measured anew")

    static func option(_ standard: Int) -> MethodOption<Int> {
        MethodOption(
            "refresh-every", .integer(1...1000), default: standard,
            "a full step, measuring anew, so many steps after the last")
    }
}

/// Computes a call in full now and then, measuring where the mass lies, and in between the blocks a selector makes of
/// that.
struct MassPlanner<Selector: MassSelector>: AttentionPlanner {
    let selector: Selector
    let blocks: VideoBlocks
    let full: AttentionPlan
    let refresh: Refresh
    /// Nil where calls between full ones do not get back what they lacked at the last of these.
    let residual: MeanResidual?

    init(_ selector: Selector, _ blocks: VideoBlocks, _ refresh: Refresh, residual: MeanResidual? = nil) {
        (self.selector, self.blocks, self.refresh, self.residual) = (selector, blocks, refresh, residual)
        full = blocks.full
    }

    var finishes: Bool { residual != nil }
    var measuresForOneDensity: Bool { Selector.choosesAtOnce }
    func lastMeasured(_ state: MethodState) -> Float? { state.last(Self.steps) }

    func predictedWork(step: Int, first: Int) -> Double? {
        let density = selector.density(blocks)
        return refresh.isFull(step: step, first: first) ? 1 + (residual == nil ? 0 : density) : density
    }

    func predictedWorkOfOther(step: Int, first: Int) -> Double? { selector.density(blocks) }

    func plan(_ call: AttentionCall, _ state: inout MethodState) throws(AttentionError) -> AttentionPlan {
        if let steps = state[Self.steps] { try MethodState.check(steps, Self.steps, .f32, [2]) }
        guard let learned = state[Selector.learned], let fulls = state[Self.steps]?.floats(),
            !refresh.isDue(step: call.step, first: fulls[0], last: fulls[1])
        else { return full }
        try MethodState.check(learned, Selector.learned, .u8, [call.heads, blocks.count, blocks.count])
        if let residual, let known = state[MeanResidual.name] { try residual.check(known, blocks, call) }
        return try sparsePlan(learned, call, first: fulls[0])
    }

    private func sparsePlan(
        _ learned: Tensor, _ call: AttentionCall, first: Float
    ) throws(AttentionError) -> AttentionPlan {
        let (age, all) = (Double(call.step) - Double(first), Double(call.steps - 1) - Double(first))
        let kept = try selector.kept(learned, at: min(1, max(0, age / max(1, all))), call, blocks)
        return try blocks.plan(call) { head, _ in kept[head] }
    }

    func finish(
        _ output: inout AttentionOutput, of call: AttentionCall, by plan: AttentionPlan, _ state: inout MethodState,
        attend: (AttentionPlan) -> AttentionOutput
    ) throws(AttentionError) {
        guard !output.masses.isEmpty else {
            if let residual, let known = state[MeanResidual.name], let last = state[Self.steps]?.floats().last {
                residual.add(known, age: Float(call.step) - last, to: output.values, blocks, call)
            }
            return
        }
        let learned = selector.learn(blocks.masses(output, call.pool), blocks, call.pool)
        state[Selector.learned] = learned
        let step = Float(call.step)
        let first = state[Self.steps]?.floats().first ?? step
        state[Self.steps] = Tensor([first, step])
        guard let residual else { return }
        let sparse = attend(try sparsePlan(learned, call, first: first))
        state[MeanResidual.name] = residual.measured(full: output.values, sparse: sparse.values, blocks, call)
    }

    /// Name of the first and the last full step.
    private static var steps: String { "measured-steps" }

    static var learns: [String] { [Selector.learned, steps] }

    /// A byte for every pair of blocks of every head, and two steps.
    static func stateBytes(_ order: BlockOrder, _ layout: TokenLayout, heads: Int) -> Int {
        let count = order.sizes(layout).count
        return heads * count * count + 8
    }
}
