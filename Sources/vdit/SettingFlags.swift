import ArgumentParser
import VDiT

/// Rows of the table of settings that a command takes as flags.
protocol FlagSection: Sendable {
    static var rows: [any SettingRow] { get }
}

enum InputSection: FlagSection { static var rows: [any SettingRow] { SettingTable.rows(of: .inputs) } }
/// A prompt as text, and what encodes it.
enum TextSection: FlagSection {
    static var rows: [any SettingRow] {
        ["prompt", "prompt_file", "negative_prompt", "text_encoder"].compactMap { SettingTable.byName[$0] }
    }
}
/// Parts of a model, and what is merged into it.
enum PartSection: FlagSection {
    static var rows: [any SettingRow] {
        [
            "transformer", "transformer_2", "vae", "scheduler_config", "lora", "lora_high_noise", "lora_low_noise",
        ].compactMap { SettingTable.byName[$0] }
    }
}
/// Inputs that all renders of a comparison share.
enum SharedInputSection: FlagSection {
    static var rows: [any SettingRow] {
        ModelSection.rows.filter { $0.name != "model" }
    }
}
/// A model, and all inputs but prompts.
enum ModelSection: FlagSection {
    static var rows: [any SettingRow] { InputSection.rows.filter { $0.subject != SettingTable.promptSubject } }
}
/// What a run that is looked into reads, and its loop.
enum ProbeSection: FlagSection {
    static var rows: [any SettingRow] {
        InputSection.rows.filter { $0.name != "model" }
            + ["latents", "few_step", "steps", "guidance_scale", "sparse_table"].compactMap { SettingTable.byName[$0] }
    }
}
enum OutputSection: FlagSection { static var rows: [any SettingRow] { SettingTable.rows(of: .output) } }
/// Size, steps and guidance: what all renders of a comparison share.
enum SamplingSection: FlagSection { static var rows: [any SettingRow] { SettingTable.rows(of: .sampling) } }
enum SeedSection: FlagSection { static var rows: [any SettingRow] { SettingTable.rows(of: .seed) } }
/// The noise and the attention of one render: what a comparison varies.
enum VariantSection: FlagSection {
    static var rows: [any SettingRow] {
        SettingTable.rows(of: .seed) + SettingTable.rows(of: .attention) + SettingTable.rows(of: .caching)
    }
}
/// A method; a table of heads is of a run.
enum MethodSection: FlagSection {
    static var rows: [any SettingRow] { SettingTable.rows(of: .attention).filter { $0.name != "sparse_table" } }
}
enum MachineSection: FlagSection { static var rows: [any SettingRow] { SettingTable.rows(of: .machine) } }
enum ThreadSection: FlagSection {
    static var rows: [any SettingRow] { [SettingTable.byName["threads"]].compactMap { $0 } }
}
enum FrameRateSection: FlagSection {
    static var rows: [any SettingRow] { [SettingTable.byName["fps"]].compactMap { $0 } }
}
enum RunSection: FlagSection { static var rows: [any SettingRow] { SettingTable.rows(of: .run) } }
/// What a video's work and memory depend on.
enum SizeSection: FlagSection {
    static var rows: [any SettingRow] {
        ["width", "height", "num_frames", "steps"].compactMap { SettingTable.byName[$0] }
    }
}

/// The flags of a section, declared from its rows.
///
/// The parser takes a command's flags from a mirror of its properties; this type's mirror shows one for every row, so
/// that a new setting needs no property here.
struct SettingFlags<Section: FlagSection>: ParsableArguments, CustomReflectable {
    /// What was given, by setting name; more than one text where a flag may be repeated.
    private(set) var texts: [String: [String]] = [:]

    init() {}

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: SettingKey.self)
        for row in Section.rows {
            guard let flag = row.flag else { continue }
            let given = try row.texts(of: flag, in: container)
            if !given.isEmpty { texts[row.name] = given }
        }
    }

    var customMirror: Mirror {
        Mirror(
            self,
            children: Section.rows.compactMap { row -> Mirror.Child? in
                row.flag.map { (label: "_\(row.name)", value: row.declaration(of: $0)) }
            })
    }

    func validate() throws {
        if has("size") && (has("width") || has("height")) {
            throw ValidationError("--size and --width or --height say the same; give one")
        }
        for subject in Set(Section.rows.compactMap(\.subject)) {
            let flags = flags { $0.subject == subject }
            if flags.count > 1 {
                throw ValidationError("\(flags[0]) and \(flags[1]) contradict each other; give one")
            }
        }
    }

    /// Flags that were given, by their first spelling.
    private func flags(where isIncluded: (any SettingRow) -> Bool) -> [String] {
        Section.rows.filter { isIncluded($0) && has($0.name) }.map { "--\($0.flag?.names.first ?? $0.spelling)" }
    }

    /// The first flag given.
    var given: String? { flags { _ in true }.first }

    /// Whether a flag of this subject was given.
    func says(_ subject: String) -> Bool { Section.rows.contains { $0.subject == subject && has($0.name) } }

    /// Whether the flag of a setting was given.
    func has(_ name: String) -> Bool { texts[name] != nil }

    func text(_ name: String) -> String? { texts[name]?.last }
}

extension SettingFlags {
    /// - Throws: where neither a model nor a transformer of one was given.
    func checkModel() throws(ValidationError) {
        if has("model") || has("transformer") { return }
        throw ValidationError("Missing expected argument '--model <path>'")
    }
}

private struct SettingKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}

/// A value that was read, and the text it was read from.
private struct ReadText<Value: WrittenValue>: ExpressibleByArgument {
    let text: String

    init?(argument: String) {
        guard Value(written: argument) != nil else { return nil }
        text = argument
    }

    static var allValueStrings: [String] {
        if case .choice(let names) = Value.kind { names } else { [] }
    }
}

extension SettingRow {
    /// Its name as a flag.
    fileprivate var spelling: String { name.replacing("_", with: "-") }

    fileprivate func declaration(of flag: SettingFlag) -> Any {
        let long = flag.names.isEmpty ? [spelling] : flag.names
        var spellings = long.map { NameSpecification.Element.customLong($0) }
        if let short = flag.short { spellings.insert(.customShort(short), at: 0) }
        let names = NameSpecification(spellings)
        let help = ArgumentHelp(flag.help, valueName: flag.value.isEmpty ? nil : flag.value)
        return switch flag.style {
        case .value: Option<ReadText<Value>?>(name: names, parsing: .unconditional, help: help)
        case .repeated:
            Option<[String]>(wrappedValue: [], name: names, parsing: .unconditionalSingleValue, help: help)
        case .present: Flag<Bool>(wrappedValue: false, name: names, help: help)
        }
    }

    fileprivate func texts(
        of flag: SettingFlag, in container: KeyedDecodingContainer<SettingKey>
    ) throws -> [String] {
        let key = SettingKey(stringValue: name)
        return switch flag.style {
        case .value:
            [try container.decode(Option<ReadText<Value>?>.self, forKey: key).wrappedValue?.text].compactMap { $0 }
        case .repeated: try container.decode(Option<[String]>.self, forKey: key).wrappedValue
        case .present(let means):
            try container.decode(Flag<Bool>.self, forKey: key).wrappedValue ? ["\(means)"] : []
        }
    }
}

extension FrameSize: ExpressibleByArgument {
    public init?(argument: String) { self.init(written: argument) }
}

extension FrameRate: ExpressibleByArgument {
    public init?(argument: String) { self.init(written: argument) }
}

extension ByteCount: ExpressibleByArgument {
    public init?(argument: String) { self.init(written: argument) }
}

extension Precision: ExpressibleByArgument {}
extension AttentionPrecision: ExpressibleByArgument {}
extension LayerKeeping: ExpressibleByArgument {}
extension AttentionContext.Fallback: ExpressibleByArgument {}
extension PatternSearch.Measure: ExpressibleByArgument {}
