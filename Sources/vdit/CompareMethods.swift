import ArgumentParser
import VDiT

/// What is compared when methods are.
struct CompareMethods: ParsableArguments {
    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp("A model, as for 'vdit render'; compares methods instead of files.", valueName: "path"))
    var model: String?

    @OptionGroup var prompts: PromptOptions
    @OptionGroup var shared: SettingFlags<SharedInputSection>

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Separated by commas, each alone or as name@density; 'vdit methods' lists them. Dense is always rendered.",
            valueName: "names"))
    var methods: ValueList<String>?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Shares of the attention to keep, 0.5,0.3,0.2. Default: each method's own.", valueName: "list"))
    var densities: ValueList<Double>?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Separated by commas. Default: 1.", valueName: "list"))
    var seeds: ValueList<Int>?

    @Option(
        name: .long, parsing: .unconditionalSingleValue,
        help: ArgumentHelp("For every method, or with a method's name and a dot for one; repeat for more.", valueName: "[method.]name=value"))
    var sparseOption: [String] = []

    @Option(
        name: .long, parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "Patterns for every head of one of the methods, by 'vdit calibrate --sparse'; repeat for more.",
            valueName: "file.json"))
    var sparseTable: [String] = []

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Where a method cannot serve a call: stop, or compute it densely. Default: refuse.", valueName: "refuse|dense"))
    var sparseFallback: AttentionContext.Fallback?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Refuse renders that need more, such as 20G. Default: what is free.", valueName: "bytes"))
    var memoryLimit: ByteCount?

    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp("Where the report goes: a new folder, or that of the run to go on with.", valueName: "folder"))
    var output: String?

    @Flag(name: .long, help: "Check everything, print the plan and compute nothing.")
    var dryRun = false

    /// A flag that makes no sense without a model.
    var given: String? {
        let flags: [(String, Bool)] = [
            ("--methods", methods != nil),
            ("--densities", densities != nil), ("--seeds", seeds != nil),
            ("--sparse-option", !sparseOption.isEmpty), ("--sparse-table", !sparseTable.isEmpty),
            ("--sparse-fallback", sparseFallback != nil),
            ("--memory-limit", memoryLimit != nil), ("--output", output != nil), ("--dry-run", dryRun),
        ]
        return prompts.given ?? flags.first(where: \.1)?.0 ?? shared.given
    }

    /// What a comparison of methods reads and makes; its tables are not among them.
    func files() throws -> FileRoles {
        var inputs = try inputs()
        inputs.model.path = model ?? ""
        var files = inputs.reads()
        for table in sparseTable { files.read(table, as: "sparse_table") }
        files.make(output, as: "report")
        prompts.note(in: &files)
        return files
    }

    /// What all renders share, as one of them has it.
    private func inputs() throws -> RenderJob {
        var settings = Settings()
        settings.add(shared)
        var job = RenderJob(model: "", prompt: .text(""), destination: VideoDestination(path: ""))
        try settings.apply(SharedInputSection.rows, to: &job)
        return job
    }

    func validateAlone() throws {
        if prompts.all.isEmpty {
            throw ValidationError("--model needs --prompt, --prompt-file or --prompt-embedding")
        }
        if methods == nil { throw ValidationError("--model needs --methods") }
        if output == nil { throw ValidationError("--model needs --output") }
    }

    func job(_ model: String, _ request: RenderRequest) throws -> ComparisonJob {
        var job = ComparisonJob(
            model: "", prompts: prompts.all, methods: methods?.values ?? [], directory: output ?? "")
        let inputs = try inputs()
        job.model = inputs.model
        job.model.path = model
        (job.negativePrompt, job.textEncoder, job.adapters) = (
            inputs.negativePrompt, inputs.textEncoder, inputs.adapters
        )
        job.request = request
        job.densities = densities?.values ?? []
        job.seeds = seeds?.values ?? [1]
        for option in sparseOption.flatMap({ $0.split(separator: ",") }) {
            job.options.append(try ComparisonOption(parsing: String(option)))
        }
        job.sparseTables = sparseTable
        job.fallback = sparseFallback ?? .refuse
        job.memoryLimit = memoryLimit?.bytes
        job.command = commandLine
        return job
    }
}

/// Values separated by commas.
struct ValueList<Value: LosslessStringConvertible & Sendable>: ExpressibleByArgument, Sendable {
    let values: [Value]

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
        values = parts.compactMap { $0.isEmpty ? nil : Value(String($0)) }
        if values.count != parts.count { return nil }
    }
}

/// Tells how a comparison is getting on.
final class CompareProgress {
    private let report: ReportOptions
    private let progress: Progress

    init(_ report: ReportOptions) {
        self.report = report
        progress = Progress(report)
    }

    func handle(_ event: ComparisonEvent) {
        switch event {
        case .notice(let text): progress.handle(.notice(text))
        case .begins(let title, let index, let count): say("[\(index)/\(count)] \(title)")
        case .kept(let title, let index, let count): say("[\(index)/\(count)] \(title): finished already")
        case .render(.finished), .render(.notice), .render(.loaded): break
        case .render(let event): progress.handle(event)
        case .finished(let row):
            let psnr = row.quality.map { $0.psnr.map { "PSNR \(($0 * 100).rounded() / 100) dB" } ?? "identical to dense" }
            say(
                [row.seconds.map { "\(Format.seconds($0)) of denoising" }, psnr].compactMap { $0 }
                    .joined(separator: ", "))
        case .reporting: say("making the report")
        }
    }

    /// The comparison's prompts; encodes them and says so.
    var promptBook: PromptBook { progress.promptBook }

    /// A message unless all are unwanted.
    func say(_ text: String) {
        if report.quiet { return }
        if report.logFormat == .json {
            progress.handle(.notice(text))
        } else {
            Console.message(text)
        }
    }
}
