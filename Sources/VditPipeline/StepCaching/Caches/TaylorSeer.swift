import VditAttention
import VditFiles

/// Computes every so many-th step and follows the differences of those in between.
///
/// - Source: Liu et al., From Reusing to Forecasting: Accelerating Diffusion Models with TaylorSeers
///   (arXiv 2503.06923); the schedule as diffusers' `TaylorSeerCacheConfig` has it.
public struct TaylorSeer: StepCache {
    public static let name = "taylorseer"
    public let threshold: Double
    public let standIn: CacheStandIn

    public func rule(for calls: TransformerCalls, _ tables: CacheTables) -> any CacheRule { IntervalRule() }

    static let description = CacheDescription(
        name: name, summary: "computes every n-th step and forecasts those in between from differences",
        paper: CataloguePaper(
            title: "From Reusing to Forecasting: Accelerating Diffusion Models with TaylorSeers", arXiv: "2503.06923"),
        options: [CacheOptions.interval]
            + CacheOptions.common(first: .fraction(0.4), last: 1, order: 1) + [CacheOptions.standIn],
        presets: [
            CataloguePreset(
                name: "diffusers", models: [], source: "diffusers, TaylorSeerCacheConfig",
                settings: [
                    CacheOptions.interval(5), CacheOptions.firstSteps(.count(3)), CacheOptions.lastSteps(0),
                ])
        ],
        shareOptions: [CacheOptions.interval]
    ) { values, _ in TaylorSeer(threshold: values[CacheOptions.interval], standIn: values[CacheOptions.standIn]) }
}

/// Computes only the conditional call of most steps: the other one's output differs from it by what it last did.
///
/// - Source: Lyu et al., FasterCache: Training-Free Video Diffusion Model Acceleration with High Quality
///   (arXiv 2410.19355), section 3.3.
/// - Differs: the difference of the outputs is kept whole, not as two bands of frequencies with weights of their own.
public struct GuidanceCache: StepCache {
    public static let name = "guidance"
    public let threshold: Double
    public var standIn: CacheStandIn { .difference }

    public func rule(for calls: TransformerCalls, _ tables: CacheTables) -> any CacheRule { IntervalRule() }

    static let description = CacheDescription(
        name: name, summary: "leaves out unconditional calls: their outputs differ from the conditional ones as before",
        paper: CataloguePaper(
            title: "FasterCache: Training-Free Video Diffusion Model Acceleration with High Quality",
            arXiv: "2410.19355"),
        options: [CacheOptions.interval] + CacheOptions.common(first: .fraction(0.4), last: 1),
        shareOptions: [CacheOptions.interval]
    ) { values, _ in GuidanceCache(threshold: values[CacheOptions.interval]) }
}

/// Counts calls since the last computed one; the second call behind those that had to be computed is the first to be
/// computed again. What is over at an interval that is no whole number counts for the next.
struct IntervalRule: CacheRule {
    func estimate(_ call: CacheCall, change: Double, _ numbers: inout CacheNumbers) -> Double {
        numbers.error += 1
        return numbers.error
    }

    func begin(_ numbers: inout CacheNumbers, threshold: Double, isForced: Bool) {
        numbers.error = max(0, isForced ? threshold - 2 : numbers.error - threshold)
    }
}
