import ArgumentParser
import VDiT

struct Calibrate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Find what step caches, or tables of heads, need to know of a model.",
        discussion: """
            Step caches, from one prompt; the file holds MagCache's ratios and TeaCache's
            coefficients:

              vdit calibrate --model MODEL --prompt-embedding prompt.safetensors \\
                  -o model.json
              vdit render --model MODEL … --cache magcache --cache-calibration model.json

            A sparse method's pattern for every head of every layer at every step, from any
            number of prompts:

              vdit calibrate --model MODEL --prompt-embedding a.safetensors b.safetensors \\
                  --sparse sta -o sta.json
              vdit render --model MODEL … --sparse sta --sparse-table sta.json

            Or a density for every head, more where that gains most: any method whose mask
            follows from the layout, or from queries and keys of the call alone:

              vdit calibrate --model MODEL --prompt-embedding a.safetensors b.safetensors \\
                  --sparse psa --density 0.3 -o psa.json

            Runs the sampler for every prompt with every call computed densely; no video
            is made.
            """)

    @OptionGroup var inputs: SettingFlags<ModelSection>
    @OptionGroup var prompts: PromptOptions
    @OptionGroup(title: "Table of heads") var heads: HeadTableOptions
    @OptionGroup(title: "Sampling") var sampling: SamplingOptions
    @OptionGroup(title: "Noise") var variant: SettingFlags<SeedSection>
    @OptionGroup(title: "Machine") var machine: MachineOptions

    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp("The file to write.", valueName: "file.json"))
    var output: String

    @Flag(name: .long, help: "Replace the file if it exists.")
    var overwrite = false

    @OptionGroup(title: "Messages") var report: ReportOptions

    func validate() throws {
        try inputs.checkModel()
        if prompts.all.isEmpty { throw ValidationError("Missing expected argument '--prompt-embedding <file>'") }
        if heads.sparse == nil {
            if let flag = heads.given { throw ValidationError("\(flag) needs --sparse") }
            if prompts.all.count > 1 { throw ValidationError("step caches are calibrated with one prompt; give one") }
        }
    }

    func run() throws {
        var given = Settings()
        given.add(inputs)
        given.add(sampling)
        given.add(variant)
        given.add(machine)
        var job = RenderJob(model: "", prompt: prompts.all[0], destination: VideoDestination(path: ""))
        try given.apply(
            ModelSection.rows + SamplingSection.rows + SeedSection.rows + MachineSection.rows, to: &job)
        var files = job.reads()
        files.make(output, as: "calibration")
        prompts.note(in: &files)
        try files.check()
        let existing = overwrite ? ExistingFile.replace : .refuse
        try AtomicFile.check(output, existing: existing)
        let progress = Progress(report)
        var last = ContinuousClock.now
        func onStep(_ done: Int, _ steps: Int) {
            progress.handle(.step(done, of: steps, seconds: last.secondsUntilNow))
            last = .now
        }
        guard let (method, search) = try heads.choice() else {
            let result = try CalibrationJob(job).run(stop: Signals.stop, onStep: onStep)
            for notice in result.notices { progress.handle(.notice(notice)) }
            try CacheTables.write(result.table, of: result.model, to: output, existing: existing)
            return
        }
        let result = try HeadCalibrationJob(job, prompts: prompts.all, method: method, search: search)
            .run(stop: Signals.stop, onStep: onStep)
        for notice in result.notices { progress.handle(.notice(notice)) }
        try result.file.write(to: output, existing: existing)
        if report.quiet { return }
        let names = ["dense"] + result.file.patterns.map { options in
            options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
        }
        let table = Console.table(zip(names, result.shares).map { [$0, "\(Format.fraction($1)) of all heads"] })
        for line in table.split(separator: "\n") { Console.message(String(line)) }
    }
}

/// Which patterns of a sparse method a calibration chooses among, and how.
struct HeadTableOptions: ParsableArguments {
    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Make a table of heads for this method, which learns nothing from call to call.", valueName: "method"))
    var sparse: String?

    @Option(
        name: .long, parsing: .unconditionalSingleValue,
        help: ArgumentHelp("An option that all patterns share; repeat for more.", valueName: "name=value"))
    var sparseOption: [String] = []

    @Option(
        name: .long, parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "Options of a pattern to choose, or density=x; repeat for more. Default: those the method's authors "
                + "publish, or densities around --density.",
            valueName: "name=value,…"))
    var pattern: [String] = []

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Share of token pairs the heads of a step keep, mean over layers; instead of weight and limit.",
            valueName: "x"))
    var density: Double?

    @Option(name: .long, parsing: .unconditional, help: "What a pattern is judged by.")
    var measure: PatternSearch.Measure?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "What keeping everything costs beside the squared error of a head's output. Default: the method's.",
            valueName: "x"))
    var densityWeight: Double?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Heads whose every pattern costs more stay dense. Default: the method's.", valueName: "x"))
    var lossLimit: Double?

    func validate() throws {
        for (flag, value) in [("--density-weight", densityWeight), ("--loss-limit", lossLimit)] {
            guard let value else { continue }
            if !(value.isFinite && value >= 0) {
                throw ValidationError("\(flag): found \(value), expected a number of at least 0")
            }
            if density != nil { throw ValidationError("\(flag) and --density exclude each other") }
        }
        if let density, !(density > 0 && density <= 1) {
            throw ValidationError("--density: found \(density), expected \(MethodChoice.densityRange)")
        }
    }

    /// The first flag given that needs a method.
    var given: String? {
        [
            ("--sparse-option", !sparseOption.isEmpty), ("--pattern", !pattern.isEmpty),
            ("--density", density != nil), ("--measure", measure != nil),
            ("--density-weight", densityWeight != nil), ("--loss-limit", lossLimit != nil),
        ].first(where: \.1)?.0
    }

    /// Nil without a method.
    func choice() throws -> (MethodChoice, PatternSearch)? {
        guard let sparse else { return nil }
        let method = try MethodChoice(sparse, options: MethodCatalogue.parse(sparseOption))
        var search = try MethodCatalogue.description(of: sparse).patterns ?? PatternSearch([])
        if !pattern.isEmpty {
            search.candidates = try pattern.map {
                try MethodCatalogue.parse($0.split(separator: ",").map(String.init))
            }
        }
        search.densityWeight = densityWeight ?? search.densityWeight
        search.lossLimit = lossLimit ?? search.lossLimit
        search.density = density
        search.measure = measure ?? search.measure
        return (method, search)
    }
}
