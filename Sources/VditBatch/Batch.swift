import Foundation
import Synchronization
import VditFiles
import VditPipeline
import VditTensor

/// What happens while a batch runs.
public enum BatchEvent: Sendable {
    case started(job: String, attempt: Int)
    case render(job: String, RenderEvent)
    /// Complete; `wasThere` when its output was found and nothing had to be rendered.
    case done(job: String, JobMetrics, wasThere: Bool)
    case failed(job: String, error: String, retrying: Bool)
    case interrupted(job: String)
    case cancelled(job: String)
    /// Jobs of a process that is gone are back in the queue.
    case takenOver([String])
    /// Nothing left to start; other processes run this many jobs.
    case waiting(running: Int)
}

/// How a batch ended.
public struct BatchSummary: Sendable, Equatable {
    public var done = 0
    public var failed = 0
    public var cancelled = 0
    /// Not started: stopped before, or what they need failed.
    public var pending = 0
    /// Run by other processes.
    public var running = 0
    /// Of those that are done: with an output that is gone, or was changed since.
    public var altered = 0
    /// The caller asked to stop.
    public var wasStopped = false

    /// 0 when everything is done, 1 when something failed or could not start.
    public var exitCode: Int32 { failed + pending + cancelled + altered == 0 ? 0 : 1 }
}

/// Runs the jobs of a plan one after the other, sharing them with other processes on the same database.
public final class Batch {
    private let planned: [PlannedJob]
    private let jobs: [String: PlannedJob]
    private let limits: PipelineFile.Limits
    /// Files written beside those of the jobs.
    private let others: [String]
    private let database: RunDatabase
    private let runner: any JobRunner
    private let only: Set<String>?

    /// - Parameter only: ids to run; nil is all.
    public convenience init(
        _ plan: BatchPlan, database: RunDatabase, runner: any JobRunner, only: Set<String>? = nil
    ) {
        self.init(
            plan.jobs, limits: plan.file.limits, others: [plan.file.table?.path].compactMap { $0 }, database: database,
            runner: runner, only: only)
    }

    /// Jobs of any origin.
    init(
        _ jobs: [PlannedJob], limits: PipelineFile.Limits = .init(), others: [String] = [], database: RunDatabase,
        runner: any JobRunner, only: Set<String>? = nil
    ) {
        planned = jobs
        self.jobs = Dictionary(uniqueKeysWithValues: jobs.map { ($0.id, $0) })
        self.limits = limits
        self.others = others
        self.database = database
        self.runner = runner
        self.only = only
    }

    /// Writes the plan to the database; refuses outputs of other runs.
    ///
    /// - Throws: `BatchError.invalid` (73) naming the files that would be overwritten.
    public func prepare() throws {
        try database.register(planned)
        let taken = try foreignOutputs()
        if let first = taken.first {
            let more = taken.count == 1 ? "" : " and \(taken.count - 1) more"
            throw BatchError.invalid(
                "output \(first)\(more)", found: "a file of another run, or of other settings",
                expected: "a new name, or 'overwrite: true'", kind: .cannotCreate)
        }
        let written = planned.flatMap(\.files.results) + others
        for folder in Set(written.map(FilePath.folder)).sorted() { try FilePath.makeFolder(folder) }
    }

    private func foreignOutputs() throws -> [String] {
        func fresh() throws -> [String] {
            try database.status().filter { $0.state == .pending && $0.attempts == 0 }.map(\.id)
        }
        let suspects = try fresh().filter { id in
            guard let job = jobs[id], job.files.results.contains(where: FilePath.exists) else { return false }
            return !job.mayReplaceResults && job.finished() == nil
        }
        if suspects.isEmpty { return [] }
        // Another process may have begun one of them meanwhile.
        let still = Set(try fresh())
        return suspects.filter(still.contains).compactMap { jobs[$0]?.output }
    }

    /// Runs until nothing is left to do, or `stop` is raised: then the current job saves its state first.
    ///
    /// A failing job does not stop the rest. Waits for jobs other processes run.
    ///
    /// - Throws: `BatchError.database` when the state cannot be kept any longer. Outputs that are complete by then
    ///   are recognised by the next run.
    public func run(stop: StopFlag, onEvent: (BatchEvent) throws -> Void = { _ in }) throws -> BatchSummary {
        var watch = LeaseWatch(seconds: limits.lease)
        var model = ""
        var lastWaiting = 0
        while !stop.isStopping {
            let freed = try patiently(stop) { try database.takeOver(&watch) }
            if !freed.isEmpty { try onEvent(.takenOver(freed)) }
            let claimed = try patiently(stop) { try database.claim(model: model, only: only) }
            if let claim = claimed, let job = jobs[claim.job] {
                if !job.model.isEmpty { model = job.model }
                try run(job, claim, stop, onEvent)
                continue
            }
            let running = try database.status().filter { $0.state == .running && only?.contains($0.id) != false }
            if running.isEmpty { break }
            if running.count != lastWaiting { try onEvent(.waiting(running: running.count)) }
            lastWaiting = running.count
            for _ in 0..<10 where !stop.isStopping { usleep(30_000) }
        }
        return try summary(stop)
    }

    private func summary(_ stop: StopFlag) throws -> BatchSummary {
        var summary = BatchSummary()
        for job in try database.status() where only?.contains(job.id) != false {
            switch job.state {
            case .done:
                summary.done += 1
                if job.isAltered { summary.altered += 1 }
            case .failed: summary.failed += 1
            case .cancelled: summary.cancelled += 1
            case .pending: summary.pending += 1
            case .running: summary.running += 1
            }
        }
        summary.wasStopped = stop.isStopping
        return summary
    }

    private func run(
        _ job: PlannedJob, _ claim: Claim, _ stop: StopFlag, _ onEvent: (BatchEvent) throws -> Void
    ) throws {
        let files = job.files
        files.removeLeftovers()
        if let metrics = job.finished() {
            files.removeIntermediate()
            return try conclude(job, claim, metrics, wasThere: true, onEvent)
        }
        try onEvent(.started(job: job.id, attempt: claim.attempt))
        let jobStop = StopFlag(following: stop)
        let heart = Heart(database, claim, jobStop, every: min(5, limits.lease / 6))
        var lastStep = 0
        let result = Result {
            try runner.run(job, stop: jobStop) { event in
                switch event {
                case .step(let step, _, _), .resumed(let step, _):
                    lastStep = step
                    heart.step = step
                case .notice(let text): try? database.note(claim, "notice", text)
                default: break
                }
                try onEvent(.render(job: job.id, event))
            }
        }
        let standing = heart.stop()
        switch result {
        case .success(let metrics):
            try conclude(job, claim, metrics, wasThere: false, onEvent)
        case .failure(PipelineError.cancelled) where standing == .lost:
            break
        case .failure(PipelineError.cancelled) where standing == .cancelRequested && !stop.isStopping:
            try end(claim, .cancelled(step: lastStep))
            try onEvent(.cancelled(job: job.id))
        case .failure(PipelineError.cancelled):
            try end(claim, .interrupted(step: lastStep))
            try onEvent(.interrupted(job: job.id))
        case .failure(let error):
            files.removeLeftovers()
            let failures = try database.status().first { $0.id == job.id }?.failures ?? 0
            let retrying = Self.mayPass(error) && failures < limits.retries
            try end(claim, .failed("\(error)", retry: retrying))
            try onEvent(.failed(job: job.id, error: "\(error)", retrying: retrying))
        }
    }

    /// Records results that are complete. A comparison below its limit has failed, with its numbers.
    private func conclude(
        _ job: PlannedJob, _ claim: Claim, _ metrics: JobMetrics, wasThere: Bool, _ onEvent: (BatchEvent) throws -> Void
    ) throws {
        if let shortfall = metrics.comparison?.shortfall(below: job.comparison?.minPSNR) {
            if try end(claim, .failed(shortfall, retry: false, metrics)) {
                try onEvent(.failed(job: job.id, error: shortfall, retrying: false))
            }
        } else if try end(claim, .done(metrics, wasThere: wasThere)) {
            try onEvent(.done(job: job.id, metrics, wasThere: wasThere))
        }
    }

    /// Whether another attempt could end differently: not for settings and inputs that are wrong.
    private static func mayPass(_ error: any Error) -> Bool {
        switch (error as? any Failure)?.kind {
        case .osError, .ioError, .temporary, .internalError, .cannotCreate, nil: true
        default: false
        }
    }

    @discardableResult
    private func end(_ claim: Claim, _ outcome: RunDatabase.Outcome) throws -> Bool {
        try patiently(nil) { try database.finish(claim, outcome) }
    }

    /// A lock that lasts is waited for: what was computed is worth more than the time.
    private func patiently<Value>(_ stop: StopFlag?, _ body: () throws -> Value) throws -> Value {
        var attempt = 0
        while true {
            do {
                return try body()
            } catch let error as BatchError where error.kind == .temporary && attempt < 10 && stop?.isStopping != true {
                attempt += 1
            }
        }
    }
}

/// Gives signs of life for a claim from a thread of its own, and hears whether it is still wanted.
private final class Heart: Sendable {
    private struct State {
        var step = 0
        var isStopped = false
        var standing = RunDatabase.Standing.held
    }

    private let state = Mutex(State())
    private let ended = DispatchSemaphore(value: 0)

    init(_ database: RunDatabase, _ claim: Claim, _ stop: StopFlag, every seconds: Double) {
        let ticks = max(1, Int(seconds / 0.05))
        Thread.detachNewThread { [self] in
            var tick = 0
            while !state.withLock({ $0.isStopped }) {
                usleep(50_000)
                tick += 1
                if tick % ticks != 0 { continue }
                // A beat that fails once is made up for by the next one.
                guard let standing = try? database.beat(claim, step: step), standing != .held else { continue }
                state.withLock { $0.standing = standing }
                stop.requestStop()
                break
            }
            ended.signal()
        }
    }

    var step: Int {
        get { state.withLock { $0.step } }
        set { state.withLock { $0.step = newValue } }
    }

    /// Ends the thread; says what was heard.
    func stop() -> RunDatabase.Standing {
        state.withLock { $0.isStopped = true }
        ended.wait()
        return state.withLock { $0.standing }
    }
}
