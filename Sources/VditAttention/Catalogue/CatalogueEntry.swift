import VditFiles

/// Something a person chooses by name, a sparse method or a step cache: what it does, where it comes from, what can be
/// set.
public struct CatalogueEntry<Product: Sendable>: Sendable {
    public typealias Paper = CataloguePaper
    public typealias Preset = CataloguePreset

    public let name: String
    public let summary: String
    public let paper: Paper?
    public let options: [any AnyMethodOption]
    public let presets: [Preset]
    /// Options that the wanted share decides (a method's density, a cache's budget); it cannot be given with them.
    public let shareOptions: [any AnyMethodOption]
    /// What a calibration chooses among for every head; nil where nobody published such a search.
    public let patterns: PatternSearch?
    package let make: @Sendable (OptionSettings, Double?) -> Product

    package init(
        name: String, summary: String, paper: Paper?, options: [any AnyMethodOption], presets: [Preset] = [],
        shareOptions: [any AnyMethodOption] = [], patterns: PatternSearch? = nil,
        make: @escaping @Sendable (_ values: OptionSettings, _ share: Double?) -> Product
    ) {
        self.name = name
        self.summary = summary
        self.paper = paper
        self.options = options
        self.presets = presets
        self.shareOptions = shareOptions
        self.patterns = patterns
        self.make = make
    }

    /// The preset a model gets when nothing else is said; nil where the options' own defaults hold.
    public func preset(forModel model: String) -> Preset? {
        presets.first { $0.models.contains(model) }
    }
}

public struct CataloguePaper: Sendable, Equatable {
    public let title: String
    /// arXiv number.
    public let arXiv: String

    public init(title: String, arXiv: String) { (self.title, self.arXiv) = (title, arXiv) }
}

/// Option values published, or proposed by us, for some models.
public struct CataloguePreset: Sendable, Equatable {
    public let name: String
    /// Published models it is the default of, by the names their defaults have.
    public let models: [String]
    /// Where the values come from.
    public let source: String
    let settings: [OptionSetting]

    package init(name: String, models: [String], source: String, settings: [OptionSetting]) {
        (self.name, self.models, self.source, self.settings) = (name, models, source, settings)
    }

    /// As they are written, by option name.
    public var values: [String: String] { OptionSettings(settings).texts }

    /// The small Wan models, and those nobody published.
    package static let smallWan = ["wan", "wan-mini", "wan2.1-t2v-1.3b", "wan2.2-ti2v-5b"]
    package static let wan14B = "wan2.1-t2v-14b"
    /// Two transformers of the size of the 14B.
    package static let wanA14B = "wan2.2-t2v-a14b"
    /// Those of the same sizes that make videos from pictures.
    package static let wan14BFromPictures = ["wan2.1-i2v-14b", "wan2.1-flf2v-14b"]
    package static let wanA14BFromPictures = "wan2.2-i2v-a14b"
    /// All of the 14B's size, from text and from pictures.
    package static let allWan14B = [wan14B, wanA14B] + wan14BFromPictures + [wanA14BFromPictures]
    /// CogVideoX in all its releases, and those nobody published.
    package static let cogVideoX = ["cogvideox", "cogvideox-2b", "cogvideox-5b", "cogvideox1.5-5b"]
    /// LTX-Video in all its releases.
    package static let ltx = ["ltx-video"]
        + ["2b-0.9.0", "2b-0.9.1", "2b-0.9.5", "2b-0.9.8", "13b"].map { "ltx-video-\($0)" }
}

/// Everything of one kind that can be chosen, and what a person calls the kind.
public struct Catalogue<Product: Sendable>: Sendable {
    public let entries: [CatalogueEntry<Product>]
    let words: CatalogueWords

    package init(_ words: CatalogueWords, _ entries: [CatalogueEntry<Product>]) {
        (self.words, self.entries) = (words, entries)
    }

    public var names: [String] { entries.map(\.name) }

    public func entry(_ name: String) throws(ChoiceError) -> CatalogueEntry<Product> {
        guard let found = entries.first(where: { $0.name == name }) else {
            throw ChoiceError(words, .unknownName(name, known: names))
        }
        return found
    }

    func preset(_ preset: String, of entry: CatalogueEntry<Product>) throws(ChoiceError) -> CataloguePreset {
        guard let found = entry.presets.first(where: { $0.name == preset }) else {
            throw ChoiceError(
                words,
                .value(
                    "preset", of: entry.name, found: preset,
                    expected: entry.presets.isEmpty
                        ? "none: it has no presets" : entry.presets.map(\.name).joined(separator: " or ")))
        }
        return found
    }

    /// Reads the value of an option.
    func setting(
        _ option: String, _ text: String, of entry: CatalogueEntry<Product>
    ) throws(ChoiceError) -> OptionSetting {
        guard let known = entry.options.first(where: { $0.name == option }) else {
            throw ChoiceError(words, unknown(option, of: entry))
        }
        guard let setting = known.setting(text) else {
            throw ChoiceError(words, .value(option, of: entry.name, found: text, expected: known.range))
        }
        return setting
    }

    private func unknown(_ option: String, of entry: CatalogueEntry<Product>) -> ChoiceError.Fault {
        let owners = entries.filter { $0.options.contains { $0.name == option } }.map(\.name)
        if !owners.isEmpty { return .optionOfAnother(option, of: entry.name, owners: owners) }
        let names = entry.options.map(\.name) + (entry.presets.isEmpty ? [] : ["preset"])
        let nearest = names.map { ($0, editDistance($0, option)) }.min { $0.1 < $1.1 }
        return .unknownOption(
            option, of: entry.name,
            suggestion: nearest.flatMap { $0.1 <= max(2, option.count / 2) ? $0.0 : nil })
    }

    /// Splits `name=value`.
    ///
    /// - Throws: `ChoiceError` without a name and a value, or for a name given twice.
    public func parse(_ options: [String]) throws(ChoiceError) -> [String: String] {
        var parsed: [String: String] = [:]
        for option in options {
            guard let equals = option.firstIndex(of: "="), equals != option.startIndex,
                option.index(after: equals) != option.endIndex
            else { throw ChoiceError(words, .noPair(found: "'\(option)'", expected: "name=value")) }
            let name = String(option[..<equals])
            guard parsed.updateValue(String(option[option.index(after: equals)...]), forKey: name) == nil
            else { throw ChoiceError(words, .noPair(found: "'\(name)' twice", expected: "each once")) }
        }
        return parsed
    }
}
