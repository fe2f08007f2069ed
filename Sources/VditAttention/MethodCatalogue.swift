import VditFiles
import VditTensor

/// A sparse method as a person chooses it: what it does, where it comes from, what can be set.
public struct MethodDescription: Sendable {
    public struct Paper: Sendable, Equatable {
        public let title: String
        /// arXiv number.
        public let arXiv: String
    }

    /// Option values published, or proposed by us, for some model families.
    public struct Preset: Sendable, Equatable {
        public let name: String
        /// Model families it is the default of.
        public let families: [String]
        /// Where the values come from.
        public let source: String
        public let values: [String: String]
    }

    public let name: String
    public let summary: String
    public let paper: Paper?
    public let options: [MethodOption]
    public let presets: [Preset]
    /// Options that `--density` decides; it cannot be given together with them.
    public let densityOptions: [String]
    let make: @Sendable (MethodOptionValues, Double?) -> any SparseMethod

    init(
        name: String, summary: String, paper: Paper?, options: [MethodOption], presets: [Preset] = [],
        densityOptions: [String] = [],
        make: @escaping @Sendable (_ values: MethodOptionValues, _ density: Double?) -> any SparseMethod
    ) {
        self.name = name
        self.summary = summary
        self.paper = paper
        self.options = options
        self.presets = presets
        self.densityOptions = densityOptions
        self.make = make
    }

    /// The preset a family gets when nothing else is said; nil where the options' own defaults hold.
    public func preset(forFamily family: String) -> Preset? {
        presets.first { $0.families.contains(family) }
    }

    /// The two options that say which calls stay dense.
    static func schedule(steps: String, layers: Int) -> [MethodOption] {
        [
            MethodOption(
                "dense-steps", .steps, default: steps, "first steps computed densely"),
            MethodOption(
                "dense-layers", .integer(0...1000), default: String(layers),
                "first transformer blocks computed densely"),
        ]
    }
}

/// A method with its parameters, and the calls that stay dense whatever it would do.
public struct ConfiguredMethod: Sendable {
    public let name: String
    public let method: any SparseMethod
    public let schedule: DenseSchedule
    /// Every option's value, defaults included.
    public let options: [String: String]
    public let density: Double?

    /// Bytes of state a run holds at most: what the method keeps at each (layer, branch) that it serves.
    public func predictedStateBytes(
        layout: TokenLayout, heads: Int, headDim: Int, layers: Int, branches: Int
    ) -> Int {
        method.predictedStateBytes(
            layout: layout, heads: heads, headDim: headDim, layers: max(0, layers - schedule.layers),
            branches: branches)
    }
}

/// Every sparse method. A new one is a file in `Methods` and a row here.
public enum MethodCatalogue {
    public static let methods: [MethodDescription] = [
        Dense.description, Radial.description, SVG2.description, DraftAttention.description,
        Rettention.description,
    ]

    public static func description(of name: String) throws(AttentionError) -> MethodDescription {
        guard let found = methods.first(where: { $0.name == name }) else {
            throw .unknownMethod(name, known: methods.map(\.name))
        }
        return found
    }

    /// Splits `name=value`.
    ///
    /// - Throws: `AttentionError.invalid` without a name and a value; `.conflict` for a name given twice.
    public static func parse(_ options: [String]) throws(AttentionError) -> [String: String] {
        var parsed: [String: String] = [:]
        for option in options {
            guard let equals = option.firstIndex(of: "="), equals != option.startIndex,
                option.index(after: equals) != option.endIndex
            else {
                throw .invalid(
                    "--sparse-option", found: "'\(option)'", expected: "name=value", kind: .usage)
            }
            let name = String(option[..<equals])
            guard parsed.updateValue(String(option[option.index(after: equals)...]), forKey: name) == nil
            else {
                throw .invalid(
                    "--sparse-option", found: "'\(name)' twice", expected: "each once", kind: .usage)
            }
        }
        return parsed
    }

    /// Makes a method.
    ///
    /// - Parameters:
    ///   - options: by name; `preset` chooses the values the others start from.
    ///   - density: wanted share of query-key token pairs of a sparse call, in `0 < density <= 1`.
    ///   - family: the model family whose preset applies when `options` names none.
    /// - Throws: unknown names, values out of range, options that contradict the density. Whether the
    ///   density can be reached shows when the layout is known: `SparseMethod.prepare`.
    public static func make(
        name: String, options: [String: String] = [:], density: Double? = nil, family: String? = nil
    ) throws(AttentionError) -> ConfiguredMethod {
        let method = try description(of: name)
        var values = Dictionary(
            uniqueKeysWithValues: method.options.map { ($0.name, $0.defaultValue) })
        if let wanted = options["preset"] {
            guard let preset = method.presets.first(where: { $0.name == wanted }) else {
                throw .optionValue(
                    "preset", method: name, found: wanted,
                    expected: method.presets.isEmpty
                        ? "none: it has no presets"
                        : method.presets.map(\.name).joined(separator: " or "))
            }
            values.merge(preset.values) { $1 }
        } else if let preset = family.flatMap(method.preset(forFamily:)) {
            values.merge(preset.values) { $1 }
        }
        for (option, value) in options.sorted(by: { $0.key < $1.key }) where option != "preset" {
            guard let known = method.options.first(where: { $0.name == option }) else {
                throw unknown(option, of: method)
            }
            guard known.kind.accepts(value) else {
                throw .optionValue(option, method: name, found: value, expected: known.kind.range)
            }
            values[option] = value
        }
        if let density {
            guard density > 0, density <= 1 else {
                throw .invalid(
                    "density", found: "\(density)", expected: "more than 0 and at most 1", kind: .usage)
            }
            guard !method.densityOptions.isEmpty || density == 1 else {
                throw .unreachableDensity(density, method: name, reachable: 1...1)
            }
            if let both = method.densityOptions.first(where: { options[$0] != nil }) {
                throw .conflict("density and option '\(both)' decide the same thing, give one", method: name)
            }
            for decided in method.densityOptions { values[decided] = nil }
        }
        let resolved = MethodOptionValues(values: values)
        return ConfiguredMethod(
            name: name, method: method.make(resolved, density),
            schedule: DenseSchedule(
                steps: resolved.steps("dense-steps"), layers: resolved.integer("dense-layers")),
            options: values, density: density)
    }

    /// The options with no dense step or layer but those they ask for: to try a method by itself.
    public static func withoutWarmUp(
        _ options: [String: String], of name: String
    ) throws(AttentionError) -> [String: String] {
        var options = options
        for option in try description(of: name).options
        where ["dense-steps", "dense-layers"].contains(option.name) && options[option.name] == nil {
            options[option.name] = "0"
        }
        return options
    }

    private static func unknown(_ option: String, of method: MethodDescription) -> AttentionError {
        let owners = methods.filter { $0.options.contains { $0.name == option } }.map(\.name)
        if !owners.isEmpty {
            return .optionOfAnotherMethod(option, method: method.name, owners: owners)
        }
        let names = method.options.map(\.name) + (method.presets.isEmpty ? [] : ["preset"])
        let nearest = names.map { ($0, editDistance($0, option)) }.min { $0.1 < $1.1 }
        return .unknownOption(
            option, method: method.name,
            suggestion: nearest.flatMap { $0.1 <= max(2, option.count / 2) ? $0.0 : nil })
    }
}
