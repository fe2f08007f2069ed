import VditAttention
import VditFiles

/// Runs the first blocks of every call, and the rest where what these add has changed since the last computed call.
///
/// - Source: `chengzeyi/ParaAttention`; diffusers, `FirstBlockCacheConfig`.
/// - Differs: a call is left out where the change is below the threshold, as ParaAttention does; diffusers computes
///   it where the change is above.
public struct FirstBlockCache: StepCache {
    public static let name = "fbcache"
    public let threshold: Double
    public let alwaysRuns: OuterBlocks
    let everyChannel: Int

    public var signalShare: Double { 1 / Double(everyChannel) }

    public func rule(for calls: TransformerCalls, _ tables: CacheTables) -> any CacheRule {
        Rule(everyChannel: everyChannel)
    }

    struct Rule: CacheRule {
        let everyChannel: Int

        var signal: CacheSignal? { .firstBlocks(everyChannel: everyChannel) }

        func estimate(_ call: CacheCall, change: Double, _ numbers: inout CacheNumbers) -> Double { change }
    }

    private static let thresholdOption = CacheOptions.threshold(
        0.08, "relative change of what the first blocks add from which on a call is computed")
    private static let blocksOption = MethodOption(
        "blocks", .integer(1...1000), default: 1, "first blocks that always run")
    private static let everyChannelOption = MethodOption(
        "every-channel", .integer(1...64), default: 1, "compares every so many-th channel only")

    static let description = CacheDescription(
        name: name, summary: "runs the first block, and the rest where what it adds has changed", paper: nil,
        options: [thresholdOption, blocksOption, everyChannelOption, CacheOptions.mostSkips]
            + CacheOptions.common(first: .fraction(0.25), last: 0),
        presets: [
            CataloguePreset(
                name: "hunyuan-video", models: ["hunyuan-video"], source: "authors", settings: [thresholdOption(0.06)])
        ],
        shareOptions: [thresholdOption]
    ) { values, _ in
        FirstBlockCache(
            threshold: values[thresholdOption], alwaysRuns: OuterBlocks(first: values[blocksOption]),
            everyChannel: values[everyChannelOption])
    }
}
