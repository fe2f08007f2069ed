import VditAttention
import VditFiles
import VditModels

/// Reuses a call's residual as long as the change of the timestep's embedding, through a polynomial fitted for the
/// model, says that the output has not changed much.
///
/// - Source: Liu et al., Timestep Embedding Tells: It's Time to Cache for Video Diffusion Model (arXiv 2411.19108);
///   `ali-vilab/TeaCache`.
public struct TeaCache: StepCache {
    public static let name = "teacache"
    public let threshold: Double
    /// Of the tables; nil takes the model's own.
    let table: String?

    public func rule(for calls: TransformerCalls, _ tables: CacheTables) throws(PipelineError) -> any CacheRule {
        let name = table ?? calls.model
        guard let found = tables[name], let coefficients = found.coefficients else {
            throw .setting(
                "cache", found: Self.name,
                expected: "a model with coefficients (\(tables.names { $0.coefficients != nil })); for \(name) "
                    + "'vdit calibrate' fits them for --cache-calibration")
        }
        return Rule(coefficients: coefficients, kind: found.isModulation == true ? .modulation : .time)
    }

    public struct Rule: CacheRule {
        /// Highest power first.
        let coefficients: [Double]
        let kind: CallSignal

        public init(coefficients: [Double], kind: CallSignal = .time) {
            (self.coefficients, self.kind) = (coefficients, kind)
        }

        public var signal: CacheSignal? { .call(kind) }

        /// The polynomial is not clamped: it may be negative.
        public func estimate(_ call: CacheCall, change: Double, _ numbers: inout CacheNumbers) -> Double {
            numbers.error += coefficients.reduce(0) { $0 * change + $1 }
            return numbers.error
        }
    }

    private static let thresholdOption = CacheOptions.threshold(
        0.08, "sum of the output's predicted changes from which on a call is computed")
    static let description = CacheDescription(
        name: name, summary: "reuses a residual while the timestep's embedding says that little changes",
        paper: CataloguePaper(
            title: "Timestep Embedding Tells: It's Time to Cache for Video Diffusion Model", arXiv: "2411.19108"),
        options: [thresholdOption, CacheOptions.mostSkips]
            + CacheOptions.common(first: .count(1), last: 1) + [CacheOptions.table],
        presets: [
            CataloguePreset(
                name: "wan2.1-14b", models: [CataloguePreset.wan14B], source: "authors",
                settings: [thresholdOption(0.14)]),
            CataloguePreset(
                name: "wan2.1-14b-i2v", models: [CataloguePreset.wan14BFromPictures[0]], source: "authors, 480p",
                settings: [thresholdOption(0.13)]),
            CataloguePreset(
                name: "cogvideox", models: CataloguePreset.cogVideoX, source: "authors, the most careful of three",
                settings: [thresholdOption(0.1)]),
            CataloguePreset(
                name: "wan2.1-1.3b-ret", models: [], source: "authors, ret steps",
                settings: [
                    thresholdOption(0.05), CacheOptions.table("wan2.1-t2v-1.3b-ret"),
                    CacheOptions.firstSteps(.count(5)), CacheOptions.lastSteps(0),
                ]),
            CataloguePreset(
                name: "wan2.1-14b-ret", models: [], source: "authors, ret steps",
                settings: [
                    thresholdOption(0.1), CacheOptions.table("wan2.1-t2v-14b-ret"), CacheOptions.firstSteps(.count(5)),
                    CacheOptions.lastSteps(0),
                ]),
        ],
        shareOptions: [thresholdOption]
    ) { values, _ in
        TeaCache(threshold: values[thresholdOption], table: CacheOptions.table(values))
    }
}
