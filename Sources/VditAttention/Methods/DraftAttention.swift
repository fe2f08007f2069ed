import VditTensor

/// Averages queries and keys over rectangles of a frame, and keeps the pairs of rectangles that the attention
/// between those averages says matter, over the whole map of a head.
///
/// - Source: Shen, Han, Zhou et al., DraftAttention: Fast Video Diffusion via Low-Resolution Attention
///   Guidance, arXiv 2505.14708; shawnricecake/draft-attention.
/// - Differs: `selection=budget` (the default) keeps exactly the wanted share, equal scores by index, and on
///   top of it every query block's best key block and its own, so that no query is left without keys;
///   `threshold` selects as the reference does. `cut=even` (the default) divides a frame that is no multiple
///   of the pool into rectangles of nearly equal size; the reference serves no such frame.
public struct DraftAttention: SparseMethod {
    public static let name = "draft"

    enum Budget: Sendable, Equatable {
        /// This share of the map is dropped; rows left without keys stay so.
        case threshold(sparsity: Double)
        /// This share of the map's pairs is dropped, and then every row's best block and its own are added.
        case sparsity(Double)
        /// Everything kept, text included, makes this share of all pairs.
        case density(Double)
    }

    private let poolHeight: Int
    private let poolWidth: Int
    private let cut: Cut
    private let budget: Budget

    init(poolHeight: Int, poolWidth: Int, cut: Cut, budget: Budget) {
        self.poolHeight = poolHeight
        self.poolWidth = poolWidth
        self.cut = cut
        self.budget = budget
    }

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        let (order, offsets) = layout.regions(
            rows: cut.bounds(layout.height, size: poolHeight),
            columns: cut.bounds(layout.width, size: poolWidth))
        let blocks = try VideoBlocks(layout, order: order, offsets: offsets)
        if case .density(let density) = budget {
            let sizes = blocks.keys.videoSizes.map(Double.init)
            let least = sizes.reduce(0) { $0 + $1 * $1 }
            if layout.videoPairs(density: density) < least {
                throw .unreachableDensity(
                    density, method: Self.name, reachable: layout.density(videoPairs: least)...1)
            }
        }
        return Planner(
            blocks: blocks, budget: budget, work: work(layout, blocks.keys.videoSizes.map(Double.init)))
    }

    /// Share of all pairs that is expected to be kept: with the text, and with the own block of the rows that would
    /// have dropped it.
    private func work(_ layout: TokenLayout, _ sizes: [Double]) -> Double {
        let video = Double(layout.videoTokens) * Double(layout.videoTokens)
        switch budget {
        case .density(let density): return density
        case .threshold(let sparsity): return layout.density(videoPairs: (1 - sparsity) * video)
        case .sparsity(let sparsity):
            let own = sizes.reduce(0) { $0 + $1 * $1 }
            return layout.density(videoPairs: (1 - sparsity) * video + sparsity * own)
        }
    }

    private struct Planner: AttentionPlanner {
        let blocks: VideoBlocks
        let budget: Budget
        let work: Double

        func predictedWork(step: Int, first: Int) -> Double? { work }

        func plan(_ call: AttentionCall, _ state: inout MethodState) throws(AttentionError) -> AttentionPlan {
            let kernels = PlanningKernels(call.instructionSet)
            return try blocks.plan(call) { (head, scratch) throws(AttentionError) in
                // Attention between the means of the regions.
                let map = try blocks.meanScores(call, head: head, kernels, scratch)
                kernels.softmax(map, scale: call.scale)
                return selected(map.floats(), blocks, budget)
            }
        }
    }

    /// Which pairs of regions are kept.
    static func selected(_ map: [Float], _ blocks: VideoBlocks, _ budget: Budget) -> [Bool] {
        let (count, video) = (blocks.count, Double(blocks.layout.videoTokens))
        switch budget {
        case .threshold(let sparsity):
            let dropped = Int((1 - (1 - sparsity)) * Double(map.count))
            if dropped == 0 { return [Bool](repeating: true, count: map.count) }
            let threshold = map.sorted()[min(dropped, map.count) - 1]
            return map.map { $0 >= threshold }
        case .sparsity(let sparsity):
            var keeps = blocks.adding(
                ranked(map).map(Int.init), upTo: (1 - sparsity) * video * video,
                to: [Bool](repeating: false, count: map.count))
            for row in 0..<count {
                keeps[best(map, row, count)] = true
                keeps[row * count + row] = true
            }
            return keeps
        case .density(let density):
            var keeps = [Bool](repeating: false, count: map.count)
            for row in 0..<count { keeps[row * count + row] = true }
            let firsts = (0..<count).map { best(map, $0, count) }
            return blocks.adding(
                firsts + ranked(map).map(Int.init), upTo: blocks.layout.videoPairs(density: density), to: keeps)
        }
    }

    /// The pair of a row's best region.
    private static func best(_ map: [Float], _ row: Int, _ count: Int) -> Int {
        (row * count..<(row + 1) * count).reduce(row * count) { map[$1] > map[$0] ? $1 : $0 }
    }

    private enum Selection: String, Sendable, CaseIterable { case budget, threshold }

    private static let sparsity = MethodOption(
        "sparsity", .number(0...0.999), default: 0.75, "share of region pairs that is dropped")
    private static let height = MethodOption(
        "pool-height", .integer(1...256), default: 8, "token rows of a region")
    private static let width = MethodOption(
        "pool-width", .integer(1...256), default: 16, "token columns of a region")
    private static let cutOption = MethodOption<Cut>(
        "cut", .choice, default: .even, "how a frame that is no multiple of the region is cut")
    private static let selection = MethodOption<Selection>(
        "selection", .choice, default: .budget,
        "exact share plus each row's best and own block, or the reference's threshold")

    static let description = MethodDescription(
        name: name,
        summary: "keeps the region pairs that low-resolution attention between pooled regions selects",
        paper: .init(
            title: "DraftAttention: Fast Video Diffusion via Low-Resolution Attention Guidance",
            arXiv: "2505.14708"),
        options: [sparsity, height, width, cutOption, selection]
            + DenseSchedule.options(steps: .fraction(0.25), layers: 1) + [RestChoice.option],
        presets: [
            .init(
                name: "wan-1.3b", models: MethodDescription.Preset.smallWan,
                source: "ours: finer regions than the paper's for small videos",
                settings: [sparsity(0.7), width(8)]),
            .init(
                name: "wan-14b", models: MethodDescription.Preset.allWan14B,
                source: "reference code, 81 frames at 768x1280, 50 steps",
                settings: [sparsity(0.75), DenseSchedule.stepsOption(.fraction(0.3))]),
            .init(
                name: "ltx", models: MethodDescription.Preset.ltx,
                source: "ours: regions that divide 512x704, of 88 tokens",
                settings: [sparsity(0.7), width(11)]),
            .init(
                name: "hunyuan-video", models: ["hunyuan-video"],
                source: "reference code, 129 frames at 768x1280, 50 steps",
                settings: [
                    sparsity(0.9), DenseSchedule.stepsOption(.fraction(0.3)), DenseSchedule.layersOption(2),
                ]),
            .init(
                name: "cogvideox", models: MethodDescription.Preset.cogVideoX, source: "ours",
                settings: [sparsity(0.7), height(10), width(15)]),
            .init(
                name: "reference", models: [],
                source: "the golden masks: text-free rows may keep nothing",
                settings: [
                    cutOption(.ragged), selection(.threshold), DenseSchedule.stepsOption(.count(0)),
                    DenseSchedule.layersOption(0),
                ]),
        ],
        shareOptions: [sparsity, selection]
    ) { values, density in
        let share = values[sparsity]
        return DraftAttention(
            poolHeight: values[height], poolWidth: values[width], cut: values[cutOption],
            budget: density.map { .density($0) }
                ?? (values[selection] == .threshold ? .threshold(sparsity: share) : .sparsity(share)))
    }
}
