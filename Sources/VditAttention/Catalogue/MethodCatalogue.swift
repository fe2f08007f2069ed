import VditFiles

public typealias MethodDescription = CatalogueEntry<any SparseMethod>

/// A sparse method as somebody chose it: its name, the options given and the density wanted.
public typealias MethodChoice = CatalogueChoice<any SparseMethod>

/// Every sparse method. A new one is a file in `Methods` and a row here.
public enum MethodCatalogue {
    public static let all = Catalogue<any SparseMethod>(
        CatalogueWords(
            thing: "sparse method", option: "sparse option", name: "sparse", options: "sparse_options",
            share: "density"),
        [
            Dense.description, Radial.description, SVG2.description, DraftAttention.description,
            Rettention.description, VideoSparseAttention.description, AdaSpa.description,
            MassAttention.description, XAttention.description, SpargeAttention.description, Jenga.description,
            SparseLinearAttention.description, AdaptiveBlockSparse.description, NeighborhoodAttention.description,
            PyramidAttention.description, SparseVideoGen.description, MixtureOfBlocks.description,
            GroupedAttention.description, SlidingTileAttention.description, SparseVDiT.description,
        ])

    public static var methods: [MethodDescription] { all.entries }

    /// The model whose presets hold for a token grid of which no model is known.
    public static let modelOfBareGrids = "wan"

    /// What a wanted density is called among the options of a table's pattern.
    static let densityKey = "density"

    public static func description(of name: String) throws(ChoiceError) -> MethodDescription { try all.entry(name) }

    /// Splits `name=value`.
    ///
    /// - Throws: `ChoiceError` without a name and a value, or for a name given twice.
    public static func parse(_ options: [String]) throws(ChoiceError) -> [String: String] { try all.parse(options) }
}

extension CatalogueEntry<any SparseMethod> {
    /// Options that the density decides; it cannot be given together with them.
    public var densityOptions: [any AnyMethodOption] { shareOptions }

    /// What it needs of checkpoints that were trained with it; nil where it runs on any.
    public var trained: TrainedAttention? { make(OptionSettings(options.map(\.defaultSetting)), nil).trained }
}

extension CatalogueChoice<any SparseMethod> {
    public static var dense: Self { Self(Dense.description) }

    /// The values of `density` in words.
    public static var densityRange: String { shareRange }

    /// - Parameters:
    ///   - name: of the catalogue.
    ///   - options: as they are written, by name; `preset` chooses the values the others start from.
    /// - Throws: `ChoiceError` for unknown names, values out of range and options that contradict the density.
    ///   Whether the density can be reached shows when the layout is known.
    public init(
        _ name: String, options: [String: String] = [:], density: Double? = nil
    ) throws(ChoiceError) {
        try self.init(name, of: MethodCatalogue.all, options: options, share: density)
    }

    /// Reads `name` or `name@density`, as lists of methods have them.
    ///
    /// - Parameters:
    ///   - options: as they are written, by name.
    ///   - density: where the text has none.
    public init(
        parsing text: String, options: [String: String] = [:], density: Double? = nil
    ) throws(ChoiceError) {
        try self.init(parsing: text, of: MethodCatalogue.all, options: options, share: density)
    }

    /// Every option decided, with a table that decides for every head.
    ///
    /// - Parameter table: of the run's own steps; nil leaves all heads to the options.
    /// - Throws: `ChoiceError` for patterns that are none of the method's; `AttentionError.invalid` (64) for a density,
    ///   or an option that the patterns say.
    public func configured(forModel model: String? = nil, table: HeadTable?) throws -> ConfiguredMethod {
        var configured = configured(forModel: model)
        guard let table else { return configured }
        if let found = density.map({ "\($0)" }) ?? (configured.densities.densities.isEmpty ? nil : "a schedule") {
            throw AttentionError.invalid("density", found: found, expected: "none beside a table", kind: .usage)
        }
        if let both = options.keys.sorted().first(where: { name in table.patterns.contains { $0[name] != nil } }) {
            throw AttentionError.invalid(
                "sparse option '\(both)'", found: "a value", expected: "none beside a table, which says it",
                kind: .usage)
        }
        let patterns = try table.patterns.map { try with(pattern: $0).configured(forModel: model) }
        configured.table = (table, patterns)
        for option in table.patterns.flatMap(\.keys) { configured.options[option] = nil }
        return configured
    }

    /// The same with what a pattern of a table says: options over its own, or a density.
    ///
    /// - Throws: `ChoiceError` for what is none of the method's.
    public func with(pattern: [String: String]) throws(ChoiceError) -> Self {
        var options = options.merging(pattern) { $1 }
        guard let density = options.removeValue(forKey: MethodCatalogue.densityKey) else {
            return try Self(name, options: options, density: density)
        }
        return try Self(parsing: "\(name)@\(density)", options: options)
    }

    /// The same at another density.
    public func at(density: Double) throws(ChoiceError) -> Self {
        try Self(name, options: options, density: density)
    }

    /// Wanted share of query-key token pairs of a sparse call, in `0 < density <= 1`; nil where options decide.
    public var density: Double? { share }
    public var isDense: Bool { name == Dense.name }

    /// The same without dense steps and layers but those that were asked for, so that the method itself runs.
    public func withoutWarmUp() -> Self {
        standing(at: [DenseSchedule.stepsOption(.count(0)), DenseSchedule.layersOption(0)])
    }

    /// Every option decided.
    ///
    /// - Parameter model: the published model whose preset applies where no other was chosen, by the name its
    ///   defaults have; nil leaves the options' own defaults.
    public func configured(forModel model: String? = nil) -> ConfiguredMethod {
        let (values, method) = decided(forModel: model)
        let densities = DensitySchedule(values)
        return ConfiguredMethod(
            name: name, method: method,
            schedule: DenseSchedule(
                steps: values[DenseSchedule.stepsOption], layers: values[DenseSchedule.layersOption]),
            densities: densities, options: values.texts, density: density, rest: values[RestChoice.option],
            scheduled: Dictionary(uniqueKeysWithValues: densities.densities.map { ($0, entry.make(values, $0)) }))
    }
}

/// As `{"method", "density", "options"}`, in reports and run databases.
extension CatalogueChoice: Codable where Product == any SparseMethod {
    private enum CodingKeys: String, CodingKey { case method, density, options }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        try self.init(
            values.decode(String.self, forKey: .method),
            options: values.decode([String: String].self, forKey: .options),
            density: values.decodeIfPresent(Double.self, forKey: .density))
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(name, forKey: .method)
        try values.encodeIfPresent(density, forKey: .density)
        try values.encode(options, forKey: .options)
    }
}

/// A method with its parameters, and the calls that stay dense whatever it would do.
public struct ConfiguredMethod: Sendable {
    public let name: String
    public let method: any SparseMethod
    public let schedule: DenseSchedule
    public let densities: DensitySchedule
    /// Every option's value as it is written, defaults included; without those that a table says.
    public fileprivate(set) var options: [String: String]
    public let density: Double?
    let rest: RestChoice
    /// The method at each of `densities`.
    let scheduled: [Double: any SparseMethod]
    /// Where a table decides for every head, that and the method as each of its patterns has it.
    fileprivate var table: (table: HeadTable, patterns: [ConfiguredMethod])?

    /// How far a plan may be from the density that was asked for.
    package static let densityTolerance = 0.01

    /// - Throws: what the method throws for a layout it cannot serve; `AttentionError.unreachableDensity` where the
    ///   nearest density it can plan is not near.
    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        resting(try planner(of: method, density, layout))
    }

    /// The same at every density of the run; that of most calls, which may be asked for or follow, is nil.
    func planners(for layout: TokenLayout) throws(AttentionError) -> [Double?: any AttentionPlanner] {
        var planners: [Double?: any AttentionPlanner] = [nil: try planner(for: layout)]
        for (density, method) in scheduled {
            planners[density] = resting(try planner(of: method, density, layout))
        }
        return planners
    }

    private func planner(
        of method: any SparseMethod, _ density: Double?, _ layout: TokenLayout
    ) throws(AttentionError) -> any AttentionPlanner {
        let planner: any AttentionPlanner
        if let (table, patterns) = table {
            planner = try TablePlanner(table, patterns, layout, first: schedule.layers)
        } else {
            planner = try method.planner(for: layout)
        }
        if let density, let found = planner.layoutPlan?.density(tokens: layout.tokens),
            abs(found - density) > Self.densityTolerance
        {
            throw .unreachableDensity(density, method: name, reachable: found...found)
        }
        return planner
    }

    private func resting(_ planner: any AttentionPlanner) -> any AttentionPlanner {
        rest == .dropped ? planner : PooledRest(base: planner, rest: rest.rest)
    }

    /// What plans any head of a call without the others.
    ///
    /// - Throws: what `planner` throws; `AttentionError.unsupported` where more than queries and keys of the head
    ///   decide, or what comes after the plan.
    package func headPlanner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        if method.learns.isEmpty, method.trained == nil {
            let planner = try planner(of: method, density, layout)
            if !planner.finishes { return resting(planner) }
        }
        throw .unsupported(
            method: name, found: "a table of heads",
            expected: "none: it goes by more than the queries and keys of a head")
    }

    /// What makes one pattern another: its density, or what its options are but for the schedule and the rest, which a
    /// run chooses whatever the pattern.
    package var pattern: [String: String] {
        if let density { return [MethodCatalogue.densityKey: "\(density)"] }
        let others = [DenseSchedule.stepsOption.name, DenseSchedule.layersOption.name, RestChoice.option.name]
            + DensitySchedule.options.map(\.name)
        return options.filter { !others.contains($0.key) }
    }

    /// Bytes of state a run holds at most: what the method keeps at each (layer, branch) that it serves.
    public func predictedStateBytes(
        layout: TokenLayout, heads: Int, headDim: Int, layers: Int, branches: Int
    ) -> Int {
        let learning = Set(AttentionSite.Branch.allCases.prefix(branches).map(method.learningBranch(of:)))
        return method.stateBytes(layout: layout, heads: heads, headDim: headDim)
            * max(0, layers - schedule.layers) * learning.count
    }
}
