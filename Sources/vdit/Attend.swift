import ArgumentParser
import VDiT

struct Attend: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a sparse method on given queries, keys and values.",
        discussion: """
            For checking a method, or a port of one, against a notebook:

              vdit attend --sparse radial --qkv qkv.safetensors \\
                  --frames 21 --height 12 --width 20 -o out.safetensors

            Input: 'q', 'k', 'v' [heads, tokens, head_dim], after normalisation and rotary
            embedding, video tokens frame by frame and row by row. Or a sequence of steps,
            'q.0', 'k.0', 'v.0', 'q.1', …: what the method learns is carried along. What it
            learned before them is taken from tensors 'learned.<name>', where there are
            any.

            Output, with '.<step>' appended where the input had it: 'values' [heads,
            tokens, head_dim], 'log_sum_exp' [heads, tokens], 'density' [heads], and for
            every head 'query_order', 'key_order', 'query_offsets', 'key_offsets',
            'row_start', 'key_blocks', such as 'key_blocks.<step>.<head>', and what the
            method knows after the step as 'learned.<name>'. docs/methods.md explains them.

            The method runs from the first step on, without the dense ones of a render,
            unless --dense-steps or --dense-layers ask for them.
            """)

    @OptionGroup(title: "Method") var method: MethodOptions

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Queries, keys and values.", valueName: "file.safetensors"))
    var qkv: String

    @OptionGroup(title: "Tokens") var grid: GridOptions
    @OptionGroup(title: "Place in a run") var site: SiteOptions

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Length of the loop. Default: it ends with the file.", valueName: "n"))
    var steps: Int?

    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp("Where the results go.", valueName: "file.safetensors"))
    var output: String

    @Flag(name: .long, help: "Replace a file that exists.")
    var overwrite = false

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Default: that of the tensors.", valueName: "bf16|fp32"))
    var precision: Precision?

    @OptionGroup var machine: SettingFlags<ThreadSection>

    @Flag(name: .long, help: "Print what each step did as JSON on standard output.")
    var json = false

    @OptionGroup(title: "Messages") var report: ReportOptions

    func validate() throws { try checkStandardOutput(output, json: json) }

    func run() throws {
        var job = AttendJob(
            method: try method.choice(), layout: try grid.layout(), inputs: qkv, output: output)
        job.step = site.step ?? 0
        job.steps = steps
        job.layer = site.layer ?? 0
        job.branch = site.branch ?? .conditional
        job.precision = precision
        job.threads = try machine.decided().threads
        job.existing = overwrite ? .replace : .refuse
        job.fallback = try method.fallback()
        job.attentionPrecision = try method.request().attentionPrecision
        let steps = try job.run { step in
            if report.quiet { return }
            Console.message(
                "step \(step.step): density \(Format.fraction(step.density)), work \(Format.fraction(step.work)), "
                    + "planning \(Format.seconds(step.planningSeconds)), "
                    + "attention \(Format.seconds(step.attentionSeconds))")
        }
        if !report.quiet { Console.message(StandardOutput.shown(output)) }
        if json { try Console.data(try Format.json(steps)) }
    }
}
