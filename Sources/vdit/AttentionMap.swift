import ArgumentParser
import VDiT

struct AttentionMapCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attention-map",
        abstract: "Show what a layer attends to, what a method keeps, and what that costs.",
        discussion: """
            Example:

              vdit attention-map --model samples/wan-mini \\
                  --prompt-embedding samples/prompts/01-red-ball-right.safetensors \\
                  --step 5 --layer 3 --head 0 --sparse radial --density 0.3 -o map.png

            From left to right: the true attention by blocks, the blocks that are kept,
            and the attention that is kept; without --head, for every head. The table
            says which part of the softmax mass is kept (recall) and how far the output
            is from dense attention's, corrections included. A .safetensors file holds
            the numbers.
            """)

    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp("A model, as for 'vdit render'.", valueName: "path"))
    var model: String

    @OptionGroup(title: "Method") var method: MethodOptions
    @OptionGroup(title: "Run of the model") var source: ProbeOptions
    @OptionGroup(title: "Size") var grid: GridOptions
    @OptionGroup(title: "Place in the run") var site: SiteOptions

    @OptionGroup var drawing: DrawingOptions

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Colours of the attention. Default: linear.", valueName: "linear|log"))
    var scale = AttentionMap.Scale.linear

    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp("A .png or .safetensors file.", valueName: "file"))
    var output: String

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Also write q, k and v of the layer, for 'vdit attend'.", valueName: "file.safetensors"))
    var saveQkv: String?

    @Flag(name: .long, help: "Replace files that exist.")
    var overwrite = false

    @Flag(name: .long, help: "The table as JSON.")
    var json = false

    @OptionGroup(title: "Machine") var machine: MachineOptions
    @OptionGroup(title: "Messages") var report: ReportOptions

    func validate() throws {
        if grid.textBefore != nil || grid.textAfter != nil {
            throw ValidationError("--text-before and --text-after are for 'vdit attend' and 'vdit mask'")
        }
    }

    func run() throws {
        _ = try StudyFormat(path: output, among: [.png, .safetensors])
        let existing = overwrite ? ExistingFile.replace : .refuse
        try source.files(model, makes: ["attention map": output, "operands": saveQkv]).check()
        for path in [output, saveQkv].compactMap({ $0 }) { try AtomicFile.check(path, existing: existing) }
        let choice = try method.choice()
        let probe = try source.probe(
            model: model, method: method, choice: choice, site: site, size: grid, machine: machine)
        let observation = try probe.run(report).observation
        var map = AttentionMap(of: observation)
        map.title = drawing.title(choice, observation.call)
        try map.write(to: output, head: drawing.head, order: drawing.order, scale: scale, existing: existing)
        if let saveQkv { try map.writeOperands(to: saveQkv, existing: existing) }
        if json {
            try Console.data(try Format.json(map.heads))
            return
        }
        if report.quiet { return }
        let rows = map.heads.map { row in
            ["\(row.head)"] + [row.density, row.recall, row.relativeError].map(Format.fraction)
        }
        try Console.data(
            Console.table([["head", "density", "recall", "relative error"]] + rows)
                + "\noutput of all heads: relative error \(Format.fraction(map.totalError))")
    }
}
