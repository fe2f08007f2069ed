import ArgumentParser
import Foundation
import VDiT

/// The file whose batch a command is about.
struct BatchFile: ParsableArguments {
    @Argument(help: ArgumentHelp("A pipeline in YAML, or its database.", valueName: "file.yaml"))
    var file: String

    @Option(
        name: .long, parsing: .unconditionalSingleValue,
        help: ArgumentHelp("As given to the run, where it changes the name of the database.", valueName: "a.b=value"))
    var set: [String] = []

    /// The databases there are.
    ///
    /// - Throws: 66 when nothing was run yet.
    func databases() throws -> [String] {
        let path = file.hasSuffix(".sqlite") ? file : try PipelineFile(path: file, overrides: set).database
        let found = RunDatabases.existing(path)
        guard !found.isEmpty else {
            throw CommandError(description: "\(path): no such file; nothing of \(file) was run yet", kind: .missingInput)
        }
        return found
    }

    func status() throws -> [JobStatus] { try RunDatabases.status(try databases()) }
}

struct BatchStatus: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show how far every job is, over all shares.")

    @OptionGroup var batch: BatchFile

    @Flag(name: .long, help: "As JSON.")
    var json = false

    func run() throws {
        let status = try batch.status()
        try Console.data(json ? BatchReport.json(status) : BatchReport.status(status))
    }
}

struct BatchLogs: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Show what happened to a job: attempts, errors, notes.")

    @OptionGroup var batch: BatchFile

    @Argument(help: "Jobs, by name or pattern. Default: all.")
    var jobs: [String] = []

    @Flag(name: .long, help: "As JSON.")
    var json = false

    func run() throws {
        let chosen = try jobs.isEmpty ? nil : Set(JobNames.matching(jobs, among: batch.status().map(\.id)))
        let events = try batch.databases().flatMap { path in
            let database = try RunDatabase(path: path, access: .readOnly)
            defer { database.close() }
            return try database.events()
        }.filter { chosen?.contains($0.job) != false }
        if json { return try Console.data(BatchReport.json(events)) }
        for event in events {
            let attempt = event.attempt > 0 ? " #\(event.attempt)" : ""
            try Console.data("\(event.at)  \(event.job)\(attempt)  \(event.kind): \(event.text)".onOneLine)
        }
    }
}

struct BatchRetry: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retry",
        abstract: "Put jobs back into the queue.",
        discussion: "A job whose output is still complete is recognised and not rendered again.")

    @OptionGroup var batch: BatchFile

    @Argument(help: "Jobs, by name or pattern. Default: all that failed or were cancelled.")
    var jobs: [String] = []

    @Flag(name: .long, help: "Also the jobs that are done but whose output is gone, or was altered since.")
    var missing = false

    func run() throws {
        let status = try batch.status()
        let chosen = try jobs.isEmpty
            ? status.filter { $0.state == .failed || $0.state == .cancelled }.map(\.id)
            : JobNames.matching(jobs, among: status.map(\.id))
        let gone = missing
            ? status.filter { $0.state == .done && ($0.isAltered || !FilePath.exists($0.output)) }.map(\.id) : []
        try change(batch, "back in the queue") { try $0.retry(chosen + gone) }
    }
}

struct BatchCancel: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Take jobs out of the queue; running ones save their state and end.")

    @OptionGroup var batch: BatchFile

    @Argument(help: "Jobs, by name or pattern.")
    var jobs: [String] = []

    @Flag(name: .long, help: "All of them.")
    var all = false

    func validate() throws {
        if jobs.isEmpty != all { throw ValidationError("give jobs, or --all") }
    }

    func run() throws {
        let ids = try batch.status().map(\.id)
        let chosen = try all ? ids : JobNames.matching(jobs, among: ids)
        try change(batch, "cancelled") { try $0.cancel(chosen) }
    }
}

struct BatchSchema: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema", abstract: "Print the JSON Schema of pipeline files, for editors.")

    func run() throws { try Console.data(PipelineSchema.json) }
}

/// Changes jobs wherever they are kept, and says how many.
private func change(_ batch: BatchFile, _ word: String, _ body: (RunDatabase) throws -> Int) throws {
    let count = try batch.databases().reduce(0) { count, path in
        let isShare = path.contains(".shard-")
        let database = try RunDatabase(path: path, sharing: isShare ? .oneProcess : .thisMachine)
        defer { database.close() }
        return count + (try body(database))
    }
    Console.message("vdit: \(count) \(count == 1 ? "job" : "jobs") \(word)")
}
