import VditPipeline

extension Comparison {
    /// Renders what is missing and measures it. The report is written whenever all variants of a prompt and seed are
    /// done, so that there is one of those when the run is interrupted.
    ///
    /// - Parameters:
    ///   - stop: ends the run after saving the state of the render at work.
    ///   - onEvent: called on the calling thread.
    /// - Throws: `PipelineError.cancelled` when `stop` was raised; otherwise an error that conforms to `Failure`.
    public func run(
        stop: StopFlag = StopFlag(), onEvent: (ComparisonEvent) throws -> Void = { _ in }
    ) throws -> ComparisonResults {
        try folder.alone { try work(stop, onEvent) }
    }

    private func work(
        _ stop: StopFlag, _ onEvent: (ComparisonEvent) throws -> Void
    ) throws -> ComparisonResults {
        for notice in notices { try onEvent(.notice(notice)) }
        let database = try RunDatabase(path: folder.database, sharing: .oneProcess)
        defer { database.close() }
        let runner = RememberingRunner(LocalRunner(first.model, book))
        let batch = Batch(cells.flatMap(\.jobs), database: database, runner: runner)
        try batch.prepare()

        var rows = cells.map { $0.finishedRow() }
        // Also what is done according to the database and whose files are gone, and what failed.
        _ = try database.retry(zip(cells, rows).filter { $1 == nil }.flatMap { $0.0.jobs.map(\.id) })
        for (index, cell) in cells.enumerated() where rows[index] != nil {
            try onEvent(.kept(cell.title, index: index + 1, of: cells.count))
        }

        let settings = first.settings
        var report = Report(folder: job.directory, frameRate: settings.frameRate, threads: settings.threads)
        var reported: ComparisonResults?
        func write() throws -> ComparisonResults {
            try onEvent(.reporting)
            let results = ComparisonResults(self, rows: rows.prefix { $0 != nil }.compactMap { $0 })
            try report.write(results)
            return results
        }
        let cellOf = Dictionary(
            uniqueKeysWithValues: cells.enumerated().flatMap { index, cell in cell.jobs.map { ($0.id, index) } })
        var begun: Set<Int> = []
        _ = try batch.run(stop: stop) { event in
            switch event {
            case .started(let id, _):
                guard let index = cellOf[id], begun.insert(index).inserted else { break }
                try onEvent(.begins(cells[index].title, index: index + 1, of: cells.count))
            case .render(_, let event):
                try onEvent(.render(event))
            case .done(let id, _, _):
                guard let index = cellOf[id], rows[index] == nil, cells[index].jobs.last?.id == id else { break }
                let row = try cells[index].row()
                rows[index] = row
                try onEvent(.finished(row))
                let clip = index / variants.count * variants.count
                let isWhole = rows[clip..<clip + variants.count].allSatisfy { $0 != nil }
                reported = isWhole ? try write() : nil
            case .failed(let id, let error, _):
                throw runner.failure ?? BatchError.database(path: id, reason: error, kind: .internalError)
            case .interrupted, .cancelled, .takenOver, .waiting: break
            }
        }
        if rows.contains(where: { $0 == nil }) {
            let finished = rows.count { $0 != nil }
            throw runner.failure ?? PipelineError.cancelled(step: finished, steps: cells.count, checkpoint: nil)
        }
        return try reported ?? write()
    }
}

/// Remembers why the last job ended early: a comparison ends there.
private final class RememberingRunner: JobRunner {
    private let runner: LocalRunner
    private(set) var failure: (any Error)?

    init(_ runner: LocalRunner) { self.runner = runner }

    func run(_ job: PlannedJob, stop: StopFlag, onEvent: (RenderEvent) throws -> Void) throws -> JobMetrics {
        do {
            return try runner.run(job, stop: stop, onEvent: onEvent)
        } catch {
            failure = error
            throw error
        }
    }
}
