import ArgumentParser
import VDiT

struct Calibrate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Find what step caches need to know of a model.",
        discussion: """
            Example:

              vdit calibrate --model MODEL --prompt-embedding prompt.safetensors \\
                  -o model.json
              vdit render --model MODEL … --cache magcache --cache-calibration model.json

            Runs the sampler once with every call computed; no video is made. The file
            holds MagCache's ratios and TeaCache's coefficients.
            """)

    @OptionGroup var inputs: SettingFlags<InputSection>
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
        if !inputs.says(SettingTable.promptSubject) {
            throw ValidationError("Missing expected argument '--prompt-embedding <file>'")
        }
    }

    func run() throws {
        var given = Settings()
        given.add(inputs)
        given.add(sampling)
        given.add(variant)
        given.add(machine)
        var job = RenderJob(model: "", prompt: .text(""), destination: VideoDestination(path: ""))
        try given.apply(
            InputSection.rows + SamplingSection.rows + SeedSection.rows + MachineSection.rows, to: &job)
        var files = job.reads()
        files.make(output, as: "calibration")
        try files.check()
        let existing = overwrite ? ExistingFile.replace : .refuse
        try AtomicFile.check(output, existing: existing)
        let progress = Progress(report)
        var last = ContinuousClock.now
        let result = try CalibrationJob(job).run(stop: Signals.stop) { done, steps in
            progress.handle(.step(done, of: steps, seconds: last.secondsUntilNow))
            last = .now
        }
        for notice in result.notices { progress.handle(.notice(notice)) }
        try CacheTables.write(result.table, of: result.model, to: output, existing: existing)
    }
}
