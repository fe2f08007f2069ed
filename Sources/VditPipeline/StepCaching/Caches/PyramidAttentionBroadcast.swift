import VditAttention
import VditFiles

/// Computes self-attention at every so many-th step within a range of steps; its outputs are broadcast to those in
/// between, where all else is computed; cross-attention's likewise, at a range of its own.
///
/// - Source: Zhao et al., Real-Time Video Generation with Pyramid Attention Broadcast (arXiv 2408.12588).
/// - Differs: the range is of steps, not of timesteps, and is counted from the first one behind those that are always
///   computed. Queries, keys and values of a broadcast layer are projected all the same.
public struct PyramidAttentionBroadcast: StepCache {
    public static let name = "pab"
    public let threshold: Double
    public let crossInterval: Double
    public var standIn: CacheStandIn { .attention }

    public func rule(for calls: TransformerCalls, _ tables: CacheTables) -> any CacheRule { IntervalRule() }

    private static let crossOption = MethodOption(
        "cross-interval", .number(1...1000), default: 1,
        "every so many-th step computes cross-attention; 1 computes all and keeps none")

    static let description = CacheDescription(
        name: name,
        summary: "broadcasts the outputs of self- and cross-attention, each to the steps until its next n-th",
        paper: CataloguePaper(
            title: "Real-Time Video Generation with Pyramid Attention Broadcast", arXiv: "2408.12588"),
        options: [CacheOptions.interval.standing(at: 2), crossOption]
            + CacheOptions.common(first: .fraction(0.2), last: 1),
        presets: [
            CataloguePreset(
                name: "cogvideox", models: CataloguePreset.cogVideoX,
                source: "reference code, timesteps 850 to 100 of 50 steps",
                settings: [
                    CacheOptions.interval(2), CacheOptions.firstSteps(.count(8)), CacheOptions.lastSteps(5),
                ])
        ],
        shareOptions: [CacheOptions.interval]
    ) { values, _ in
        PyramidAttentionBroadcast(threshold: values[CacheOptions.interval], crossInterval: values[crossOption])
    }
}
