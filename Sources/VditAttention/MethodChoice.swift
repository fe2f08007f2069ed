import VditFiles

/// A sparse method as somebody chose it: its name, the options given and the density wanted.
///
/// Checked when it is made; from then on it travels as one value, and nothing about it can be wrong but the size of
/// the video.
public struct MethodChoice: Sendable, Equatable {
    private let method: MethodDescription
    private let preset: MethodDescription.Preset?
    private var given: OptionSettings
    /// Wanted share of query-key token pairs of a sparse call, in `0 < density <= 1`; nil where options decide.
    public let density: Double?

    /// The values of `density` in words.
    public static let densityRange = "a number above 0, at most 1"

    public static let dense = MethodChoice(
        method: Dense.description, preset: nil, given: OptionSettings(), density: nil)

    private init(
        method: MethodDescription, preset: MethodDescription.Preset?, given: OptionSettings, density: Double?
    ) {
        self.method = method
        self.preset = preset
        self.given = given
        self.density = density
    }

    /// - Parameters:
    ///   - name: of the catalogue.
    ///   - options: as they are written, by name; `preset` chooses the values the others start from.
    /// - Throws: `AttentionError` for unknown names, values out of range and options that contradict the density.
    ///   Whether the density can be reached shows when the layout is known.
    public init(
        _ name: String, options: [String: String] = [:], density: Double? = nil
    ) throws(AttentionError) {
        let method = try MethodCatalogue.description(of: name)
        var given: [OptionSetting] = []
        for (option, text) in options.sorted(by: { $0.key < $1.key }) where option != "preset" {
            given.append(try method.setting(option, text))
        }
        if let density {
            guard density > 0, density <= 1 else {
                throw .invalid("density", found: "\(density)", expected: Self.densityRange, kind: .usage)
            }
            guard !method.densityOptions.isEmpty || density == 1 else {
                throw .unreachableDensity(density, method: name, reachable: 1...1)
            }
            if let both = method.densityOptions.first(where: { options[$0.name] != nil }) {
                throw .conflict(
                    "density and option '\(both.name)' decide the same thing, give one", method: name)
            }
        }
        var preset: MethodDescription.Preset?
        if let wanted = options["preset"] { preset = try method.preset(named: wanted) }
        self.init(method: method, preset: preset, given: OptionSettings(given), density: density)
    }

    /// Reads `name` or `name@density`, as lists of methods have them.
    ///
    /// - Parameters:
    ///   - options: as they are written, by name.
    ///   - density: where the text has none.
    public init(
        parsing text: String, options: [String: String] = [:], density: Double? = nil
    ) throws(AttentionError) {
        let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2 else {
            try self.init(text, options: options, density: density)
            return
        }
        guard let own = Double(parts[1]) else {
            throw .invalid("density of \(parts[0])", found: "'\(parts[1])'", expected: Self.densityRange, kind: .usage)
        }
        try self.init(parts[0], options: options, density: own)
    }

    /// The same at another density.
    public func at(density: Double) throws(AttentionError) -> MethodChoice {
        try MethodChoice(name, options: options, density: density)
    }

    public var name: String { method.name }
    public var isDense: Bool { name == Dense.name }

    /// The options that were given, as they were written; `preset` is one.
    public var options: [String: String] {
        var texts = given.texts
        texts["preset"] = preset?.name
        return texts
    }

    /// The same as `decay=0.3,sink=off`, sorted by name: how records, checkpoints and tables have them.
    public var optionText: String {
        options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
    }

    public static func == (a: MethodChoice, b: MethodChoice) -> Bool {
        a.name == b.name && a.options == b.options && a.density == b.density
    }

    /// The same without dense steps and layers but those that were asked for, so that the method itself runs.
    public func withoutWarmUp() -> MethodChoice {
        let none = [DenseSchedule.stepsOption(.count(0)), DenseSchedule.layersOption(0)]
            .filter { setting in method.options.contains { $0.name == setting.name } }
        var alone = self
        alone.given = OptionSettings(none).overridden(by: given)
        return alone
    }

    /// Every option decided.
    ///
    /// - Parameter model: the published model whose preset applies where no other was chosen, by the name its
    ///   defaults have; nil leaves the options' own defaults.
    public func configured(forModel model: String? = nil) -> ConfiguredMethod {
        let preset = preset ?? model.flatMap(method.preset(forModel:))
        var values = OptionSettings(method.options.map(\.defaultSetting))
            .overridden(by: OptionSettings(preset?.settings ?? [])).overridden(by: given)
        if density != nil { for decided in method.densityOptions { values.remove(decided.name) } }
        return ConfiguredMethod(
            name: name, method: method.make(values, density),
            schedule: DenseSchedule(
                steps: values[DenseSchedule.stepsOption], layers: values[DenseSchedule.layersOption]),
            options: values.texts, density: density, rest: values[RestChoice.option])
    }
}

/// As `{"method", "density", "options"}`, in reports and run databases.
extension MethodChoice: Codable {
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
