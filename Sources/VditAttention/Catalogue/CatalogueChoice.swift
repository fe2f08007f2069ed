import VditFiles

/// Something of a catalogue as somebody chose it: its name, the options given and the share of the work wanted.
///
/// Checked when it is made; from then on it travels as one value, and nothing about it can be wrong but what depends on
/// the run.
public struct CatalogueChoice<Product: Sendable>: Sendable, Equatable {
    let entry: CatalogueEntry<Product>
    private let preset: CataloguePreset?
    private var given: OptionSettings
    /// In `0 < share <= 1`; nil where options decide. A method's is its density, a cache's its budget.
    package let share: Double?

    /// The values of a share in words.
    public static var shareRange: String { "a number above 0, at most 1" }

    /// The same with no option given.
    package init(_ entry: CatalogueEntry<Product>) {
        self.entry = entry
        (preset, given, share) = (nil, OptionSettings(), nil)
    }

    /// - Parameters:
    ///   - options: as they are written, by name; `preset` chooses the values the others start from.
    /// - Throws: `ChoiceError` for unknown names, values out of range and options that contradict the share. Whether
    ///   the share can be reached shows when the run is known.
    package init(
        _ name: String, of catalogue: Catalogue<Product>, options: [String: String] = [:], share: Double? = nil
    ) throws(ChoiceError) {
        entry = try catalogue.entry(name)
        var given: [OptionSetting] = []
        for (option, text) in options.sorted(by: { $0.key < $1.key }) where option != "preset" {
            given.append(try catalogue.setting(option, text, of: entry))
        }
        self.given = OptionSettings(given)
        if let share {
            guard share > 0, share <= 1 else {
                throw ChoiceError(catalogue.words, .share(share, expected: Self.shareRange))
            }
            guard !entry.shareOptions.isEmpty || share == 1 else {
                throw ChoiceError(catalogue.words, .shareOfAll(share, of: name))
            }
            if let both = entry.shareOptions.first(where: { options[$0.name] != nil }) {
                throw ChoiceError(catalogue.words, .shareAndOption(both.name, of: name))
            }
        }
        self.share = share
        if let wanted = options["preset"] {
            preset = try catalogue.preset(wanted, of: entry)
        } else {
            preset = nil
        }
    }

    /// Reads `name` or `name@share`.
    ///
    /// - Parameter share: where the text has none.
    package init(
        parsing text: String, of catalogue: Catalogue<Product>, options: [String: String] = [:], share: Double? = nil
    ) throws(ChoiceError) {
        let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2 else {
            try self.init(text, of: catalogue, options: options, share: share)
            return
        }
        guard let own = Double(parts[1]) else {
            throw ChoiceError(catalogue.words, .noShare(parts[1], of: parts[0], expected: Self.shareRange))
        }
        try self.init(parts[0], of: catalogue, options: options, share: own)
    }

    public var name: String { entry.name }

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

    public static func == (a: Self, b: Self) -> Bool {
        a.name == b.name && a.options == b.options && a.share == b.share
    }

    /// The same where nothing else was given for these options of the entry.
    func standing(at settings: [OptionSetting]) -> Self {
        let own = settings.filter { setting in entry.options.contains { $0.name == setting.name } }
        var other = self
        other.given = OptionSettings(own).overridden(by: given)
        return other
    }

    /// The value of every option.
    ///
    /// - Parameter model: the published model whose preset applies where no other was chosen, by the name its
    ///   defaults have; nil leaves the options' own defaults.
    package func decided(forModel model: String?) -> (values: OptionSettings, product: Product) {
        let preset = preset ?? model.flatMap(entry.preset(forModel:))
        var values = OptionSettings(entry.options.map(\.defaultSetting))
            .overridden(by: OptionSettings(preset?.settings ?? [])).overridden(by: given)
        if share != nil { for decided in entry.shareOptions { values.remove(decided.name) } }
        return (values, entry.make(values, share))
    }
}
