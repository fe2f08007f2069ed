import ArgumentParser
import VDiT

struct Methods: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the sparse attention methods and their options.",
        discussion: """
            Example:

              vdit methods radial
              vdit render … --sparse radial --sparse-option decay=0.3
            """)

    @Argument(help: ArgumentHelp("Only this method.", valueName: "method"))
    var name: String?

    @Flag(name: .long, help: "As JSON.")
    var json = false

    func run() throws {
        let methods = try name.map { [try MethodCatalogue.description(of: $0)] } ?? MethodCatalogue.methods
        try Console.data(list(methods, json: json, share: "density"))
    }
}

struct Caches: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the step caches and their options.",
        discussion: """
            Example:

              vdit caches magcache
              vdit render … --cache magcache --cache-budget 0.5
            """)

    @Argument(help: ArgumentHelp("Only this cache.", valueName: "cache"))
    var name: String?

    @Flag(name: .long, help: "As JSON.")
    var json = false

    func run() throws {
        let caches = try name.map { [try CacheCatalogue.all.entry($0)] } ?? CacheCatalogue.caches
        try Console.data(list(caches, json: json, share: "cache-budget"))
    }
}

/// What can be chosen from a catalogue.
///
/// - Parameter share: the flag of the share that decides options.
private func list<Product: Sendable>(_ entries: [CatalogueEntry<Product>], json: Bool, share: String) throws -> String {
    if json { return try Format.json(entries.map(Described.init)) }
    return entries.map { entry in
        var lines = ["\(entry.name): \(entry.summary)"]
        if let paper = entry.paper { lines.append("  \(paper.title), arXiv \(paper.arXiv)") }
        let options = entry.options.map {
            [$0.name, "= \($0.defaultSetting.text)", "\($0.summary) (\($0.range))"]
        }
        if !options.isEmpty { lines.append(Console.table(options, indent: "  ")) }
        for preset in entry.presets {
            let values = preset.values.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            let models = preset.models.isEmpty ? "" : ", default for \(preset.models.joined(separator: ", "))"
            lines.append("  preset=\(preset.name): \(values.joined(separator: ", ")) (\(preset.source)\(models))")
        }
        if !entry.shareOptions.isEmpty {
            lines.append("  --\(share) decides \(entry.shareOptions.map(\.name).joined(separator: ", "))")
        }
        return lines.joined(separator: "\n")
    }.joined(separator: "\n\n")
}

/// An entry as JSON.
private struct Described: Encodable {
    struct Option: Encodable {
        let name, defaultValue, range, summary: String
    }

    struct Preset: Encodable {
        let name, source: String
        let models: [String]
        let values: [String: String]
    }

    let name, summary: String
    let paper, arxiv: String?
    let options: [Option]
    let presets: [Preset]
    /// Options that the density, or the budget, decides.
    let densityOptions: [String]

    init<Product: Sendable>(_ entry: CatalogueEntry<Product>) {
        name = entry.name
        summary = entry.summary
        paper = entry.paper?.title
        arxiv = entry.paper?.arXiv
        options = entry.options.map {
            Option(name: $0.name, defaultValue: $0.defaultSetting.text, range: $0.range, summary: $0.summary)
        }
        presets = entry.presets.map {
            Preset(name: $0.name, source: $0.source, models: $0.models, values: $0.values)
        }
        densityOptions = entry.shareOptions.map(\.name)
    }
}
