import Foundation
import Glibc
import VditMedia
import VditPipeline
import VditTensor

/// A job that was checked completely: what will run, where it goes, what it will cost.
public struct PlannedJob: Sendable {
    public let id: String
    public let needs: [String]
    public let position: Int
    public let render: RenderJob
    /// Digest of everything the video depends on, whatever the machine.
    public let fingerprint: String
    public let settings: RenderSettings
    public let estimate: Estimate
    public let overwrite: Bool

    public var output: String { render.destination.path }
    public var model: String { render.model }
}

/// All jobs of a pipeline file, checked.
public struct BatchPlan {
    public let file: PipelineFile
    public let jobs: [PlannedJob]

    /// Opens every model, checks every job as its own run would, and fills in the names of outputs. Computes and
    /// creates nothing.
    ///
    /// - Throws: `BatchError.pipeline` (78) with every problem at the line it comes from; at once what the machine
    ///   is at fault for, such as a full disk.
    public init(_ file: PipelineFile, command: [String] = ["vdit", "batch"]) throws {
        self.file = file
        let planner = Planner(file, command: command)
        jobs = try file.expand().enumerated().compactMap { try planner.plan($0.element, position: $0.offset) }
        planner.checkCollisions(jobs)
        try file.document.throwProblems()
    }
}

/// Checks jobs one after the other; opens each model once.
private final class Planner {
    private let file: PipelineFile
    private let command: [String]
    private var models: [String: Result<ModelDirectory, any Error>] = [:]
    private var fingerprints: [String: String] = [:]
    private var marks: [String: SourceMark] = [:]

    init(_ file: PipelineFile, command: [String]) {
        self.file = file
        self.command = command
    }

    private func report(_ mark: SourceMark, _ text: String) { file.document.report(mark, text) }

    func plan(_ job: BatchJob, position: Int) throws -> PlannedJob? {
        marks[job.id] = job.output?.mark ?? job.mark
        var isComplete = true
        for name in ["model", "prompt_embedding"] where job.settings[name] == nil {
            report(job.mark, "\(job.name).\(name): missing; give it here or in defaults")
            isComplete = false
        }
        guard let template = job.output else {
            report(job.mark, "\(job.name).output: missing; give it here or for the whole file")
            return nil
        }
        guard isComplete, let modelPath = job.settings["model"] else { return nil }
        do {
            let model = try open(modelPath.text)
            var render = RenderJob(
                model: modelPath.text, promptEmbedding: "",
                destination: VideoDestination(path: template.text))
            for (name, value) in job.settings.sorted(by: { $0.key < $1.key }) {
                do {
                    try SettingTable.byName[name]?.apply(value, &render)
                } catch {
                    throw Misplaced(mark: value.mark, error: error)
                }
            }
            render.request.seed = render.request.seed ?? (render.latents == nil ? 0 : nil)
            render.request.threads = render.request.threads ?? Surroundings.processors()
            render.request.origins = Dictionary(
                uniqueKeysWithValues: job.settings.keys.map { ($0, Origin.file) })
            render.memoryLimit = [render.memoryLimit, file.limits.memory].compactMap { $0 }.min()
            render.destination.options.existing = .replace
            let settings = try RenderSettings(render.request, model: model)

            let names = OutputTemplate(job, settings: settings, position: position)
            guard let output = fill(template, names) else { return nil }
            render.destination.path = output
            for (name, path) in [("save_latents", \RenderJob.saveLatents), ("contact_sheet", \.destination.contactSheet)] {
                if let written = job.settings[name], let filled = fill(written, names) { render[keyPath: path] = filled }
            }
            render.command = command + [file.path, "--only", job.id]
            // Another job may make it.
            if let latents = render.latents, !PathName.exists(latents), !job.needs.isEmpty { render.latents = nil }
            let estimate = try Renderer(Self.checkable(render), model: model).estimate
            render.latents = job.settings["latents"]?.text
            render.fingerprint = try fingerprint(render, settings, model)
            return PlannedJob(
                id: job.id, needs: job.needs, position: position, render: render,
                fingerprint: render.fingerprint ?? "", settings: settings, estimate: estimate,
                overwrite: job.settings["overwrite"]?.flag == true)
        } catch let error as Misplaced {
            report(error.mark, "\(error.error)")
        } catch let error as any Failure where error.kind == .ioError || error.kind == .osError {
            // The machine is at fault, not the file.
            throw error
        } catch {
            report(mark(of: "\(error)", job), "\(error)")
        }
        return nil
    }

    private struct Misplaced: Error {
        let mark: SourceMark
        let error: any Error
    }

    private func open(_ path: String) throws -> ModelDirectory {
        let opened = models[path] ?? Result { try ModelDirectory(path: path) }
        models[path] = opened
        return try opened.get()
    }

    private func fill(_ template: SettingValue, _ names: OutputTemplate) -> String? {
        switch names.fill(template.text) {
        case .success(let path): return path
        case .failure(let error):
            report(template.mark, "output: \(error.text)")
            return nil
        }
    }

    /// The setting an error speaks of: by its name, or by the path that is its value.
    private func mark(of message: String, _ job: BatchJob) -> SourceMark {
        let place = message.prefix { $0 != ":" }.replacing(" ", with: "_")
        if let named = job.settings[String(place)] { return named.mark }
        if message.hasPrefix("output "), let output = job.output { return output.mark }
        let words = ["crf": "crf", "codec": "codec", "pixel": "pix_fmt", "preset": "preset"]
        if let word = words.first(where: { message.hasPrefix($0.key) }), let named = job.settings[word.value] {
            return named.mark
        }
        let byPath = job.settings.values.filter {
            if case .text(let text) = $0.content { return !text.isEmpty && message.hasPrefix(text) }
            return false
        }
        if let longest = byPath.max(by: { $0.text.count < $1.text.count }) { return longest.mark }
        if message.contains("option"), let options = job.settings["sparse_options"] { return options.mark }
        if message.contains("density"), let density = job.settings["density"] { return density.mark }
        return job.output.map { message.hasPrefix(PathName.folder(of: $0.text)) ? $0.mark : job.mark } ?? job.mark
    }

    /// The same job as if the folders it will make were there, which checks may not create, and with memory enough:
    /// how much there is shows when its turn comes.
    private static func checkable(_ render: RenderJob) -> RenderJob {
        func moved(_ path: String) -> String {
            PathName.existingFolder(PathName.folder(of: path)) + "/" + PathName.name(of: path)
        }
        var render = render
        render.memoryLimit = .max
        render.destination.path = moved(render.destination.path)
        render.destination.contactSheet = render.destination.contactSheet.map(moved)
        render.saveLatents = render.saveLatents.map(moved)
        return render
    }

    // MARK: Identity

    private func fingerprint(
        _ render: RenderJob, _ settings: RenderSettings, _ model: ModelDirectory
    ) throws -> String {
        var lines = settings.table.filter { !SettingTable.withoutEffect.contains($0.name) }
            .map { "\($0.name)=\($0.value)" }
        let modelDigest = try fingerprints[render.model] ?? model.fingerprint()
        fingerprints[render.model] = modelDigest
        lines.append("model=\(modelDigest)")
        lines.append(
            "vae=" + model.files.map { "\($0.name) \($0.bytes) \($0.headerSha256)" }.joined(separator: ","))
        for (name, path) in [
            ("prompt", render.promptEmbedding), ("negative", render.negativePromptEmbedding), ("latents", render.latents),
        ] {
            guard let path else { continue }
            let digest = PathName.exists(path) && name != "latents" ? try digest(path) : PathName.canonical(path)
            lines.append("\(name)=\(digest)")
        }
        let options = render.destination.options
        lines.append("output=\(PathName.canonical(render.destination.path))")
        lines.append(
            "encoding=\(options.codec?.rawValue ?? "-") \(options.crf.map(String.init) ?? "-") "
                + "\(options.pixelFormat ?? "-") \(options.preset ?? "-") \(render.destination.metadata) "
                + "\(render.saveLatents ?? "-") \(render.destination.contactSheet ?? "-") \(render.fallback)")
        return Digest.sha256(Array(lines.joined(separator: "\n").utf8))
    }

    private func digest(_ path: String) throws -> String {
        if let known = fingerprints[path] { return known }
        let digest = try Digest.sha256(file: path)
        fingerprints[path] = digest
        return digest
    }

    // MARK: Collisions

    /// No two jobs write the same file, and none writes what another reads.
    func checkCollisions(_ jobs: [PlannedJob]) {
        var writers: [String: String] = [:]
        for job in jobs {
            var others: Set<String> = []
            for path in JobFiles(job.render).written.map(PathName.canonical) {
                // A clip and its record collide with the same other job: said once.
                if let other = writers.updateValue(job.id, forKey: path), other != job.id, others.insert(other).inserted {
                    report(
                        marks[job.id] ?? SourceMark(line: 1, column: 1),
                        "output: \(job.id) and \(other) both write \(path); "
                            + "a template needs a placeholder for what distinguishes them")
                }
            }
        }
        for job in jobs {
            let inputs = [job.render.promptEmbedding, job.render.negativePromptEmbedding ?? "", file.path]
            for input in inputs where !input.isEmpty {
                if let writer = writers[PathName.canonical(input)] {
                    report(marks[writer] ?? SourceMark(line: 1, column: 1), "output: \(writer) would overwrite the input \(input)")
                }
            }
            if let latents = job.render.latents.map(PathName.canonical), let writer = writers[latents],
                !job.needs.contains(writer)
            {
                report(
                    marks[job.id] ?? SourceMark(line: 1, column: 1),
                    "latents: \(job.id) starts from a file that \(writer) writes; say so with needs")
            }
        }
    }
}

/// The files a render leaves, and those it makes on the way.
struct JobFiles {
    let output: String
    /// What remains when it is done.
    let results: [String]
    /// Its checkpoint, and the latents that wait for the decoder.
    let intermediate: [String]

    init(_ render: RenderJob) {
        output = render.destination.path
        results = [output, RunRecord.path(forOutput: output)]
            + [render.destination.contactSheet, render.saveLatents].compactMap { $0 }
        intermediate = [Checkpoint.path(forOutput: output), companionPath(output, ".latents.safetensors")]
    }

    var written: [String] { results + intermediate }

    /// Removes what a process that died left half-written under these names.
    func removeLeftovers() {
        for path in written {
            let folder = PathName.folder(of: path)
            let prefix = ".\(PathName.name(of: path))."
            for name in PathName.names(in: folder) where name.hasPrefix(prefix) && name.hasSuffix(".part") {
                let process = name.dropFirst(prefix.count).dropLast(".part".count)
                if process.allSatisfy(\.isNumber) { unlink("\(folder)/\(name)") }
            }
        }
    }

    func removeIntermediate() { for path in intermediate { unlink(path) } }
}
