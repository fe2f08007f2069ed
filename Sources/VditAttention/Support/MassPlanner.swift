import VditTensor

/// Turns the exact masses of a full call into the blocks that later calls keep.
protocol MassSelector: Sendable {
    /// Name of what is kept of the masses between full calls.
    static var learned: String { get }

    /// - Parameter masses: of each head, `[video blocks · video blocks]`: mean mass of a block's queries on a block.
    /// - Returns: `[heads, video blocks, video blocks]` u8.
    func learn(_ masses: [[Float]], _ blocks: MassBlocks) -> Tensor

    /// Of each head, which pairs of video blocks are kept.
    func kept(_ learned: Tensor, _ call: AttentionCall, _ blocks: MassBlocks) throws(AttentionError) -> [[Bool]]

    /// Share of all pairs that a call between full ones computes.
    func density(_ blocks: MassBlocks) -> Double
}

/// The blocks of a method that measures, in one layout.
struct MassBlocks: Sendable {
    let layout: TokenLayout
    /// The token at each position; nil is the identity.
    let order: [Int32]?
    let all: TokenBlocks

    init(_ order: BlockOrder, _ layout: TokenLayout, method: String) throws(AttentionError) {
        self.layout = layout
        (self.order, all) = try order.blocks(of: layout, method: method)
    }

    /// Video blocks.
    var count: Int { all.video.count }

    /// Video blocks with tokens of a frame.
    func holding(frame: Int) -> [Int] {
        let start = layout.textBefore + frame * layout.tokensPerFrame
        let tokens = start..<start + layout.tokensPerFrame
        return (0..<count).filter { block in
            let positions = all.offsets[all.video.lowerBound + block]..<all.offsets[all.video.lowerBound + block + 1]
            return positions.contains { tokens.contains(Int(order?[Int($0)] ?? $0)) }
        }
    }

    /// The plan that keeps everything, and measures.
    var full: AttentionPlan {
        let every = (0..<Int32(count)).map { $0 }
        var plan = plan { _ in every }
        plan.measuresMass = true
        return plan
    }

    func plan(heads: [[Bool]]) -> AttentionPlan {
        AttentionPlan(
            heads: heads.flatMap { keeps in
                plan { row in (0..<count).filter { keeps[row * count + $0] }.map(Int32.init) }.heads
            })
    }

    private func plan(kept: (Int) -> [Int32]) -> AttentionPlan {
        AttentionPlan(heads: [.init(queries: all, keys: all, queryOrder: order, keyOrder: order, kept: kept)])
    }

    /// Masses of video queries on video keys, of a full call.
    fileprivate func masses(_ output: AttentionOutput) -> [[Float]] {
        output.masses.map { masses in
            masses.withFloats { masses in
                all.video.flatMap { row in
                    masses[row * all.count + all.video.lowerBound..<row * all.count + all.video.upperBound]
                }
            }
        }
    }
}

/// Computes a call in full now and then, measuring where the mass lies, and in between the blocks a selector makes of
/// that.
struct MassPlanner<Selector: MassSelector>: AttentionPlanner {
    let selector: Selector
    let blocks: MassBlocks
    let full: AttentionPlan
    let refreshEvery: Int

    init(_ selector: Selector, _ blocks: MassBlocks, refreshEvery: Int) {
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
