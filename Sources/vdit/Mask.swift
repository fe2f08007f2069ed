import ArgumentParser
import VDiT

struct Mask: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Draw the block mask of a sparse method.",
        discussion: """
            A static mask follows from the token grid, here that of 81 frames of 320×192:

              vdit mask --sparse radial --frames 21 --height 12 --width 20 -o radial.png

            A mask that follows queries and keys is taken from a run of a model, which
            stops there; the size is then that of the video:

              vdit mask --sparse svg2 --model samples/wan-mini \\
                  --prompt-embedding samples/prompts/01-red-ball-right.safetensors \\
                  --step 5 --layer 3 --head 0 -o svg2.png

            Rows are queries, columns keys, kept blocks dark, lines the borders of frames.
            A .npy file is the mask itself, bool [query blocks, key blocks], or
            [heads, …]; a .safetensors file has 'mask' and the plan.
            """)

    @OptionGroup(title: "Method") var method: MethodOptions

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Tokens of a block: --sparse-option block=n.", valueName: "n"))
    var block: Int?

    @OptionGroup(title: "Size") var grid: GridOptions

    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp("A model to run, as for 'vdit render'.", valueName: "path"))
    var model: String?

    @OptionGroup(title: "Run of a model") var source: ProbeOptions
    @OptionGroup(title: "Place in the run") var site: SiteOptions

    @OptionGroup var drawing: DrawingOptions

    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp("A .png, .npy or .safetensors file.", valueName: "file"))
    var output: String

    @Flag(name: .long, help: "Replace a file that exists.")
    var overwrite = false

    @OptionGroup(title: "Machine") var machine: MachineOptions
    @OptionGroup(title: "Messages") var report: ReportOptions

    func validate() throws {
        if model == nil {
            let site: [(String, Bool)] = [
                ("--step", site.step != nil), ("--layer", site.layer != nil), ("--branch", site.branch != nil),
            ]
            if let flag = source.given ?? site.first(where: \.1)?.0 { throw ValidationError("\(flag) needs --model") }
        } else if grid.textBefore != nil || grid.textAfter != nil {
            throw ValidationError("--text-before and --text-after are for a token grid without --model")
        }
    }

    func run() throws {
        _ = try StudyFormat(path: output)
        let existing = overwrite ? ExistingFile.replace : .refuse
        try source.files(model, makes: ["mask": output]).check()
        try AtomicFile.checkStream(output, existing: existing)
        let choice = try method.choice(block.map { ["block": "\($0)"] } ?? [:])
        var file: MaskFile
        if let model {
            let probe = try source.probe(
                model: model, method: method, choice: choice, site: site, size: grid, machine: machine)
            let result = try probe.run(report)
            let observation = result.observation
            file = MaskFile(
                plan: observation.plans.last ?? .dense(tokens: observation.call.tokens),
                layout: observation.call.layout)
            file.title = drawing.title(choice, observation.call)
        } else {
            let layout = try grid.layout()
            file = MaskFile(plan: try MaskFile.layoutPlan(choice, layout), layout: layout)
            file.title = drawing.title(choice)
        }
        file.head = drawing.head
        file.order = drawing.order
        let heads = try file.heads
        try file.write(to: output, existing: existing, pool: WorkPool(threads: try machine.decided().threads))
        if report.quiet { return }
        let tokens = file.layout.tokens
        let pairs = Double(tokens) * Double(tokens)
        let densities = heads.map { Format.fraction(Double($0.pairs) / pairs) }
        Console.message(
            "\(StandardOutput.shown(output)): \(tokens) tokens (\(file.layout.frames)×\(file.layout.height)×\(file.layout.width)), "
                + "\(heads[0].queryBlocks)×\(heads[0].keyBlockCount) blocks, density \(densities.joined(separator: " "))")
    }
}

extension AttentionProbe {
    /// Runs, telling what it does.
    func run(_ report: ReportOptions) throws -> Result {
        let result = try run(stop: Signals.stop) { done, steps in
            if report.verbose { Console.message("step \(done)/\(steps)") }
        }
        if !report.quiet { for notice in result.notices { Console.note(notice) } }
        return result
    }
}
