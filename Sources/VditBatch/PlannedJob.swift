import Glibc
import VditFiles
import VditMedia
import VditPipeline
import VditTensor

/// A job that was checked completely: what will be done, where it goes, what it will cost.
public struct PlannedJob: Sendable {
    public enum Work: Sendable {
        case render(RenderJob, RenderPlan)
        case comparison(PlannedComparison)
    }

    public let id: String
    /// Ids of the jobs that must be done first.
    public let needs: [String]
    public let position: Int
    public let work: Work
    /// Digest of everything the result depends on, whatever the machine.
    public let fingerprint: String
    public let overwrite: Bool
    /// Of a render whose latents after every step are there to be compared: the comparison. They are needed until that
    /// is done.
    var comparedIn: (output: String, fingerprint: String)?

    /// Nil for a comparison.
    public var render: RenderPlan? { if case .render(_, let plan) = work { plan } else { nil } }
    /// Nil for a comparison.
    public var renderJob: RenderJob? { if case .render(let job, _) = work { job } else { nil } }
    /// Nil for a render.
    public var comparison: PlannedComparison? { if case .comparison(let comparison) = work { comparison } else { nil } }

    public var output: String {
        switch work {
        case .render(let job, _): job.destination.path
        case .comparison(let comparison): comparison.output
        }
    }

    /// The model and what is merged into it: jobs of one kind run after each other, so that it is loaded once. Empty
    /// for what needs none.
    public var model: String {
        guard let job = renderJob else { return "" }
        let parts = job.model.parts.compactMap { part in part.path.map { "\(part.setting) \($0)" } }
        return ([job.model.path] + parts + job.adapters.map { "\($0.path)=\($0.strength) \($0.target.rawValue)" })
            .joined(separator: " + ")
    }

    /// Of the sampler; for a comparison its candidates.
    public var steps: Int {
        switch work {
        case .render(_, let plan): plan.steps.count
        case .comparison(let comparison): comparison.candidates.count
        }
    }

    /// Files it reads. A render's noise is not among them.
    var inputs: [String] {
        switch work {
        case .render(let job, _): job.inputs.filter { $0.role != "latents" }.map(\.path)
        case .comparison(let comparison): comparison.clips.map(\.path)
        }
    }
}

/// Clips to be measured against a reference, as `vdit compare` does.
public struct PlannedComparison: Sendable {
    public struct Clip: Sendable, Codable, Equatable {
        /// What tells it from the others, for tables.
        public var variant: String
        /// The job that renders it; nil for a file from elsewhere.
        public var job: String?
        public var path: String
    }

    /// The job's name, which all comparisons of one entry of the file share.
    public let name: String
    public let reference: Clip
    public let candidates: [Clip]
    public let length: FileComparison.Length
    /// dB below which the job fails.
    public let minPSNR: Double?
    public let threads: Int
    /// The results as JSON, and a line per frame as CSV.
    public let output: String
    public let csv: String?
    /// Latents after every step to be compared too: of the reference, which stay, and of the candidates, which are
    /// removed then. None for clips alone.
    var trajectories: [StepLatents] = []

    var clips: [Clip] { [reference] + candidates }
}

extension PlannedJob {
    /// The files a job leaves, and those it makes on the way.
    struct Files {
        /// What remains when it is done.
        let results: [String]
        /// Of a render: its checkpoint, and the latents that wait for the decoder. Of a comparison: what only it needs.
        let intermediate: [String]

        var written: [String] { results + intermediate }

        /// Removes what a process that died left half-written under these names; for who holds the job.
        func removeLeftovers() { for path in written { PartFile.removeLeftovers(of: path, makers: .all) } }

        func removeIntermediate() { for path in intermediate { PartFile.remove(path) } }
    }

    var files: Files {
        switch work {
        case .render(let job, _):
            Files(
                results: [output, RunRecord.path(forOutput: output)]
                    + [job.destination.contactSheet, job.saveLatents].compactMap { $0 },
                intermediate: [Checkpoint.path(forOutput: output), companionPath(output, ".latents.safetensors")])
        case .comparison(let comparison):
            Files(
                results: [output] + [comparison.csv].compactMap { $0 },
                intermediate: comparison.trajectories.dropFirst().map(\.folder))
        }
    }

    /// What is remembered of this very job, if its results are there and complete; whoever made them.
    func finished() -> JobMetrics? {
        guard files.results.allSatisfy({ FilePath.exists($0) || OutputFormat.isSequence($0) }) else { return nil }
        switch work {
        case .render:
            guard let record = try? RunRecord(path: RunRecord.path(forOutput: output)), record.job == fingerprint,
                hasTrajectory
            else { return nil }
            if !OutputFormat.isSequence(output) {
                guard let digest = record.output.sha256, (try? Digest.sha256(file: output)) == digest else { return nil }
            }
            OutputLock.clear(output)
            return JobMetrics(record)
        case .comparison(let comparison):
            guard let found = try? FileComparison(path: output), let job = found.job,
                job.fingerprint == fingerprint, found.candidates.count == comparison.candidates.count,
                job.sha256 == comparison.clips.map({ try? clipDigest($0.path) })
            else { return nil }
            return JobMetrics(found, of: comparison)
        }
    }

    /// The latents after every step, where a render keeps them.
    var trajectory: StepLatents? {
        guard case .render(let job, let plan) = work else { return nil }
        return job.saveTrajectory.map { StepLatents(folder: $0, steps: plan.steps.count) }
    }

    /// Whether they are there, as far as they are still needed.
    private var hasTrajectory: Bool {
        guard let trajectory else { return true }
        if let comparedIn, (try? FileComparison(path: comparedIn.output))?.job?.fingerprint == comparedIn.fingerprint {
            return true
        }
        return trajectory.isComplete
    }

    /// Whether files that lie where its results go may give way: what an earlier run of this comparison found.
    var mayReplaceResults: Bool {
        overwrite || comparison != nil && (try? FileComparison(path: output))?.job?.name == id
    }
}

/// SHA-256 of a file, or of the names and contents of a PNG sequence.
func clipDigest(_ path: String) throws -> String {
    let names: [String]
    let folder: String
    if !FilePath.exists(path), FilePath.name(of: path).contains("%") {
        folder = FilePath.folder(of: path)
        let name = FilePath.name(of: path)
        let (start, end) = (name.prefix { $0 != "%" }, name.drop { $0 != "%" }.drop { $0 != "d" }.dropFirst())
        names = (FilePath.names(in: folder) ?? []).filter { $0.hasPrefix(start) && $0.hasSuffix(end) }
    } else if FilePath.isFolder(path) {
        (folder, names) = (path, FilePath.names(in: path) ?? [])
    } else {
        return try Digest.sha256(file: path)
    }
    let lines = try names.sorted().map { try "\($0) \(Digest.sha256(file: "\(folder)/\($0)"))\n" }
    return Digest.sha256(Array(lines.joined().utf8))
}
