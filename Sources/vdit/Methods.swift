import ArgumentParser
import VDiT

struct Methods: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the sparse attention methods and their options.",
        discussion: """
            Example:

              vdit methods radial
              vdit render … --sparse radial --sparse-option decay-factor=0.3
            """)

    @Argument(help: ArgumentHelp("Only this method.", valueName: "method"))
    var name: String?

    @Flag(name: .long, help: "As JSON.")
    var json = false

    func run() throws {
        let methods = try name.map { [try MethodCatalogue.description(of: $0)] } ?? MethodCatalogue.methods
        if json {
            try Console.data(try Format.json(methods.map(Described.init)))
        } else {
            try Console.data(methods.map(text).joined(separator: "\n\n"))
        }
    }

    private func text(_ method: MethodDescription) -> String {
        var lines = ["\(method.name): \(method.summary)"]
        if let paper = method.paper { lines.append("  \(paper.title), arXiv \(paper.arXiv)") }
        let options = method.options.map {
            [$0.name, "= \($0.defaultSetting.text)", "\($0.summary) (\($0.range))"]
        }
        if !options.isEmpty { lines.append(Console.table(options, indent: "  ")) }
        for preset in method.presets {
            let values = preset.values.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            let models = preset.models.isEmpty ? "" : ", default for \(preset.models.joined(separator: ", "))"
            lines.append("  preset=\(preset.name): \(values.joined(separator: ", ")) (\(preset.source)\(models))")
        }
        if !method.densityOptions.isEmpty {
            lines.append("  --density decides \(method.densityOptions.map(\.name).joined(separator: ", "))")
        }
        return lines.joined(separator: "\n")
    }

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
        let densityOptions: [String]

        init(_ method: MethodDescription) {
            name = method.name
            summary = method.summary
            paper = method.paper?.title
            arxiv = method.paper?.arXiv
            options = method.options.map {
                Option(name: $0.name, defaultValue: $0.defaultSetting.text, range: $0.range, summary: $0.summary)
            }
            presets = method.presets.map {
                Preset(name: $0.name, source: $0.source, models: $0.models, values: $0.values)
            }
            densityOptions = method.densityOptions.map(\.name)
        }
    }
}
