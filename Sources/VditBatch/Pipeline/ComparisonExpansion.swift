import VditFiles

/// What a comparison job of a pipeline file measures, before any clip is opened.
struct ComparisonRequest: Sendable {
    enum Source: Sendable {
        /// The id of a render.
        case render(String)
        case file(SettingValue)
    }

    struct Clip: Sendable {
        let source: Source
        /// What tells it from its reference, for the table: its values on the reference's axes, or its name.
        let variant: String
    }

    let entry: PipelineFile.ComparisonEntry
    let reference: Clip
    let candidates: [Clip]
}

extension PipelineFile {
    /// A job for every render that is no reference, named by that render's values; one for a list of files.
    func comparisons(_ entry: JobEntry, _ comparison: ComparisonEntry, of renders: [String: [BatchJob]]) -> [BatchJob] {
        func job(_ id: String, _ labels: [(axis: String, label: String)], _ request: ComparisonRequest) -> BatchJob {
            let shared = defaults.filter { ComparisonEntry.settings.contains($0.key) }
            var needs: [String] = []
            for clip in [request.reference] + request.candidates {
                if case .render(let id) = clip.source { needs.append(id) }
            }
            return BatchJob(
                id: id, name: entry.name, labels: labels, settings: shared.merging(entry.settings) { $1 },
                output: entry.output, comparison: request, needs: needs, mark: entry.mark)
        }
        switch comparison.clips {
        case .files(let files):
            let clips = files.map { ComparisonRequest.Clip(source: .file($0), variant: FilePath.stem(of: $0.text)) }
            return [
                job(entry.name, [],
                    ComparisonRequest(entry: comparison, reference: clips[0], candidates: Array(clips.dropFirst())))
            ]
        case .renders(let name):
            let all = renders[name] ?? []
            guard let pairing = Pairing(self, entry.name, comparison, all, renders) else { return [] }
            let candidates = all.filter { !pairing.isReference($0) }
            if candidates.isEmpty {
                document.report(
                    comparison.clipsMark, "\(entry.name).compare: "
                        + (all.isEmpty ? "'\(name)' has no renders" : "every render of '\(name)' is a reference; nothing is left to compare"))
            }
            let pairs = candidates.map { ($0, pairing.references(of: $0)) }
            for (problem, found) in [
                ("no reference goes with", pairs.filter { $0.1.isEmpty }),
                ("several references go with", pairs.filter { $0.1.count > 1 }),
            ] {
                guard let first = found.first else { continue }
                let several = first.1.isEmpty ? "" : ": " + first.1.prefix(3).map(\.id).joined(separator: ", ")
                let more = found.count == 1 ? "" : " and \(found.count - 1) more"
                document.report(
                    comparison.referenceMark, "\(entry.name).reference: \(problem) \(first.0.id)\(more)\(several)")
            }
            return pairs.compactMap { candidate, references in
                guard let reference = references.first else { return nil }
                return job(
                    ([entry.name] + candidate.labels.map(\.label)).joined(separator: "/"), candidate.labels,
                    ComparisonRequest(
                        entry: comparison,
                        reference: .init(source: .render(reference.id), variant: pairing.variant(reference)),
                        candidates: [.init(source: .render(candidate.id), variant: pairing.variant(candidate))]))
            }
        }
    }
}

/// Which render is the reference of which.
private struct Pairing {
    /// Axes on which a candidate differs from its reference.
    private let own: Set<String>
    /// Values of the references on axes of the compared job; nil where they are another job's renders.
    private let values: [String: String]?
    private let references: JobIndex

    /// Nil when the reference cannot be found by what is given; that is reported.
    init?(
        _ file: PipelineFile, _ name: String, _ comparison: PipelineFile.ComparisonEntry, _ all: [BatchJob],
        _ renders: [String: [BatchJob]]
    ) {
        guard let first = all.first else { return nil }
        let (references, own, values): ([BatchJob], Set<String>, [String: String]?)
        switch comparison.reference {
        case .job(let job):
            if job == first.name {
                file.document.report(
                    comparison.referenceMark,
                    "\(name).reference: '\(job)' is the job that is compared; give axis values such as {sparse: dense}")
                return nil
            }
            let found = renders[job] ?? []
            let shared = Set(found.flatMap { $0.labels.map(\.axis) })
            (references, values) = (found, nil)
            own = Set(first.labels.map(\.axis)).subtracting(shared)
        case .values(let given):
            let axes = first.labels.map(\.axis)
            var isUsable = true
            for (axis, label, mark) in given {
                let known = axes.contains(axis) ? all.compactMap { $0.label(axis) } : axes
                let wanted = axes.contains(axis) ? label : axis
                if known.contains(wanted) { continue }
                isUsable = false
                let what = axes.contains(axis) ? "'\(first.name)' has no render with \(axis) '\(label)'"
                    : "'\(first.name)' has no axis '\(axis)'"
                let hint = spellingHint(for: wanted, among: Array(Set(known)).sorted())
                file.document.report(mark, "\(name).reference: \(what)\(hint)")
            }
            if !isUsable { return nil }
            let wanted = Dictionary(given.map { ($0.axis, $0.label) }, uniquingKeysWith: { a, _ in a })
            references = all.filter { job in wanted.allSatisfy { job.label($0.key) == $0.value } }
            (values, own) = (wanted, Set(wanted.keys))
        case nil: return nil
        }
        (self.own, self.values) = (own, values)
        self.references = JobIndex(references, axesOf: first, ignored: own)
    }

    func isReference(_ job: BatchJob) -> Bool {
        values?.allSatisfy { job.label($0.key) == $0.value } ?? false
    }

    func references(of candidate: BatchJob) -> [BatchJob] { references.agreeing(with: candidate) }

    func variant(_ job: BatchJob) -> String {
        let labels = job.labels.filter { own.contains($0.axis) }.map(\.label)
        return labels.isEmpty ? job.name : labels.joined(separator: "/")
    }
}
