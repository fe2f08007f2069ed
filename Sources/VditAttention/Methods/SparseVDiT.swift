import VditTensor

/// Gives every head one of a few fixed patterns, as a table says for every step, layer and head, or the same for all.
///
/// - Source: Chen et al., Sparse-vDiT: Unleashing the Power of Sparse Attention to Accelerate Video Diffusion
///   Transformers, arXiv 2506.03065.
/// - Differs: no code is published, and no widths: bands are of whole blocks, and a stripe is the first keys.
public struct SparseVDiT: SparseMethod {
    public static let name = "sparse-vdit"

    enum Mode: String, Sendable, CaseIterable {
        /// The head gives nothing: its values are 0.
        case skip
        /// Keys near in the sequence: near frames.
        case diagonal
        /// Keys near once all frames of a position lie side by side: near positions.
        case positions
        /// The first keys, the same for all queries.
        case stripe
    }

    private let mode: Mode
    private let block: Int
    private let budget: BlockBudget

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        let offsets = AttentionPlan.offsets(tokens: layout.videoTokens, block: block)
        let order = mode == .positions ? layout.positionMajor() : nil
        let blocks = try VideoBlocks(layout, order: order, offsets: offsets)
        let head: AttentionPlan.Head
        switch mode {
        case .skip: head = .init(empty: blocks)
        case .diagonal, .positions: head = try blocks.band(budget, method: Self.name)
        case .stripe:
            head = try blocks.head(budget, forcing: [ForcedBlocks.own(false)], method: Self.name) { _, key in
                1 / Float(1 + key)
            }
        }
        return LayoutPlanner(AttentionPlan(heads: [head]))
    }

    private static let mode = MethodOption<Mode>("mode", .choice, default: .diagonal, "the pattern of a head")
    private static let kept = MethodOption(
        "kept", .number(0...1), default: 0.3, "share of the key blocks that a query block keeps")
    private static let block = MethodOption("block", .integer(1...256), default: 128, "tokens of a block")

    static let description = MethodDescription(
        name: name, summary: "a band of near frames or positions, the first keys, or nothing, by a table",
        paper: .init(
            title: "Sparse-vDiT: Unleashing the Power of Sparse Attention to Accelerate Video Diffusion Transformers",
            arXiv: "2506.03065"),
        options: [mode, kept, block] + DenseSchedule.options(steps: .count(0), layers: 0) + [RestChoice.option],
        shareOptions: [kept],
        patterns: PatternSearch(
            [[mode(.skip)], [mode(.diagonal)], [mode(.positions)], [mode(.stripe), kept(0.1)]], densityWeight: 0.5,
            lossLimit: 1)
    ) { values, density in
        SparseVDiT(
            mode: values[mode], block: values[block],
            budget: density.map { .density($0) } ?? .rules([.top(values[kept])]))
    }
}
