import ArgumentParser
import Foundation
import VDiT

struct Render: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a video from a prompt.",
        discussion: """
            Example, with the sample model of the repository:

              vdit render --model samples/wan-mini \\
                  --prompt-embedding samples/prompts/01-red-ball-right.safetensors \\
                  --negative-prompt-embedding samples/prompts/empty.safetensors \\
                  --num-frames 33 --seed 7 -o ball.mp4

            Beside ball.mp4 it leaves ball.mp4.json, which says everything the video was
            made with. A run that is stopped (Ctrl-C, SIGTERM) saves its state, after the
            step at work where that ends within 30 s; the same command goes on from there
            and makes the same bytes. With other settings the state is kept under another
            name; with --resume they are refused. A second Ctrl-C gives the step up, a
            third ends the process at once.

              vdit render --from ball.mp4.json -o again.mp4

            makes it again: inputs (their digests are checked), settings and encoding are
            the recorded ones unless a flag or the environment says otherwise.

            Where the model comes with no recommendation, Wan's published ones hold.
            """)

    @OptionGroup var inputs: SettingFlags<InputSection>
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Sampling") var sampling: SamplingOptions
    @OptionGroup(title: "Noise and attention") var variant: SettingFlags<VariantSection>
    @OptionGroup(title: "Machine") var machine: MachineOptions

    @OptionGroup var settings: SettingFlags<RunSection>

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Write the noise, every step's model output and its latents there.", valueName: "folder"))
    var saveTrajectory: String?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Write a PNG of the current estimate every n steps.", valueName: "n"))
    var previewEvery: Int?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Default: OUT.preview.png.", valueName: "file.png"))
    var previewPath: String?

    @Flag(name: .long, help: "Refuse a saved state that is of another run; do nothing if all is done.")
    var resume = false

    @Flag(name: .long, help: "Do nothing if the output is there, made with the same settings.")
    var skipExisting = false

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Render again what a sidecar describes; flags override it.", valueName: "OUT.json"))
    var from: String?

    @Flag(name: .long, help: "The sidecar gets a row for every layer of every step.")
    var detailedRecord = false

    @Flag(name: .long, help: "Do not stop on NaN and infinity.")
    var allowNonfinite = false

    @Flag(name: .long, help: "Check everything, print the plan and compute nothing.")
    var dryRun = false

    @Flag(name: .long, help: "Print the sidecar, or a dry run's plan, as JSON on standard output.")
    var json = false

    @OptionGroup(title: "Messages") var report: ReportOptions

    func validate() throws {
        if from == nil {
            try inputs.checkModel()
            if !inputs.says(SettingTable.promptSubject) {
                throw ValidationError(
                    "Missing expected argument '--prompt <text>', '--prompt-file <file>' or '--prompt-embedding <file>'")
            }
            _ = try output.path()
        } else if output.output == nil && !output.overwrite {
            throw ValidationError("--from needs --output, or --overwrite to replace the recorded file")
        }
        if output.overwrite && skipExisting {
            throw ValidationError("--skip-existing and --overwrite contradict each other; give one")
        }
        if output.output == StandardOutput.name {
            if resume || skipExisting {
                throw ValidationError("--\(resume ? "resume" : "skip-existing") needs a file; nothing is kept of an output '-'")
            }
            if previewEvery != nil && previewPath == nil {
                throw ValidationError("--preview-every needs --preview-path where the output is '-'")
            }
        }
        try checkStandardOutput(output.output, settings.texts["save_latents"]?.last, json: json && !dryRun)
        if previewPath != nil && previewEvery == nil {
            throw ValidationError("--preview-path needs --preview-every")
        }
    }

    func run() throws {
        let replay = try from.map { try Replay($0) }
        let job = try job(replay)
        let progress = Progress(report)
        let book = progress.promptBook
        let checkpoint = Checkpoint.path(forOutput: job.destination.path)
        let isOver = resume && !output.overwrite && !FilePath.isTaken(checkpoint)
        if skipExisting || isOver, let record = try Renderer.finished(job, book) {
            progress.handle(.notice("\(job.destination.path) is there already, made with the same settings: skipped"))
            if json { try Console.data(try Format.json(record)) }
            return
        }
        let renderer = try Renderer(job, book, encodes: !dryRun)
        if let replay {
            try replay.check(renderer, given: givenInputs)
            for notice in replay.notices(renderer) { progress.handle(.notice(notice)) }
        }
        if dryRun {
            let plan = RenderPlanDescription(renderer, expected: try renderer.expectedTime())
            try Console.data(json ? try Format.json(plan) : plan.text)
            return
        }
        if resume && !FilePath.isTaken(checkpoint) {
            progress.handle(.notice("no saved state \(checkpoint): starting from the first step"))
        }
        if report.verbose { progress.show(RenderPlanDescription(renderer)) }
        let record = try renderer.run(stop: Signals.stop) { progress.handle($0) }
        let calls = renderer.estimate.calls
        if let usual = renderer.undistilled, usual.undistilledCalls > calls {
            let seconds = record.timingS.denoise / Double(calls) * Double(usual.undistilledCalls)
            progress.handle(
                .notice(
                    "\(calls) calls of the transformer took \(Format.seconds(record.timingS.denoise)); the "
                        + "\(usual.undistilledCalls) of its usual \(usual.steps) steps would take about "
                        + Format.about(seconds)))
        }
        if json { try Console.data(try Format.json(record)) }
    }

    /// What the flags say, and the record where they say nothing.
    private func job(_ replay: Replay?) throws -> RenderJob {
        let record = replay?.record
        var given = Settings(
            recorded: replay?.settings(anotherPrompt: inputs.has("prompt_embedding"), sampling: sampling) ?? [:])
        given.add(inputs)
        given.add(sampling)
        given.add(variant)
        given.add(machine)
        given.add(settings)
        let path = try output.output ?? record?.output.path ?? output.path()
        var job = RenderJob(model: "", promptEmbedding: "", destination: VideoDestination(path: path))
        try given.apply(
            InputSection.rows + SamplingSection.rows + VariantSection.rows + MachineSection.rows + RunSection.rows,
            to: &job)
        job.destination = try output.destination(
            path, threads: job.request.machine().threads, recorded: record?.output)
        job.saveTrajectory = saveTrajectory
        job.preview = previewEvery.map { ($0, previewPath ?? companionPath(path, ".preview.png")) }
        job.detail = detailedRecord ? .everyLayer : .summary
        job.resume = resume ? .ifPossible : .ifFits
        job.nonFinite = allowNonfinite ? .accept : .refuse
        job.command = commandLine
        return job
    }

    /// Inputs that a flag named, by the name of their setting.
    private var givenInputs: Set<String> {
        var given = Set(inputs.texts.keys).union(settings.has("latents") ? ["latents"] : [])
            .union(["sparse_table", "cache_calibration"].filter(variant.has))
        // What no flag of theirs says, another of the same subject may.
        for row in InputSection.rows {
            if let subject = row.subject, inputs.says(subject) { given.insert(row.name) }
        }
        // The file of another prompt may hold its own.
        if inputs.has("prompt_embedding") { given.insert("negative_prompt_embedding") }
        return given
    }
}
