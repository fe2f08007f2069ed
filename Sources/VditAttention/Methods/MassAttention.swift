import Glibc
import VditTensor

/// Keeps the pairs of small boxes of tokens that held the most softmax mass when it was last measured, and lets the
/// rest stand in as means.
///
/// Full calls measure the mass of every pair as they go. Between them each call keeps its own share of the pairs: of
/// all heads together, so that heads whose mass is spread keep more than those whose mass is concentrated. What such a
/// call would have lacked is measured too, and put back, less and less with every step. Guidance branches go by one
/// measurement: what they lack alike is not multiplied by the guidance, which takes their difference times its scale.
///
/// - Source: ours, of known parts: exact mass and its reuse across steps from AdaSpa (arXiv 2502.21079), boxes from STA
///   (2502.04507), the means from PISA (2602.01077), what is put back from Re-ttention (2505.22918).
public struct MassAttention: SparseMethod {
    public static let name = "mass"

    private let order: BlockOrder
    private let refresh: Refresh
    private let residual: MeanResidual?
    public let sharesBranches: Bool
    private let selector: Selector
    /// Whether the density was asked for, and must be reached.
    private let mustReach: Bool

    public var learns: [String] { MassPlanner<Selector>.learns + (residual == nil ? [] : [MeanResidual.name]) }

    public func stateBytes(layout: TokenLayout, heads: Int, headDim: Int) -> Int {
        MassPlanner<Selector>.stateBytes(order, layout, heads: heads)
            + (residual?.stateBytes(order, layout, heads: heads, headDim: headDim) ?? 0)
    }

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        let blocks = try VideoBlocks(order, layout, method: Self.name)
        let selector = selector.prepared(blocks)
        let least = selector.least(blocks)
        if mustReach, selector.share < least {
            throw .unreachableDensity(selector.share, method: Self.name, reachable: min(1, least)...1)
        }
        return MassPlanner(selector, blocks, refresh, residual: residual)
    }

    /// Whose measurement the calls of a guidance branch go by.
    private enum Branches: String, Sendable, CaseIterable { case shared, apart }

    /// Among what pairs compete.
    private enum Budget: String, Sendable, CaseIterable { case heads, rows }

    struct Selector: MassSelector {
        static let learned = "mass-levels"
        static let choosesAtOnce = false

        /// Of all pairs, means included.
        let share: Double
        /// How much more the first step computes, and the last one less, as a part of the share.
        let ramp: Double
        let isByRow: Bool
        /// Keys that stand for a block that is not kept.
        let means: Int
        fileprivate let forcing: ForcedBlocks
        /// Pairs of video blocks kept whatever their mass.
        private(set) var forced: [Bool] = []

        fileprivate init(share: Double, ramp: Double, isByRow: Bool, means: Int, forcing: ForcedBlocks) {
            (self.share, self.ramp, self.isByRow, self.means) = (share, ramp, isByRow, means)
            self.forcing = forcing
        }

        func prepared(_ blocks: VideoBlocks) -> Selector {
            var prepared = self
            prepared.forced = forcing.pairs(blocks)
            return prepared
        }

        /// Mass per key as 8.5 levels to the octave: as fine as half a tenth, in a byte.
        func learn(_ masses: [[Float]], _ blocks: VideoBlocks, _ pool: WorkPool) -> Tensor {
            let (count, sizes) = (blocks.count, blocks.queries.videoSizes)
            let levels = Tensor(.u8, [masses.count, count, count])
            pool.run(masses.count) { head, _ in
                let bytes = levels[head].pointer(as: UInt8.self)
                for (pair, mass) in masses[head].enumerated() {
                    let level = 255 + 8.5 * log2f(max(mass, 1e-30) / Float(sizes[pair % count]))
                    bytes[pair] = UInt8(min(255, max(0, level.rounded())))
                }
            }
            return levels
        }

        func kept(
            _ learned: Tensor, at place: Double, _ call: AttentionCall, _ blocks: VideoBlocks
        ) throws(AttentionError) -> [[Bool]] {
            let (count, sizes) = (blocks.count, blocks.queries.videoSizes)
            // What a pair costs beyond the means that stand for it, and what there is to spend.
            let gains = sizes.map { Double($0 - min(means, $0)) }
            let base = sizes.reduce(0) { $0 + min(means, $1) }
            let wanted = min(1, share * (1 + ramp * (1 - 2 * place)))
            let keys = blocks.layout.videoPairs(density: wanted) / Double(blocks.layout.videoTokens) - Double(base)

            @Sendable func budget(_ rows: Range<Int>, _ levels: UnsafeRawBufferPointer) -> LevelBudget {
                var budget = LevelBudget()
                for row in rows {
                    let queries = Double(sizes[row])
                    budget.left += queries * keys
                    for block in 0..<count {
                        let (pair, gain) = (row * count + block, queries * gains[block])
                        if forced[pair] { budget.left -= gain } else { budget.add(gain, at: levels[pair]) }
                    }
                }
                return budget
            }
            @Sendable func keep(
                _ rows: Range<Int>, _ levels: UnsafeRawBufferPointer, _ cut: LevelBudget.Cut, _ keeps: inout [Bool]
            ) {
                var cut = cut
                for row in rows {
                    for block in 0..<count {
                        let pair = row * count + block
                        keeps[pair] = forced[pair]
                            || cut.takes(Double(sizes[row]) * gains[block], at: levels[pair])
                    }
                }
            }
            let shared: LevelBudget.Cut? =
                isByRow
                ? nil
                : try call.pool.map(call.heads) { (head, _) throws(AttentionError) in
                    learned[head].withBytes { budget(0..<count, $0) }
                }.reduce(LevelBudget()) { $0.adding($1) }.cut
            return try call.pool.map(call.heads) { (head, _) throws(AttentionError) in
                learned[head].withBytes { levels in
                    var keeps = [Bool](repeating: false, count: count * count)
                    if let shared {
                        keep(0..<count, levels, shared, &keeps)
                    } else {
                        for row in 0..<count { keep(row..<row + 1, levels, budget(row..<row + 1, levels).cut, &keeps) }
                    }
                    return keeps
                }
            }
        }

        func density(_ blocks: VideoBlocks) -> Double { min(1, max(share, least(blocks))) }

        /// What the forced pairs and the means of all others come to.
        func least(_ blocks: VideoBlocks) -> Double {
            let (count, sizes) = (blocks.count, blocks.queries.videoSizes)
            var pairs = 0
            for row in 0..<count {
                for block in 0..<count {
                    pairs += sizes[row] * (forced[row * count + block] ? sizes[block] : min(means, sizes[block]))
                }
            }
            return blocks.layout.density(videoPairs: Double(pairs))
        }
    }

    private static let kept = MethodOption(
        "kept", .number(0...1), default: 0.2, "share of the pairs that a call between full ones computes")
    private static let ramp = MethodOption(
        "ramp", .number(-0.9...0.9), default: 0,
        "the first sparse steps keep this part more than the share, the last ones as much less")
    private static let refreshes = Refresh.option(20)
    private static let fade = MethodOption(
        "fade", .number(0...1), default: 0.08, "the part of that which is lost with every step")
    private static let residualRun = MethodOption(
        "residual", .integer(0...AttentionKernel.rows), default: 1,
        "tokens that share a mean of what a call lacked at the last full step, and get it back; 0 for none")
    private static let budget = MethodOption<Budget>(
        "budget", .choice, default: .heads, "pairs of all heads compete for the share, or each query block has it")
    private static let branches = MethodOption<Branches>(
        "branches", .choice, default: .shared, "guidance branches go by one measurement, or by one each")
    private static let rest = RestChoice.option.standing(at: .pooled)

    static let description = MethodDescription(
        name: name, summary: "keeps the boxes with the most mass, measured in full steps, the rest as means",
        paper: nil,
        options: [
            kept, ramp, Refresh.startOption, refreshes, residualRun, fade, branches, budget, ForcedBlocks.neighbours,
            ForcedBlocks.sink,
        ] + BlockOrder.options(.tiles) + DenseSchedule.options(steps: .fraction(0.15), layers: 0) + [rest],
        presets: [
            .init(
                name: "far", models: [], source: "ours, for 80 % of attention saved and more",
                settings: [DenseSchedule.stepsOption(.count(0)), Refresh.startOption(4)])
        ],
        shareOptions: [kept]
    ) { values, density in
        MassAttention(
            order: BlockOrder(values), refresh: Refresh(every: values[refreshes], start: values[Refresh.startOption]),
            residual: values[residualRun] > 0 ? MeanResidual(run: values[residualRun], fade: Float(values[fade])) : nil,
            sharesBranches: values[branches] == .shared,
            selector: Selector(
                share: density ?? values[kept], ramp: values[ramp], isByRow: values[budget] == .rows,
                means: values[rest].rest.keys(for: 1), forcing: ForcedBlocks(values)),
            mustReach: density != nil)
    }
}
