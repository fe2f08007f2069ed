import VditTensor

/// Keeps the key blocks with the most attention between means of blocks along a space-filling curve, and all that touch
/// a query's block.
///
/// - Source: Zhang et al., Training-Free Efficient Video Generation via Dynamic Token Carving, arXiv 2505.16864;
///   dvlab-research/Jenga. This is its attention; resolutions that grow and skipped steps are no part of it.
/// - Differs: the curve runs through frames too, where the released code for Wan has one in each frame. The tenth of
///   the run over which the reference lowers the density is dense. One sparsity holds for all other steps.
public struct Jenga: SparseMethod {
    public static let name = "jenga"

    private let order: BlockOrder
    private let budget: BlockBudget
    private let forcing: ForcedBlocks

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        let blocks = try VideoBlocks(order, layout, method: Self.name)
        return try SelectingPlanner(MeanScorer(blocks: blocks), blocks, budget, forcing, method: Self.name)
    }

    private static let sparsity = MethodOption(
        "sparsity", .number(0...0.999), default: 0.75, "share of key blocks that a query block drops at most")
    private static let mass = MethodOption(
        "mass", .number(0...1), default: 0.3, "share of the estimated mass that a query block keeps at least")

    static let description = MethodDescription(
        name: name,
        summary: "keeps the parts of a curve through the video with the most pooled attention, and neighbours",
        paper: .init(
            title: "Training-Free Efficient Video Generation via Dynamic Token Carving", arXiv: "2505.16864"),
        options: [
            sparsity, mass, ForcedBlocks.own, ForcedBlocks.neighbours.standing(at: true),
            ForcedBlocks.firstFrame.standing(at: true),
        ] + BlockOrder.options(.gilbert, block: 128)
            + DenseSchedule.options(steps: .fraction(0.1), layers: 0) + [RestChoice.option],
        presets: [
            .init(
                name: "rectified", models: [],
                source: "Rectified SpaAttn, arXiv 2511.19835: reference code, Wan2.1, 50 steps",
                settings: [
                    RestChoice.option(.rectified), DenseSchedule.stepsOption(.fraction(0.1)),
                    DenseSchedule.layersOption(2),
                ]),
            .init(
                name: "hunyuan-video", models: ["hunyuan-video"],
                source: "reference code, base, as in the first half of 50 steps",
                settings: [
                    sparsity(0.75), mass(0.3), ForcedBlocks.firstFrame(false), DenseSchedule.stepsOption(.count(0)),
                ])
        ],
        shareOptions: [sparsity, mass]
    ) { values, density in
        Jenga(
            order: BlockOrder(values),
            budget: density.map { .density($0) }
                ?? .rules([.upToPlusOne(values[mass]), .top(1 - values[sparsity])]),
            forcing: ForcedBlocks(values))
    }
}
