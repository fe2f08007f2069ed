import VditTensor

/// Keeps the key blocks in which some sampled key comes near a sampled query's best, and lets every query see all
/// others as means of a few tokens each.
///
/// - Source: the attention of Video-BLADE: Block-Sparse Attention Meets Step Distillation for Efficient Video
///   Generation, arXiv 2508.10774; ziplab/VIDEO-BLADE. Published with weights distilled for it.
/// - Differs: keys that are kept are not counted again among the means, which never cross a block. Samples lie at a
///   fixed distance. Text, and own blocks, are kept.
public struct AdaptiveBlockSparse: SparseMethod {
    public static let name = "asa"

    private let order: BlockOrder
    private let sampleEvery: Int
    private let run: Int
    private let budget: BlockBudget
    private let forcing: ForcedBlocks

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        let blocks = try VideoBlocks(order, layout, method: Self.name)
        return try SelectingPlanner(
            SampledPeaks(blocks, every: sampleEvery), blocks, budget, forcing, method: Self.name,
            rest: .pooled(run: run))
    }

    private static let mass = MethodOption(
        "mass", .number(0...1), default: 0.95, "share of the importance that a query block keeps, between the bounds")
    private static let least = MethodOption(
        "least", .number(0...1), default: 0.05, "share of the key blocks that a query block keeps at least")
    private static let most = MethodOption(
        "most", .number(0...1), default: 0.17, "share of the key blocks that a query block keeps at most")
    private static let runLength = MethodOption(
        "run", .integer(1...128), default: 30, "tokens that enter as one mean, in blocks that are not kept")

    static let description = MethodDescription(
        name: name, summary: "keeps the blocks that sampled scores say matter, the rest as means of short runs",
        paper: .init(
            title: "Video-BLADE: Block-Sparse Attention Meets Step Distillation for Efficient Video Generation",
            arXiv: "2508.10774"),
        options: [mass, least, most, SampledPeaks.every, runLength, ForcedBlocks.own]
            + BlockOrder.options(.gilbert, block: 128) + DenseSchedule.options(steps: .fraction(0.25), layers: 0),
        presets: [
            .init(
                name: "cogvideox", models: MethodDescription.Preset.cogVideoX, source: "paper, CogVideoX-5B",
                settings: [least(0.05), most(0.1), runLength(15)])
        ],
        shareOptions: [mass, least, most]
    ) { values, density in
        AdaptiveBlockSparse(
            order: BlockOrder(values), sampleEvery: values[SampledPeaks.every], run: values[runLength],
            budget: density.map { .density($0) }
                ?? .rules([.reachMinusOne(values[mass], least: values[least], most: values[most])]),
            forcing: ForcedBlocks(values))
    }
}
