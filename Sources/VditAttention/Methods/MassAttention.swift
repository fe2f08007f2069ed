import Glibc
import VditTensor

/// Keeps the pairs of small boxes of tokens that held the most softmax mass when it was last measured, and lets the
/// rest stand in as means.
///
/// Full calls measure the mass of every pair as they go. Between them each call keeps its own share of the pairs: a part
/// of it in every query block alike, and the rest where the mass is, of all heads together, so that heads whose mass is
/// spread keep more than those whose mass is concentrated. What such a call would have lacked is measured too, and put
/// back, less and less with every step. Guidance branches go by one measurement: what they lack alike is not multiplied
/// by the guidance, which takes their difference times its scale.
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

    struct Selector: MassSelector {
        static let learned = "mass-levels"
        static let choosesAtOnce = false

        /// Of all pairs, means included.
        let share: Double
        /// How much more the first step computes, and the last one less, as a part of the share.
        let ramp: Double
        /// The part of the share that every query block has to itself; the pairs of all heads compete for the rest.
        let even: Double
        /// Keys that stand for a block that is not kept.
        let means: Int
        fileprivate let forcing: ForcedBlocks
        /// Pairs of video blocks kept whatever their mass.
        private(set) var forced: [Bool] = []

        fileprivate init(share: Double, ramp: Double, even: Double, means: Int, forcing: ForcedBlocks) {
            (self.share, self.ramp, self.even, self.means) = (share, ramp, even, means)
            self.forcing = forcing
        }

        func prepared(_ blocks: VideoBlocks) -> Selector {
            var prepared = self
            // Those that cost no more than what stands for them, too.
            let free = blocks.queries.videoSizes.map { $0 <= means }
            prepared.forced = forcing.pairs(blocks).enumerated().map { $1 || free[$0 % free.count] }
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
            // What a pair costs a query beyond the means that stand for it, and what a query has to spend.
            let gains = sizes.map { Int32($0 - min(means, $0)) }
            let base = sizes.reduce(0) { $0 + min(means, $1) }
            let wanted = min(1, share * (1 + ramp * (1 - 2 * place)))
            let keys = blocks.layout.videoPairs(density: wanted) / Double(blocks.layout.videoTokens) - Double(base)

            /// Goes through the rows of a head.
            @Sendable func forEachRow(
                _ head: Int, _ keeps: inout [Bool],
                _ body: (LevelEntries, UnsafeMutableBufferPointer<Bool>) -> Void
            ) {
                learned[head].withBytes { levels in
                    keeps.withUnsafeMutableBufferPointer { keeps in
                        for row in 0..<count {
                            let pairs = row * count..<(row + 1) * count
                            body(
                                LevelEntries(
                                    levels: .init(rebasing: levels.bindMemory(to: UInt8.self)[pairs]), costs: gains,
                                    factor: Double(sizes[row])), .init(rebasing: keeps[pairs]))
                        }
                    }
                }
            }
            let ofRows = try call.pool.map(call.heads) { (head, _) throws(AttentionError) in
                var (keeps, rest) = (forced, LevelBudget())
                forEachRow(head, &keeps) { row, keeps in
                    var own = LevelBudget(row.factor * keys, row, keeps)
                    var cut = own.cut(even)
                    if even > 0 { own.keep(&cut, row, keeps) }
                    rest.add(own)
                }
                return (keeps, rest)
            }
            if even == 1 { return ofRows.map(\.0) }
            let shared = ofRows.reduce(into: LevelBudget()) { $0.add($1.1) }.cut()
            return try call.pool.map(call.heads) { (head, _) throws(AttentionError) in
                var (keeps, cut) = (ofRows[head].0, shared)
                forEachRow(head, &keeps) { row, keeps in row.keep(&cut, keeps) }
                return keeps
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
    private static let even = MethodOption(
        "even", .number(0...1), default: 0.75,
        "the part of the share that every query block has to itself; pairs of all heads compete for the rest")
    private static let branches = MethodOption<Branches>(
        "branches", .choice, default: .shared, "guidance branches go by one measurement, or by one each")
    private static let rest = RestChoice.option.standing(at: .pooled)

    static let description = MethodDescription(
        name: name, summary: "keeps the boxes with the most mass, measured in full steps, the rest as means",
        paper: nil,
        options: [
            kept, ramp, Refresh.startOption, refreshes, residualRun, fade, branches, even, ForcedBlocks.neighbours,
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
                share: density ?? values[kept], ramp: values[ramp], even: values[even],
                means: values[rest].rest.keys(for: 1), forcing: ForcedBlocks(values)),
            mustReach: density != nil)
    }
}
