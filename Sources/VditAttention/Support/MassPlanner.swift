import VditTensor

/// Turns the exact masses of a full call into the blocks that later calls keep.
protocol MassSelector: Sendable {
    /// Name of what is kept of the masses between full calls.
    static var learned: String { get }

    /// - Parameter masses: of each head, `[video blocks · video blocks]`: mean mass of a block's queries on a block.
    /// - Returns: `[heads, video blocks, video blocks]` u8.
    func learn(_ masses: [[Float]], _ blocks: VideoBlocks) -> Tensor

    /// Of each head, which pairs of video blocks are kept.
    func kept(_ learned: Tensor, _ call: AttentionCall, _ blocks: VideoBlocks) throws(AttentionError) -> [[Bool]]

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
    func masses(_ output: AttentionOutput) -> [[Float]] {
        output.masses.map { masses in
            masses.withFloats { masses in
                queries.video.flatMap { row in
                    masses[row * keys.count + keys.video.lowerBound..<row * keys.count + keys.video.upperBound]
                }
            }
        }
    }
}

/// Computes a call in full now and then, measuring where the mass lies, and in between the blocks a selector makes of
/// that.
struct MassPlanner<Selector: MassSelector>: AttentionPlanner {
    let selector: Selector
    let blocks: VideoBlocks
    let full: AttentionPlan
    let refreshEvery: Int

    init(_ selector: Selector, _ blocks: VideoBlocks, refreshEvery: Int) {
        self.selector = selector
        self.blocks = blocks
        self.refreshEvery = refreshEvery
        full = blocks.full
    }

    func predictedWork(step: Int, first: Int) -> Double? {
        (step - first) % refreshEvery == 0 ? 1 : selector.density(blocks)
    }

    func plan(_ call: AttentionCall, _ state: inout MethodState) throws(AttentionError) -> AttentionPlan {
        guard let learned = state[Selector.learned], let last = state[Self.step]?.floats().first,
            Float(call.step) - last < Float(refreshEvery)
        else { return full }
        let shape = [call.heads, blocks.count, blocks.count]
        guard learned.dtype == .u8, learned.shape == shape else {
            throw .state(
                Selector.learned, found: "\(learned.dtype.rawValue) \(learned.shape)",
                expected: "\(DType.u8.rawValue) \(shape)")
        }
        return blocks.plan(heads: try selector.kept(learned, call, blocks))
    }

    func finish(
        _ output: inout AttentionOutput, of call: AttentionCall, _ state: inout MethodState,
        attend: (AttentionPlan) -> AttentionOutput
    ) {
        if output.masses.isEmpty { return }
        state[Selector.learned] = selector.learn(blocks.masses(output), blocks)
        state[Self.step] = Tensor([Float(call.step)])
    }

    /// Name of the step of the last full call.
    private static var step: String { "measured-step" }

    static var learns: [String] { [Selector.learned, step] }

    /// A byte for every pair of blocks of every head, and the step.
    static func stateBytes(_ order: BlockOrder, _ layout: TokenLayout, heads: Int) -> Int {
        let count = order.count(layout)
        return heads * count * count + 4
    }
}

/// How often a method that measures computes a call in full.
enum Refresh {
    static func option(_ standard: Int) -> MethodOption<Int> {
        MethodOption(
            "refresh-every", .integer(1...1000), default: standard,
            "a full step, measuring anew, so many steps after the last")
    }
}
