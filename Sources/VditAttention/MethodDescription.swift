import VditFiles

/// A sparse method as a person chooses it: what it does, where it comes from, what can be set.
public struct MethodDescription: Sendable {
    public struct Paper: Sendable, Equatable {
        public let title: String
        /// arXiv number.
        public let arXiv: String
    }

    /// Option values published, or proposed by us, for some models.
    public struct Preset: Sendable, Equatable {
        public let name: String
        /// Published models it is the default of, by the names their defaults have.
        public let models: [String]
        /// Where the values come from.
        public let source: String
        let settings: [OptionSetting]

        /// As they are written, by option name.
        public var values: [String: String] { OptionSettings(settings).texts }

        /// The small Wan models, and those nobody published.
        static let smallWan = ["wan", "wan-mini", "wan2.1-t2v-1.3b", "wan2.2-ti2v-5b"]
        static let wan14B = "wan2.1-t2v-14b"
        /// Two transformers of the size of the 14B.
        static let wanA14B = "wan2.2-t2v-a14b"
    }

    public let name: String
    public let summary: String
    public let paper: Paper?
    public let options: [any AnyMethodOption]
    public let presets: [Preset]
    /// Options that the density decides; it cannot be given together with them.
    public let densityOptions: [any AnyMethodOption]
    /// Whether it runs only on checkpoints that were trained with it.
    public var takesGates: Bool { make(OptionSettings(options.map(\.defaultSetting)), nil).takesGates }
    let make: @Sendable (OptionSettings, Double?) -> any SparseMethod

    init(
        name: String, summary: String, paper: Paper?, options: [any AnyMethodOption], presets: [Preset] = [],
        densityOptions: [any AnyMethodOption] = [],
        make: @escaping @Sendable (_ values: OptionSettings, _ density: Double?) -> any SparseMethod
    ) {
        self.name = name
        self.summary = summary
        self.paper = paper
        self.options = options
        self.presets = presets
        self.densityOptions = densityOptions
        self.make = make
    }

    /// The preset a model gets when nothing else is said; nil where the options' own defaults hold.
    public func preset(forModel model: String) -> Preset? {
        presets.first { $0.models.contains(model) }
    }

    func preset(named name: String) throws(AttentionError) -> Preset {
        guard let preset = presets.first(where: { $0.name == name }) else {
            throw .optionValue(
                "preset", method: self.name, found: name,
                expected: presets.isEmpty
                    ? "none: it has no presets" : presets.map(\.name).joined(separator: " or "))
        }
        return preset
    }

    /// Reads the value of an option.
    func setting(_ option: String, _ text: String) throws(AttentionError) -> OptionSetting {
        guard let known = options.first(where: { $0.name == option }) else { throw unknown(option) }
        guard let setting = known.setting(text) else {
            throw .optionValue(option, method: name, found: text, expected: known.range)
        }
        return setting
    }

    private func unknown(_ option: String) -> AttentionError {
        let owners = MethodCatalogue.methods.filter { $0.options.contains { $0.name == option } }.map(\.name)
        if !owners.isEmpty { return .optionOfAnotherMethod(option, method: name, owners: owners) }
        let names = options.map(\.name) + (presets.isEmpty ? [] : ["preset"])
        let nearest = names.map { ($0, editDistance($0, option)) }.min { $0.1 < $1.1 }
        return .unknownOption(
            option, method: name,
            suggestion: nearest.flatMap { $0.1 <= max(2, option.count / 2) ? $0.0 : nil })
    }
}

/// A method with its parameters, and the calls that stay dense whatever it would do.
public struct ConfiguredMethod: Sendable {
    public let name: String
    public let method: any SparseMethod
    public let schedule: DenseSchedule
    /// Every option's value as it is written, defaults included.
    public let options: [String: String]
    public let density: Double?
    let rest: RestChoice

    /// - Throws: what the method throws for a layout it cannot serve.
    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        let planner = try method.planner(for: layout)
        return rest == .dropped ? planner : PooledRest(base: planner, rest: rest.rest)
    }

    /// Bytes of state a run holds at most: what the method keeps at each (layer, branch) that it serves.
    public func predictedStateBytes(
        layout: TokenLayout, heads: Int, headDim: Int, layers: Int, branches: Int
    ) -> Int {
        method.stateBytes(layout: layout, heads: heads, headDim: headDim)
            * max(0, layers - schedule.layers) * branches
    }
}
