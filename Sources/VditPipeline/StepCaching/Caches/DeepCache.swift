import VditAttention
import VditFiles

/// Computes all blocks at every so many-th step and only the outer ones at those in between.
///
/// - Source: Ma et al., DeepCache: Accelerating Diffusion Models for Free (arXiv 2312.00858).
/// - Differs: a transformer has no skips to the deep branch of a U-Net; the inner blocks stand for it, and what they
///   added to the residual streams for its output.
public struct DeepCache: StepCache {
    public static let name = "deepcache"
    public let threshold: Double
    public let alwaysRuns: OuterBlocks

    public func rule(for calls: TransformerCalls, _ tables: CacheTables) -> any CacheRule { IntervalRule() }

    private static let firstOption = MethodOption(
        "first-blocks", .integer(0...1000), default: 1, "first blocks that always run")
    private static let lastOption = MethodOption(
        "last-blocks", .integer(0...1000), default: 1, "last blocks that always run")

    static let description = CacheDescription(
        name: name, summary: "runs the outer blocks at every step and the inner ones at every n-th",
        paper: CataloguePaper(
            title: "DeepCache: Accelerating Diffusion Models for Free", arXiv: "2312.00858"),
        options: [CacheOptions.interval, firstOption, lastOption]
            + CacheOptions.common(first: .fraction(0.4), last: 1),
        shareOptions: [CacheOptions.interval]
    ) { values, _ in
        DeepCache(
            threshold: values[CacheOptions.interval],
            alwaysRuns: OuterBlocks(first: values[firstOption], last: values[lastOption]))
    }
}
