import Foundation
import Glibc
import VditFiles
import VditMedia
import VditPipeline
import VditTensor

/// All jobs of a pipeline file, checked.
public struct BatchPlan {
    public let file: PipelineFile
    public let jobs: [PlannedJob]

    /// Opens every model, checks every job as its own run would, and fills in the names of outputs. Computes and
    /// creates nothing.
    ///
    /// - Throws: `BatchError.pipeline` (78) with every problem at the line it comes from; at once what the machine
    ///   is at fault for, such as a full disk.
    ///
    /// - Parameter book: where prompts in words are noted; who runs the jobs encodes them.
    public init(
        _ file: PipelineFile, command: [String] = ["vdit", "batch"], book: PromptBook = PromptBook()
    ) throws {
        self.file = file
        let planner = Planner(file, command: command, book: book)
        let all = try Array(file.expand().enumerated())
        planner.jobs = Dictionary(uniqueKeysWithValues: all.map { ($0.element.id, $0.element) })
        // Comparisons are of renders, wherever those stand in the file.
        let renders = try all.filter { $0.element.comparison == nil }
            .compactMap { try planner.plan($0.element, position: $0.offset) }
        let comparisons = try all.compactMap { position, job in
            try job.comparison.flatMap { try planner.plan(job, $0, position: position) }
        }
        jobs = (renders + comparisons).sorted { $0.position < $1.position }
        planner.checkCollisions(jobs)
        planner.checkTable()
        planner.checkCycles(jobs)
        try file.document.throwProblems()
    }
}

extension BatchPlan {
    /// The same with some of its jobs.
    ///
    /// - Parameter ids: nil is all.
    public func only(_ ids: Set<String>?) -> BatchPlan {
        ids.map { ids in BatchPlan(file, jobs: jobs.filter { ids.contains($0.id) }) } ?? self
    }

    private init(_ file: PipelineFile, jobs: [PlannedJob]) { (self.file, self.jobs) = (file, jobs) }

    /// Writes the file `table:` asks for, if any comparison has run.
    ///
    /// - Throws: `FileError.inaccessible` when it cannot be written.
    public func writeTable(_ status: [JobStatus]) throws {
        let table = VariantTable(status)
        guard let path = file.table?.path, !table.rows.isEmpty else { return }
        try AtomicFile.write(Array(table.text(for: path).utf8), to: path, existing: .replace)
    }
}

/// Checks jobs one after the other; opens each model once.
final class Planner {
    let file: PipelineFile
    private let command: [String]
    private let processors = Surroundings.processors()
    private let known = KnownFiles()
    private struct ModelKey: Hashable {
        let model: ModelReference
        let adapters: [AdapterChoice]
    }
    private var models: [ModelKey: Result<ModelDirectory, any Error>] = [:]
    /// The prompts of all jobs, which are encoded together.
    let book: PromptBook
    /// Of files, by path.
    private var fingerprints: [String: String] = [:]
    /// All jobs, by id.
    var jobs: [String: BatchJob] = [:]
    /// Renders that are right, by id and by the file they write, and what their placeholders say.
    private(set) var renders: [String: PlannedJob] = [:]
    private(set) var writers: [String: PlannedJob] = [:]
    private(set) var names: [String: OutputTemplate] = [:]
    private(set) var isMissingRenders = false
    /// Comparison jobs whose clips are known not to be alike: said once.
    var unlike: Set<String> = []

    init(_ file: PipelineFile, command: [String], book: PromptBook) {
        self.book = book
        self.file = file
        self.command = command
    }

    func report(_ mark: SourceMark, _ text: String) { file.document.report(mark, text) }

    /// A render.
    func plan(_ job: BatchJob, position: Int) throws -> PlannedJob? {
        guard let planned = try render(job, position: position) else {
            isMissingRenders = true
            return nil
        }
        renders[job.id] = planned
        writers[FilePath.real(planned.output)] = planned
        return planned
    }

    private func render(_ job: BatchJob, position: Int) throws -> PlannedJob? {
        var isComplete = true
        let prompts = SettingTable.all.filter { $0.subject == SettingTable.promptSubject }.map(\.name)
        for names in [["model", "transformer"], prompts] where !names.contains(where: { job.settings[$0] != nil }) {
            let others = names.count > 1 ? " (or \(names.dropFirst().joined(separator: " or ")))" : ""
            report(job.mark, "\(job.name).\(names[0]): missing; give it\(others) here or in defaults")
            isComplete = false
        }
        guard let template = job.output else {
            report(job.mark, "\(job.name).output: missing; give it here or for the whole file")
            return nil
        }
        guard isComplete else { return nil }
        do {
            var render = RenderJob(
                model: "", promptEmbedding: "", destination: VideoDestination(path: template.text))
            for (name, value) in job.settings.sorted(by: { $0.key < $1.key }) {
                try SettingTable.key(name)?.put(value.given, from: .file, into: &render)
            }
            let model = try blaming("model") { try open(render.model, render.adapters) }
            render.request.unseeded = .fixed(0)
            render.request.threads = render.request.threads ?? processors
            render.memoryLimit = [render.memoryLimit, file.limits.memory].compactMap { $0 }.min()
            render.destination.options.existing = .replace
            let settings = try RenderSettings(
                render.request, model: model.specification, sampler: model.scheduler, known: known)

            let names = OutputTemplate(job, settings: settings, position: position)
            self.names[job.id] = names
            guard let output = fill(template, names) else { return nil }
            render.destination.path = output
            for (name, path) in [("save_latents", \RenderJob.saveLatents), ("contact_sheet", \.destination.contactSheet)] {
                if let written = job.settings[name], let filled = fill(written, names) { render[keyPath: path] = filled }
            }
            render.command = command + [file.path, "--only", job.id]
            // Another job may make it.
            if let latents = render.latents, !FilePath.exists(latents), !job.needs.isEmpty { render.latents = nil }
            let (plan, texts) = try Renderer.check(render, settings, model: model, book, known: known)
            render.latents = job.settings["latents"]?.text
            render.fingerprint = try fingerprint(render, settings, texts, model)
            return PlannedJob(
                id: job.id, needs: job.needs, position: position,
                work: .render(render, plan),
                fingerprint: render.fingerprint ?? "", overwrite: job.settings["overwrite"]?.flag == true)
        } catch let error as any Failure where error.kind == .ioError || error.kind == .osError {
            // The machine is at fault, not the file.
            throw error
        } catch {
            report(mark(of: error, job), "\(error)")
        }
        return nil
    }

    private func open(_ model: ModelReference, _ adapters: [AdapterChoice] = []) throws -> ModelDirectory {
        let key = ModelKey(model: model, adapters: adapters)
        let opened = models[key] ?? Result {
            try adapters.isEmpty ? ModelDirectory(model) : open(model).adapted(by: adapters)
        }
        models[key] = opened
        return try opened.get()
    }

    func fill(_ template: SettingValue, _ names: OutputTemplate) -> String? {
        switch names.fill(template.text) {
        case .success(let path): return path
        case .failure(let error):
            report(template.mark, "output: \(error.text)")
            return nil
        }
    }

    /// Where the setting at fault was written.
    private func mark(of error: any Error, _ job: BatchJob) -> SourceMark {
        guard let setting = (error as? any Failure)?.setting else { return job.mark }
        return (setting == "output" ? job.output : job.settings[setting])?.mark ?? job.mark
    }

    // MARK: Identity

    private func fingerprint(
        _ render: RenderJob, _ settings: RenderSettings, _ texts: [(name: String, digest: String)], _ model: ModelDirectory
    ) throws -> String {
        var lines = settings.table.filter { SettingTable.byName[$0.name]?.effect != SettingEffect.none }
            .map { "\($0.name)=\($0.value)" }
        lines.append("model=\(try model.fingerprint())")
        lines.append(
            "vae=" + model.files.map { "\($0.name) \($0.bytes) \($0.headerSha256)" }.joined(separator: ","))
        if let adapters = model.adapters.identity { lines.append("lora=\(adapters)") }
        let embeddings = [("prompt", render.prompt.embedding), ("negative", render.negativePrompt?.embedding)]
        let pictures = render.pictureFiles.map { ($0.setting, Optional($0.path)) }
        for (name, path) in embeddings + pictures + [("latents", render.latents)] {
            guard let path else { continue }
            let digest = FilePath.exists(path) && name != "latents" ? try digest(path) : FilePath.canonical(path)
            lines.append("\(name)=\(digest)")
        }
        for (name, digest) in texts { lines.append("\(name)=\(digest)") }
        let options = render.destination.options
        lines.append("output=\(FilePath.canonical(render.destination.path))")
        lines.append(
            "encoding=\(options.codec?.rawValue ?? "-") \(options.crf.map(String.init) ?? "-") "
                + "\(options.pixelFormat ?? "-") \(options.preset ?? "-") \(render.destination.metadata) "
                + "\(render.saveLatents ?? "-") \(render.destination.contactSheet ?? "-") \(render.fallback)")
        // Settings that came later; who gives none keeps the fingerprint of before.
        for row in SettingTable.rows(of: .output) where row.isKey && row.isRecorded {
            if let value = row.given(in: render) { lines.append("\(row.name)=\(value)") }
        }
        return Digest.sha256(Array(lines.joined(separator: "\n").utf8))
    }

    func digest(_ path: String) throws -> String {
        if let known = fingerprints[path] { return known }
        let digest = try clipDigest(path)
        fingerprints[path] = digest
        return digest
    }

    // MARK: Between jobs

    /// Files that are compared may be those of a job that, by its needs, waits for the comparison.
    func checkCycles(_ planned: [PlannedJob]) {
        let needs = Dictionary(uniqueKeysWithValues: planned.map { ($0.id, $0.needs) })
        var finished: Set<String> = []
        func visit(_ id: String, _ trail: [String]) {
            if finished.contains(id) { return }
            if let start = trail.firstIndex(of: id) {
                report(jobs[id]?.mark ?? place(id), "needs: a cycle: \((trail[start...] + [id]).joined(separator: " → "))")
                finished.formUnion(trail)
                return
            }
            for need in needs[id] ?? [] { visit(need, trail + [id]) }
            finished.insert(id)
        }
        for job in planned { visit(job.id, []) }
    }

    /// Where the output of a job is named.
    private func place(_ id: String) -> SourceMark {
        jobs[id].map { $0.output?.mark ?? $0.mark } ?? SourceMark(line: 1, column: 1)
    }

    /// No two jobs write the same file, and none writes what another reads.
    func checkCollisions(_ jobs: [PlannedJob]) {
        var writers: [String: String] = [:]
        for job in jobs {
            var others: Set<String> = []
            for path in job.files.written.map(FilePath.real) {
                // A clip and its record collide with the same other job: said once.
                if let other = writers.updateValue(job.id, forKey: path), other != job.id, others.insert(other).inserted {
                    report(
                        place(job.id),
                        "output: \(job.id) and \(other) both write \(path); "
                            + "a template needs a placeholder for what distinguishes them")
                }
            }
        }
        let inputs = Set(jobs.flatMap(\.inputs) + [file.path]).filter { !$0.isEmpty }
        let places = Dictionary(uniqueKeysWithValues: inputs.map { ($0, FilePath.real($0)) })
        for job in jobs {
            for input in job.inputs + [file.path] {
                if let writer = places[input].flatMap({ writers[$0] }), !job.needs.contains(writer) {
                    report(place(writer), "output: \(writer) would overwrite the input \(input)")
                }
            }
            if let latents = job.renderJob?.latents.map(FilePath.real), let writer = writers[latents],
                !job.needs.contains(writer)
            {
                report(place(job.id), "latents: \(job.id) starts from a file that \(writer) writes; say so with needs")
            }
        }
        let database = (path: file.database, mark: file.databaseMark)
        for (name, own) in [("table", file.table), ("database", database)] {
            guard let own else { continue }
            for path in name == "database" ? ["", "-wal", "-shm"].map({ own.path + $0 }) : [own.path] {
                if let writer = writers[FilePath.real(path)] {
                    report(own.mark, "\(name): \(writer) writes \(path) too")
                }
            }
        }
        // Both may lie in the folder of a model.
        var read = FileRoles(reads: ["pipeline file": file.path])
        for path in inputs.sorted() where path != file.path && !FilePath.isFolder(path) { read.read(path, as: "input") }
        for (name, own) in [("table", file.table), ("database", database)] {
            guard let own else { continue }
            var files = read
            files.make(own.path, as: name)
            do throws(FileError) { try files.check() } catch { report(own.mark, "\(error)") }
            read.read(own.path, as: name)
        }
    }

    /// Every run makes the table anew: it may replace that of an earlier one, and nothing else.
    func checkTable() {
        guard let (path, mark) = file.table, FilePath.isTaken(path), file.defaults["overwrite"]?.flag != true
        else { return }
        let header = VariantTable([]).text(for: path).prefix { $0 != "\n" }
        let found = try? InputFile.contents(of: path, limit: 16 << 20)
        if found?.starts(with: header.utf8) != true {
            report(mark, "table: \(path) is there already and is no table of a batch")
        }
    }
}
