import VditAttention
import VditFiles

/// Computes self-attention at every so many-th step within a range of steps; its outputs are broadcast to those in
/// between, where all else is computed.
///
/// - Source: Zhao et al., Real-Time Video Generation with Pyramid Attention Broadcast (arXiv 2408.12588).
/// - Differs: the range is of steps, not of timesteps. Queries, keys and values of a broadcast layer are projected all
///   the same, and cross-attention is computed: a twentieth of the work, for as much memory as self-attention's.
public struct PyramidAttentionBroadcast: StepCache {
    public static let name = "pab"
    public let threshold: Double
    public var standIn: CacheStandIn { .attention }

    public func rule(for calls: TransformerCalls, _ tables: CacheTables) -> any CacheRule { IntervalRule() }

    static let description = CacheDescription(
        name: name, summary: "broadcasts the outputs of self-attention to the steps until the next n-th",
        paper: CataloguePaper(
            title: "Real-Time Video Generation with Pyramid Attention Broadcast", arXiv: "2408.12588"),
        options: [CacheOptions.interval.standing(at: 2)] + CacheOptions.common(first: .fraction(0.2), last: 1),
        shareOptions: [CacheOptions.interval]
    ) { values, _ in PyramidAttentionBroadcast(threshold: values[CacheOptions.interval]) }
}
