import VditFiles
import VditPipeline
import VditTensor
import Yams

extension PipelineFile {
    /// One item of `jobs:`: renders, or comparisons of other jobs' renders.
    struct JobEntry: Sendable {
        let name: String
        let settings: [String: SettingValue]
        let matrix: Matrix
        let needs: [(name: String, mark: SourceMark)]
        let output: SettingValue?
        /// Nil for renders.
        let comparison: ComparisonEntry?
        let mark: SourceMark
    }

    /// What `compare:` and the keys that go with it say.
    struct ComparisonEntry: Sendable {
        enum Clips: Sendable {
            /// All renders of a job.
            case renders(of: String)
            /// The reference, then the candidates.
            case files([SettingValue])
        }

        enum Reference: Sendable {
            /// The render that has these values on these axes, and the candidate's on all others.
            case values([(axis: String, label: String, mark: SourceMark)])
            /// The render of this job that shares the candidate's values.
            case job(String)
        }

        let clips: Clips
        let clipsMark: SourceMark
        let reference: Reference?
        let referenceMark: SourceMark
        /// Compare as many frames as the shorter clip has.
        let isAligned: Bool
        let minPSNR: Double?
        let csv: SettingValue?

        static let ownKeys = ["compare", "reference", "align", "min_psnr", "csv"]
        /// Settings of a render that a comparison has too.
        static let settings = ["threads", "overwrite"]
        static let keys = ["name", "compare", "reference", "align", "min_psnr", "output", "csv", "needs"] + settings
    }

    static let jobKeys = ["name", "matrix", "needs", "output"] + ComparisonEntry.ownKeys + SettingTable.keys
}

extension PipelineFile.JobEntry {
    /// Names of the jobs that must be done first, and the key that says so.
    var dependencies: [(name: String, key: String, mark: SourceMark)] {
        var names = needs.map { ($0.name, "needs", $0.mark) }
        if let comparison {
            if case .renders(let name) = comparison.clips { names.append((name, "compare", comparison.clipsMark)) }
            if case .job(let name) = comparison.reference { names.append((name, "reference", comparison.referenceMark)) }
        }
        return names
    }
}

extension PipelineDocument {
    /// The items of `jobs:`.
    func jobs(_ list: Node, _ environment: [String: String]) -> [PipelineFile.JobEntry] {
        items(list, of: "jobs").enumerated().compactMap { index, node in
            let pairs = entries(node, of: "jobs[\(index)]", known: PipelineFile.jobKeys)
            return node.mapping == nil ? nil : job(node, pairs, at: index, environment)
        }
    }

    private func job(
        _ node: Node, _ pairs: [Entry], at index: Int, _ environment: [String: String]
    ) -> PipelineFile.JobEntry {
        let mark = Self.mark(node)
        func value(_ key: String) -> Node? { pairs.first { $0.key == key }?.value }
        let name = value("name").flatMap { text($0, "jobs[\(index)].name", "a name") }
        if value("name") == nil { report(mark, "jobs[\(index)].name: missing") }
        let what = name ?? "jobs[\(index)]"
        if let name, name != FilePath.label(name) || name.hasPrefix(".") {
            report(
                value("name").map(Self.mark) ?? mark,
                "jobs[\(index)].name: found '\(name)', expected letters, digits and . _ - + =")
        }
        let needs: [(String, SourceMark)] = value("needs").map {
            items($0, of: "\(what).needs").compactMap { item in
                text(item, "\(what).needs", "a job's name").map { ($0, Self.mark(item)) }
            }
        } ?? []
        let comparison = comparison(pairs, what, environment)
        let settings = pairs.filter {
            SettingTable.key($0.key) != nil
                && (comparison == nil || PipelineFile.ComparisonEntry.settings.contains($0.key))
        }
        return PipelineFile.JobEntry(
            name: name ?? "job-\(index)", settings: self.settings(settings, of: "\(what).", in: environment),
            matrix: comparison == nil
                ? value("matrix").map { matrix($0, "\(what).matrix", environment) } ?? .init() : .init(),
            needs: needs, output: value("output").flatMap { template($0, "\(what).output", environment) },
            comparison: comparison, mark: mark)
    }

    /// A path with placeholders.
    func template(_ node: Node, _ what: String, _ environment: [String: String]) -> SettingValue? {
        text(node, what, "a path with {placeholders}").flatMap { path(of: $0, node, what, environment) }
            .map { SettingValue(content: .text($0), mark: Self.mark(node)) }
    }

    // MARK: Comparisons

    /// Nil for a render; keys that belong to the other kind of job are reported.
    private func comparison(
        _ pairs: [Entry], _ what: String, _ environment: [String: String]
    ) -> PipelineFile.ComparisonEntry? {
        typealias Entry = PipelineFile.ComparisonEntry
        func pair(_ key: String) -> PipelineDocument.Entry? { pairs.first { $0.key == key } }
        guard let compare = pair("compare") else {
            for pair in pairs where Entry.ownKeys.contains(pair.key) {
                report(pair.keyMark, "\(what).\(pair.key): belongs to a comparison; this job has no 'compare'")
            }
            return nil
        }
        for pair in pairs where !Entry.keys.contains(pair.key) {
            report(
                pair.keyMark,
                "\(what).\(pair.key): belongs to a render; a comparison has \(Entry.keys.joined(separator: ", "))")
        }
        let minPSNR = pair("min_psnr").flatMap { number($0.value, "\(what).min_psnr") }
        let csv = pair("csv").flatMap { template($0.value, "\(what).csv", environment) }
        let clips = clips(compare.value, "\(what).compare", environment)
        let reference = pair("reference").flatMap { self.reference($0.value, "\(what).reference") }
        switch (clips, pair("reference")) {
        case (.renders(let name), nil):
            report(
                compare.keyMark,
                "\(what).reference: missing; say which renders of '\(name)' the others are compared with, such as {sparse: dense}")
        case (.files, let given?):
            report(given.keyMark, "\(what).reference: the first file of 'compare' is the reference; remove this")
        default: break
        }
        return Entry(
            clips: clips, clipsMark: Self.mark(compare.value), reference: reference,
            referenceMark: pair("reference").map { Self.mark($0.value) } ?? Self.mark(compare.value),
            isAligned: pair("align").flatMap { flag($0.value, "\(what).align") } ?? false, minPSNR: minPSNR, csv: csv)
    }

    private func clips(
        _ node: Node, _ what: String, _ environment: [String: String]
    ) -> PipelineFile.ComparisonEntry.Clips {
        guard case .sequence = node else {
            return .renders(of: text(node, what, "a job's name, or a list of files") ?? "")
        }
        let files = items(node, of: what).compactMap { item in
            text(item, what, "a file").flatMap { path(of: $0, item, what, environment) }
                .map { SettingValue(content: .text($0), mark: Self.mark(item)) }
        }
        if items(node, of: what).count < 2 {
            report(Self.mark(node), "\(what): found \(files.count) of the files, expected a reference and at least one candidate")
        }
        return .files(files)
    }

    private func reference(_ node: Node, _ what: String) -> PipelineFile.ComparisonEntry.Reference? {
        guard case .mapping = node else {
            return text(node, what, "axis values such as {sparse: dense}, or a job's name").map { .job($0) }
        }
        let values = entries(node, of: what).compactMap { entry in
            written(entry.value, "\(what).\(entry.key)", "a value")
                .map { (axis: entry.key, label: FilePath.label(FilePath.stemIfPath($0)), mark: entry.keyMark) }
        }
        if values.isEmpty { report(Self.mark(node), "\(what): is empty; expected axis values such as {sparse: dense}") }
        return .values(values)
    }

    // MARK: Names

    func checkNames(_ jobs: [PipelineFile.JobEntry]) {
        var seen: [String: PipelineFile.JobEntry] = [:]
        for job in jobs {
            if let other = seen[job.name] {
                report(job.mark, "jobs: '\(job.name)' is the name of another job, on line \(other.mark.line)")
            }
            seen[job.name] = job
        }
        for job in jobs {
            for (name, key, mark) in job.dependencies where !name.isEmpty {
                guard let other = seen[name] else {
                    let hint = key == "compare" && name.contains(where: { "./".contains($0) })
                        ? "; files are given as a list" : spellingHint(for: name, among: jobs.map(\.name))
                    report(mark, "\(job.name).\(key): no job named '\(name)'\(hint)")
                    continue
                }
                if key != "needs", other.comparison != nil, name != job.name {
                    report(mark, "\(job.name).\(key): '\(name)' is a comparison; only renders are compared")
                }
            }
        }
        // A job that reaches itself over needs.
        var finished: Set<String> = []
        func visit(_ name: String, _ trail: [String]) {
            if finished.contains(name) { return }
            if let start = trail.firstIndex(of: name) {
                let cycle = trail[start...] + [name]
                report(
                    seen[name]?.mark ?? SourceMark(line: 1, column: 1),
                    "needs: a cycle: \(cycle.joined(separator: " → "))")
                finished.formUnion(trail)
                return
            }
            for need in seen[name]?.dependencies ?? [] where seen[need.name] != nil {
                visit(need.name, trail + [name])
            }
            finished.insert(name)
        }
        for job in jobs { visit(job.name, []) }
    }
}
