import VditAttention
import VditFiles

/// Reuses a call's residual as long as its size is known to stay: the ratio of the sizes of consecutive residuals
/// depends on the model and the step, hardly on the prompt, and how far its running product is from 1 adds up to the
/// error.
///
/// - Source: Ma et al., MagCache: Fast Video Generation with Magnitude-Aware Cache (arXiv 2506.09045);
///   `Zehong-Ma/MagCache`.
public struct MagCache: StepCache {
    public static let name = "magcache"
    public let threshold: Double
    /// Of the tables; nil takes the model's own.
    let table: String?
    public let standIn: CacheStandIn

    public func rule(for calls: TransformerCalls, _ tables: CacheTables) throws(PipelineError) -> any CacheRule {
        let name = table ?? calls.model
        guard let ratios = tables[name]?.ratios(steps: calls.steps) else {
            throw .setting(
                "cache", found: Self.name,
                expected: "a model with a table of ratios (\(tables.names { $0.ratios != nil })); for \(name) "
                    + "'vdit calibrate' makes one for --cache-calibration")
        }
        return Rule(ratios: ratios)
    }

    struct Rule: CacheRule {
        /// By branch, of every step against the one before it; one list serves both branches.
        let ratios: [[Double]]

        func estimate(_ call: CacheCall, change: Double, _ numbers: inout CacheNumbers) -> Double {
            let own = ratios[call.branch == .conditional ? 0 : ratios.count - 1]
            numbers.ratio *= own[call.step]
            numbers.error += abs(1 - numbers.ratio)
            return numbers.error
        }
    }

    private static let thresholdOption = CacheOptions.threshold(
        0.12, "sum of the ratio's distances from 1 from which on a call is computed")
    static let description = CacheDescription(
        name: name, summary: "reuses a residual while its size is known to stay, by a table of the model",
        paper: CataloguePaper(
            title: "MagCache: Fast Video Generation with Magnitude-Aware Cache", arXiv: "2506.09045"),
        options: [thresholdOption, CacheOptions.mostSkips.standing(at: 4)]
            + CacheOptions.common(first: .fraction(0.2), last: 0) + [CacheOptions.standIn, CacheOptions.table],
        presets: [
            CataloguePreset(
                name: "wan2.1-14b", models: [CataloguePreset.wan14B, CataloguePreset.wan14BFromPictures[0]],
                source: "authors, E024 K6 R0.2",
                settings: [thresholdOption(0.24), CacheOptions.mostSkips(6)]),
            CataloguePreset(
                name: "hunyuan-video", models: ["hunyuan-video"], source: "authors, E024 K6 R0.2",
                settings: [thresholdOption(0.24), CacheOptions.mostSkips(6)]),
            CataloguePreset(
                name: "wan2.2-5b", models: ["wan2.2-ti2v-5b"], source: "authors",
                settings: [thresholdOption(0.06), CacheOptions.mostSkips(2)]),
            CataloguePreset(
                name: "wan2.2-a14b", models: [CataloguePreset.wanA14B], source: "authors",
                settings: [
                    thresholdOption(0.06), CacheOptions.mostSkips(2), CacheOptions.firstSteps(.fraction(0.4)),
                ]),
        ],
        shareOptions: [thresholdOption]
    ) { values, _ in
        MagCache(
            threshold: values[thresholdOption], table: CacheOptions.table(values),
            standIn: values[CacheOptions.standIn])
    }
}
