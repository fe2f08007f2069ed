import VditFiles
import VditPipeline

/// One render or comparison of a batch, before any model or clip is opened.
public struct BatchJob: Sendable {
    /// Unique in the batch: the job's name and its value on every axis, as `demo/red-ball/1/radial`.
    public let id: String
    public let name: String
    /// Its value on every axis, in the order of the file.
    let labels: [(axis: String, label: String)]
    let settings: [String: SettingValue]
    let output: SettingValue?
    /// Nil for a render.
    var comparison: ComparisonRequest?
    /// Ids of the jobs that must be done first.
    public internal(set) var needs: [String] = []
    let mark: SourceMark
}

extension PipelineFile {
    /// All jobs, in the order of the file: defaults, then axes, then the job's own settings, the last one wins.
    ///
    /// - Throws: `BatchError.pipeline` with every problem of the file.
    public func expand() throws(BatchError) -> [BatchJob] {
        try document.throwProblems()
        var renders: [BatchJob] = []
        for entry in jobs where entry.comparison == nil {
            var axes = matrix.axes.filter { axis in
                !entry.matrix.axes.contains { SettingTable.sayTheSame($0.name, axis.name) }
            }
            // A job that fixes a setting has no axis for it.
            axes.removeAll { axis in entry.settings.keys.contains { SettingTable.sayTheSame($0, axis.name) } }
            axes += entry.matrix.axes
            var count = 1
            for axis in axes { count = count.multipliedReportingOverflow(by: axis.points.count).partialValue
                if count > limits.maxJobs { break }
            }
            if count > limits.maxJobs || renders.count + count > limits.maxJobs {
                document.report(
                    axes.first?.mark ?? entry.mark,
                    "\(entry.name): its matrix has more combinations than limits.max_jobs allows (\(limits.maxJobs))")
                try document.throwProblems()
            }
            let excluded = matrix.excluded + entry.matrix.excluded
            renders += combinations(axes).compactMap { points in
                job(entry, zip(axes, points).map { ($0.name, $1) }, excluded)
            }
        }
        let byName = Dictionary(grouping: renders, by: \.name)
        var expanded = jobs.flatMap { entry in
            entry.comparison.map { comparisons(entry, $0, of: byName) } ?? byName[entry.name] ?? []
        }
        if expanded.isEmpty {
            document.report(matrix.axes.first?.mark ?? SourceMark(line: 1, column: 1), "matrix: every combination is excluded; there is nothing to do")
        }
        var ids: [String: BatchJob] = [:]
        for job in expanded {
            if ids[job.id] != nil {
                document.report(job.mark, "\(job.id): two jobs have this name and these values")
            }
            ids[job.id] = job
        }
        resolveNeeds(&expanded)
        try document.throwProblems()
        return expanded
    }

    private func combinations(_ axes: [Axis]) -> [[Axis.Point]] {
        axes.reduce([[]]) { partial, axis in partial.flatMap { head in axis.points.map { head + [$0] } } }
    }

    private func job(
        _ entry: JobEntry, _ points: [(axis: String, point: Axis.Point)], _ excluded: [[String: String]]
    ) -> BatchJob? {
        var settings = defaults
        for (_, point) in points { settings.override(by: point.settings) }
        settings.override(by: entry.settings)
        let labels = points.map { ($0.axis, $0.point.label) }
        func value(_ name: String) -> String? {
            labels.first { $0.0 == name }?.1
                ?? settings[name].map { FilePath.label(FilePath.stemIfPath($0.text)) }
        }
        for rule in excluded where rule.allSatisfy({ value($0.key) == $0.value }) { return nil }
        return BatchJob(
            id: ([entry.name] + labels.map(\.1)).joined(separator: "/"), name: entry.name, labels: labels,
            settings: settings, output: entry.output ?? output, mark: entry.mark)
    }

    /// A job needs those instances of another that agree with it on every axis both have.
    private func resolveNeeds(_ expanded: inout [BatchJob]) {
        let byName = Dictionary(grouping: expanded, by: \.name)
        let places = Dictionary(grouping: expanded.indices) { expanded[$0].name }
        for entry in jobs {
            guard let own = places[entry.name] else { continue }
            for need in entry.needs {
                let others = JobIndex(byName[need.name] ?? [], axesOf: expanded[own[0]])
                for place in own {
                    let matching = others.agreeing(with: expanded[place])
                    if matching.isEmpty {
                        document.report(
                            need.mark, "\(expanded[place].id).needs: no '\(need.name)' with the same values")
                    }
                    expanded[place].needs += matching.map(\.id)
                }
            }
        }
    }
}

/// The instances of one entry of a file, found by their values on the axes that those of another have too.
struct JobIndex {
    private let axes: [String]
    private let jobs: [[String?]: [BatchJob]]

    /// - Parameters:
    ///   - other: an instance of the other entry, all of which have the same axes.
    ///   - ignored: axes on which they may differ.
    init(_ jobs: [BatchJob], axesOf other: BatchJob, ignored: Set<String> = []) {
        let axes = (jobs.first?.labels ?? []).map(\.axis).filter { other.label($0) != nil && !ignored.contains($0) }
        self.axes = axes
        self.jobs = Dictionary(grouping: jobs) { job in axes.map { job.label($0) } }
    }

    func agreeing(with other: BatchJob) -> [BatchJob] { jobs[axes.map { other.label($0) }] ?? [] }
}

extension BatchJob {
    func label(_ axis: String) -> String? { labels.first { $0.axis == axis }?.label }
}
