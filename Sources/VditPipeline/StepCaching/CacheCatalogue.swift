import VditAttention
import VditTensor

public typealias CacheDescription = CatalogueEntry<any StepCache>

/// A step cache as somebody chose it: its name, the options given and the budget wanted.
public typealias CacheChoice = CatalogueChoice<any StepCache>

/// Every step cache. A new one is a file in `Caches` and a row here.
public enum CacheCatalogue {
    public static let all = Catalogue<any StepCache>(
        CatalogueWords(
            thing: "step cache", option: "cache option", name: "cache", options: "cache_options", share: "cache_budget"),
        [
            WeightedSteps.description, MagCache.description, FirstBlockCache.description, TeaCache.description,
            TaylorSeer.description, GuidanceCache.description, DeepCache.description,
            PyramidAttentionBroadcast.description, StepSchedule.description,
        ])

    public static var caches: [CacheDescription] { all.entries }

    /// The name that stands for no cache.
    public static let none = "none"

    /// Steps a run must have at least: with fewer, each does too much for another to stand in for it.
    static let leastSteps = 8
}

extension CatalogueChoice<any StepCache> {
    /// - Parameters:
    ///   - name: of the catalogue.
    ///   - options: as they are written, by name; `preset` chooses the values the others start from.
    /// - Throws: `ChoiceError` for unknown names, values out of range and options that contradict the budget.
    public init(
        cache name: String, options: [String: String] = [:], budget: Double? = nil
    ) throws(ChoiceError) {
        try self.init(name, of: CacheCatalogue.all, options: options, share: budget)
    }

    /// Reads `name` or `name@budget`.
    public init(parsingCache text: String, options: [String: String] = [:]) throws(ChoiceError) {
        try self.init(parsing: text, of: CacheCatalogue.all, options: options)
    }

    /// Wanted share of the transformer calls to compute at most, in `0 < budget <= 1`; nil where options decide.
    public var budget: Double? { share }

    /// The name of the table it decides by, where it needs one.
    func table(ofModel model: String) -> String { CacheOptions.table(decided(forModel: model).values) ?? model }

    /// Every option decided.
    ///
    /// - Parameters:
    ///   - model: the published model whose preset applies where no other was chosen.
    ///   - tables: what is known of models.
    public func configured(forModel model: String? = nil, tables: CacheTables = .published) -> ConfiguredCache {
        let (values, cache) = decided(forModel: model)
        return ConfiguredCache(
            name: name, cache: cache, tables: tables,
            window: CacheWindow(first: values[CacheOptions.firstSteps], last: values[CacheOptions.lastSteps]),
            mostSkips: values[CacheOptions.mostSkips], order: values[CacheOptions.order],
            lean: values[CacheOptions.lean],
            options: values.texts, budget: budget)
    }
}

/// Options that caches share; each has defaults of its own.
enum CacheOptions {
    static let firstSteps = MethodOption(
        "first-steps", .steps, default: .count(0), "first steps of a transformer that are computed")
    static let lastSteps = MethodOption("last-steps", .integer(0...1000), default: 0, "last steps that are computed")
    static let mostSkips = MethodOption(
        "most-skips", .integer(0...100_000), default: 100_000, "calls left out in a row, at most")
    static let order = MethodOption(
        "order", .integer(0...2), default: 0, "0 repeats the last computed call, 1 and 2 follow its differences")
    static let lean = MethodOption(
        "lean", .number(0...1), default: 1, "part of what the differences say that a forecast follows")
    static let standIn = MethodOption<CacheStandIn>(
        "stand-in", .choice, default: .blocks,
        "what is kept of a call: what its blocks added, its output, the output's difference from the conditional one, "
            + "or what self-attention gave")
    static let interval = MethodOption(
        "interval", .number(1...1000), default: 3, "every so many-th step is computed")

    static let table = MethodOption(
        "table", .text, default: "auto", "model whose table is used; auto is the model's own")

    /// Whose table, nil for the model's own.
    static func table(_ values: OptionSettings) -> String? {
        let name = values[table]
        return name == "auto" ? nil : name
    }

    static func threshold(_ value: Double, _ summary: String) -> MethodOption<Double> {
        MethodOption("threshold", .number(0...1000), default: value, summary)
    }

    /// Those that every cache has.
    static func common(
        first: DenseSchedule.Steps, last: Int, order: Int = 0, lean: Double = 1
    ) -> [any AnyMethodOption] {
        [
            firstSteps.standing(at: first), lastSteps.standing(at: last), self.order.standing(at: order),
            self.lean.standing(at: lean),
        ]
    }
}

/// A cache with its parameters, and the calls that are computed whatever it would do.
public struct ConfiguredCache: Sendable {
    public let name: String
    public let cache: any StepCache
    let tables: CacheTables
    let window: CacheWindow
    let mostSkips: Int
    let order: Int
    /// Part of what differences say that a forecast follows.
    let lean: Double
    /// Every option's value as it is written, defaults included.
    public let options: [String: String]
    public let budget: Double?

    /// When it computes the calls of one transformer.
    ///
    /// - Throws: what the cache throws for a model it cannot serve or a budget it cannot keep.
    public func gate(for calls: TransformerCalls) throws(PipelineError) -> CacheGate {
        var window = window
        window.includesConditional = cache.standIn == .difference
        return try CacheGate(
            cache.rule(for: calls, tables), calls, window: window, threshold: cache.threshold, mostSkips: mostSkips,
            budget: budget, name: name)
    }

    /// When cross-attention is computed, where it is not at every step.
    func crossGate(for calls: TransformerCalls) throws(PipelineError) -> CacheGate? {
        guard cache.crossInterval > 1 else { return nil }
        return try CacheGate(IntervalRule(), calls, window: window, threshold: cache.crossInterval, name: name)
    }

    /// Bytes of state a run holds at most, for one transformer.
    ///
    /// - Parameters:
    ///   - streams: of the residual streams, f32.
    ///   - latents: of the latents, f32.
    ///   - operand: the type that self-attention gives.
    public func predictedStateBytes(
        streams: Int, latents: Int, layers: Int, operand: DType, branches: Int
    ) -> Int {
        let kept = order + 1
        switch cache.standIn {
        case .difference: return branches > 1 ? kept * latents : 0
        case .output: return kept * latents * branches
        case .blocks: return (kept * streams + Int(cache.signalShare * Double(streams))) * branches
        case .attention:
            return kept * layers * (order > 0 ? streams : streams / 4 * operand.byteCount) * branches
                * (cache.crossInterval > 1 ? 2 : 1)
        }
    }

    /// What still runs of a call that is left out, embedding and head not counted: of its self-attention, and of its
    /// blocks' other work.
    func remainder(layers: Int) -> (attention: Double, other: Double) {
        switch cache.standIn {
        case .difference, .output: return (0, 0)
        case .attention: return (0, 1)
        case .blocks:
            let share = Double(cache.alwaysRuns.count) / Double(layers)
            return (share, share)
        }
    }
}
