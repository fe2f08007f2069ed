import ArgumentParser
import Foundation
import Glibc
import Synchronization
import VDiT

struct BatchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "batch",
        abstract: "Make and compare many videos from a pipeline file.",
        discussion: """
            Runs every job of the file that is not done yet, one after the other, the model
            loaded once:

              vdit batch pipelines/quickstart.yaml --dry-run
              vdit batch pipelines/quickstart.yaml
              vdit batch status pipelines/quickstart.yaml

            What was done is kept in a database beside the outputs. After Ctrl-C, a crash
            or a power cut the same command goes on where it stopped. Several processes may
            work on one file at the same time.

            Exit codes: 0 all done, 1 some failed, 65 not YAML, 78 a pipeline with mistakes
            (all are listed), 75 stopped by SIGUSR1 or by Slurm with everything saved, 130
            and 143 stopped by Ctrl-C or SIGTERM.
            """,
        subcommands: [
            BatchRun.self, BatchStatus.self, BatchLogs.self, BatchRetry.self, BatchCancel.self,
            BatchSchema.self,
        ],
        defaultSubcommand: BatchRun.self)
}

struct BatchRun: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run what is not done yet (what 'vdit batch FILE' does).")

    @Argument(help: ArgumentHelp("A pipeline in YAML.", valueName: "file.yaml"))
    var file: String

    @Option(
        name: .long, parsing: .unconditionalSingleValue,
        help: ArgumentHelp("Change a value of the file, such as defaults.steps=10; may be repeated.", valueName: "a.b=value"))
    var set: [String] = []

    @Option(
        name: .long, parsing: .unconditionalSingleValue,
        help: ArgumentHelp("Only these jobs: a name or a pattern with *; may be repeated.", valueName: "job"))
    var only: [String] = []

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Only the i-th of n shares, i from 0, with a database of its own. In a Slurm job array: the task's.",
            valueName: "i/n"))
    var shard: String?

    @Flag(name: .long, help: "Submit the file as a Slurm job array.")
    var slurm = false

    @Flag(name: .long, help: "With --slurm: print the script instead of submitting it.")
    var emitOnly = false

    @Flag(name: .long, help: "Check everything, print the plan with memory and time, and compute nothing.")
    var dryRun = false

    @Flag(name: .long, help: "Print the state of all jobs, or a dry run's plan, as JSON on standard output.")
    var json = false

    @OptionGroup(title: "Messages") var report: ReportOptions

    func validate() throws {
        if emitOnly && !slurm { throw ValidationError("--emit-only needs --slurm") }
        if slurm && shard != nil { throw ValidationError("--slurm and --shard contradict each other; give one") }
    }

    func run() throws {
        let plan: BatchPlan
        let progress = BatchProgress(report)
        let book = progress.promptBook
        do {
            plan = try BatchPlan(PipelineFile(path: file, overrides: set), book: book)
        } catch let error as BatchError {
            // One line each.
            guard case .pipeline(_, let problems, let kind) = error else { throw error }
            for line in "\(error)".split(separator: "\n") { Console.failure(String(line), at: "") }
            let mistakes = problems.count == 1 ? "1 mistake" : "\(problems.count) mistakes"
            Console.failure("\(file): \(mistakes), nothing was run", status: kind.rawValue)
            throw ExitCode(kind.rawValue)
        }
        let share = try shard.map { try Shard($0) } ?? (slurm ? nil : try Shard.ofArrayTask())
        var chosen = share?.share(of: plan)
        if !only.isEmpty {
            let named = try JobNames.matching(only, among: plan.jobs.map(\.id))
            chosen = chosen?.intersection(named) ?? Set(named)
        }
        if slurm { return try submit(plan) }
        if dryRun { return try show(plan.only(chosen)) }

        let stop = Signals.stop
        Preemption.install(warning: plan.file.slurm.warning)
        let path = share?.database(of: plan.file.database) ?? plan.file.database
        try FilePath.makeFolder(FilePath.folder(of: path))
        let database = try RunDatabase(path: path, sharing: share == nil ? .thisMachine : .oneProcess)
        defer { database.close() }
        let batch = Batch(plan, database: database, runner: LocalRunner(nil, book), only: chosen)
        try batch.prepare()
        progress.total = chosen?.count ?? plan.jobs.count
        let summary = try batch.run(stop: stop) { progress.handle($0) }
        if json {
            try Console.data(BatchReport.json(database.status()))
        } else if let table = try BatchReport.variants(database.status()) {
            try Console.data(table)
        }
        try plan.writeTable(RunDatabases.status(plan.file.database))
        progress.summarise(summary, file)
        if summary.wasStopped, let code = Preemption.exitCode { throw ExitCode(code) }
        if summary.exitCode != 0 { throw ExitCode(summary.exitCode) }
    }

    private func show(_ plan: BatchPlan) throws {
        let status = try RunDatabases.status(plan.file.database)
        let speed = BatchReport.flopsPerSecond(status, threads: usableProcessors())
        try Console.data(
            json
                ? BatchReport.json(plan, flopsPerSecond: speed)
                : BatchReport.plan(plan, status: status, flopsPerSecond: speed))
    }

    private func submit(_ plan: BatchPlan) throws {
        let folder = FilePath.workingFolder()
        let logs = FilePath.canonical(FilePath.folder(of: plan.file.database))
        let script = SlurmScript(
            plan, executable: FilePath.destination(ofLink: "/proc/self/exe") ?? "vdit",
            arguments: [file] + set.flatMap { ["--set", $0] } + only.flatMap { ["--only", $0] }, folder: folder,
            logs: logs)
        if emitOnly || dryRun {
            return try AtomicFile.write(script.bytes, to: StandardOutput.name, existing: .refuse)
        }
        try FilePath.makeFolder(logs)
        Console.message("vdit: \(try script.submit())")
    }
}

/// SIGUSR1, and any signal under Slurm, mean: save everything, you will be called again.
enum Preemption {
    private static let grace = Atomic<Int>(0)

    /// To be called after the first use of `Signals.stop`.
    ///
    /// - Parameter warning: seconds between SIGUSR1 and the end of the allocation. A part of them is for saving.
    static func install(warning: Int) {
        grace.store(max(0, warning - max(5, warning / 4)), ordering: .relaxed)
        Signals.handle(SIGUSR1) { Signals.ask($0, within: Preemption.grace.load(ordering: .relaxed)) }
    }

    /// Of a run that was stopped; nil when no signal did it.
    static var exitCode: Int32? {
        guard let signal = Signals.received else { return nil }
        let isUnderSlurm = getenv("SLURM_JOB_ID") != nil && signal != SIGINT
        return signal == SIGUSR1 || isUnderSlurm ? FailureKind.temporary.rawValue : 128 + signal
    }
}

/// Tells how a batch is getting on.
private final class BatchProgress {
    private let progress: Progress
    private let report: ReportOptions
    var total = 0
    private var ended = 0

    init(_ report: ReportOptions) {
        self.report = report
        progress = Progress(report)
    }

    /// The jobs' prompts; encodes them and says so.
    var promptBook: PromptBook { progress.promptBook }

    private func say(_ text: String) {
        if report.quiet { return }
        if Console.isJSON { Console.event("batch", ["text": text]) } else { Console.message(text) }
    }

    func handle(_ event: BatchEvent) {
        switch event {
        case .started(let job, let attempt):
            progress.begin()
            say("[\(ended + 1)/\(total)] \(job)" + (attempt > 1 ? ", attempt \(attempt)" : ""))
        case .render(_, let event): progress.handle(event)
        case .done(let job, let metrics, let wasThere):
            ended += 1
            if wasThere { say("[\(ended)/\(total)] \(job): complete already") }
            for found in metrics.comparison?.candidates ?? [] where !wasThere {
                say("\(found.clip.path): \(found.summary)")
            }
        case .failed(let job, let error, let retrying):
            if !retrying { ended += 1 }
            Console.failure("\(job): \(error)" + (retrying ? "; will be tried again" : ""))
        case .interrupted(let job): say("\(job): state saved")
        case .cancelled(let job):
            ended += 1
            say("\(job): cancelled")
        case .takenOver(let jobs): say("taken over from a process that is gone: \(jobs.joined(separator: ", "))")
        case .waiting(let running): say("waiting for \(running) jobs that other processes run")
        }
    }

    func summarise(_ summary: BatchSummary, _ file: String) {
        let parts = [
            (summary.done, "done"), (summary.altered, "of them altered or gone since"), (summary.failed, "failed"), (summary.cancelled, "cancelled"),
            (summary.running, "running elsewhere"), (summary.pending, "not started"),
        ].filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }
        say(parts.joined(separator: ", "))
        if summary.altered > 0 {
            Console.failure(
                "outputs of jobs that are done were altered or are gone; "
                    + "'vdit batch retry \(file) --missing' makes them again")
        }
        if summary.wasStopped {
            Console.failure("stopped, everything is saved; run the same command again to go on")
        } else if summary.failed > 0 {
            Console.failure("see 'vdit batch status \(file)', try again with 'vdit batch retry \(file)'")
        }
    }
}
