import Foundation
import GRDB

extension RunDatabase {
    /// Takes the next job whose needs are done: failed ones last, those of `model` first.
    public func claim(model: String, only: Set<String>?) throws -> Claim? {
        try write { db in
            let ready = try Row.fetchCursor(
                db,
                sql: """
                    SELECT id, attempts FROM job WHERE state = 'pending' AND current = 1 AND NOT EXISTS (
                        SELECT 1 FROM need JOIN job AS needed ON needed.id = need.needs
                        WHERE need.job = job.id AND needed.state <> 'done')
                    ORDER BY failures, model NOT IN (?, ''), position
                    """, arguments: [model])
            while let row = try ready.next() {
                let id: String = try row.decode(forColumn: "id")
                if let only, !only.contains(id) { continue }
                let attempts: Int = try row.decode(forColumn: "attempts")
                guard 0..<Int(Int32.max) ~= attempts else { throw Self.damaged(path, "\(attempts) attempts of a job") }
                let attempt = attempts + 1
                try db.execute(
                    sql: """
                        UPDATE job SET state = 'running', owner = ?, beat = beat + 1, attempts = ?, cancel = 0,
                            error = NULL, finished_at = NULL, started_at = ? WHERE id = ?
                        """,
                    arguments: [worker.description, attempt, time, id])
                try note(db, id, attempt, "started", "by process \(worker.process) on \(worker.host)")
                return Claim(job: id, attempt: attempt)
            }
            return nil
        }
    }

    /// What the holder of a claim learns when it gives a sign of life.
    public enum Standing: Sendable { case held, cancelRequested, lost }

    /// Counts up the beat of a claim.
    public func beat(_ claim: Claim, step: Int) throws -> Standing {
        try write { db in
            try db.execute(
                sql: "UPDATE job SET beat = beat + 1, step = ? WHERE id = ? AND attempts = ? AND owner = ?",
                arguments: [step, claim.job, claim.attempt, worker.description])
            if db.changesCount == 0 { return .lost }
            let cancel = try Bool.fetchOne(db, sql: "SELECT cancel FROM job WHERE id = ?", arguments: [claim.job])
            return cancel == true ? .cancelRequested : .held
        }
    }

    /// How an attempt ended.
    public enum Outcome: Sendable {
        /// Complete; `wasThere` when it was found so and nothing was made.
        case done(JobMetrics, wasThere: Bool = false)
        /// Failed, perhaps with results; tried again when `retry` says so.
        case failed(String, retry: Bool, JobMetrics? = nil)
        /// Stopped by the caller; its checkpoint is where it goes on.
        case interrupted(step: Int)
        case cancelled(step: Int)
    }

    /// Ends a claim.
    ///
    /// - Returns: false when the claim had been taken over by another process: then nothing is recorded.
    @discardableResult
    public func finish(_ claim: Claim, _ outcome: Outcome) throws -> Bool {
        try write { db in
            let end = { (assignments: String, arguments: StatementArguments) -> Bool in
                try db.execute(
                    sql: "UPDATE job SET owner = NULL, \(assignments) WHERE id = ? AND attempts = ? AND owner = ?",
                    arguments: arguments + [claim.job, claim.attempt, self.worker.description])
                return db.changesCount == 1
            }
            switch outcome {
            case .done(let metrics, let wasThere):
                guard try end(
                    "state = 'done', deaths = 0, step = steps, metrics = ?, finished_at = ?",
                    [try Self.json(metrics), time])
                else { return false }
                try note(
                    db, claim.job, claim.attempt, "done", wasThere ? "it was complete" : "in \(seconds(metrics.seconds))")
                if !wasThere { try renew(db, needing: claim.job) }
            case .failed(let error, let retry, let metrics):
                guard try end(
                    "state = ?, failures = failures + 1, error = ?, metrics = ?, finished_at = ?",
                    [retry ? "pending" : "failed", error, try metrics.map(Self.json), time])
                else { return false }
                try note(db, claim.job, claim.attempt, "failed", error)
            case .interrupted(let step):
                guard try end("state = 'pending', deaths = 0, step = ?", [step]) else { return false }
                try note(db, claim.job, claim.attempt, "interrupted", "after step \(step)")
            case .cancelled(let step):
                guard try end("state = 'cancelled', step = ?, finished_at = ?", [step, time]) else { return false }
                try note(db, claim.job, claim.attempt, "cancelled", "after step \(step)")
            }
            return true
        }
    }

    /// What was made of a job's earlier result is looked at again: results that still fit are kept.
    private func renew(_ db: Database, needing job: String) throws {
        let ids = try String.fetchAll(
            db, sql: "SELECT id FROM job WHERE state IN ('done', 'failed') AND id IN (SELECT job FROM need WHERE needs = ?)",
            arguments: [job])
        for id in ids {
            try db.execute(
                sql: "UPDATE job SET state = 'pending', failures = 0, deaths = 0, error = NULL WHERE id = ?",
                arguments: [id])
            try note(db, id, 0, "renewed", "\(job) was made again")
        }
    }

    /// How often a job's process may die before the job is given up.
    static let mostDeaths = 10

    /// Frees the jobs whose process is gone, or silent for longer than the lease.
    ///
    /// - Returns: their ids.
    public func takeOver(_ watch: inout LeaseWatch) throws -> [String] {
        let running = try read { db in
            try Row.fetchAll(db, sql: "SELECT id, owner, beat FROM job WHERE state = 'running'").map {
                (
                    id: try $0.decode(String.self, forColumn: "id"),
                    owner: try $0.decode(String?.self, forColumn: "owner") ?? "",
                    beat: try $0.decode(Int.self, forColumn: "beat")
                )
            }
        }
        var silent: [(id: String, owner: String, beat: Int)] = []
        for (id, owner, beat) in running {
            let isGone = WorkerIdentity(owner)?.isGone(seenBy: worker) ?? true
            if isGone || watch.isSilent(id, owner: owner, beat: beat) { silent.append((id, owner, beat)) }
        }
        watch.forget(except: Set(running.map(\.id)))
        if silent.isEmpty { return [] }
        return try write { db in
            try silent.compactMap { id, owner, beat in
                // Its owner may have come back since, or another process may have been faster.
                try db.execute(
                    sql: """
                        UPDATE job SET deaths = deaths + 1, owner = NULL, finished_at = ?,
                            state = CASE WHEN deaths + 1 >= ? THEN 'failed' ELSE 'pending' END,
                            error = CASE WHEN deaths + 1 >= ? THEN 'the process died ' || ? || ' times in this job' END
                        WHERE id = ? AND state = 'running' AND beat = ? AND ifnull(owner, '') = ?
                        """,
                    arguments: [time, Self.mostDeaths, Self.mostDeaths, Self.mostDeaths, id, beat, owner])
                if db.changesCount == 0 { return nil }
                try note(db, id, 0, "taken over", "its process is gone")
                return id
            }
        }
    }

    private static func json(_ metrics: JobMetrics) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(metrics), as: UTF8.self)
    }
}

/// What one observer saw of leases, by its own clock.
public struct LeaseWatch: Sendable {
    private let lease: Duration
    private let now: @Sendable () -> Duration
    private var seen: [String: (owner: String, beat: Int, since: Duration)] = [:]

    /// - Parameter seconds: without a beat, after which a lease has ended.
    public init(seconds: Double) {
        // Stands still while the machine sleeps, as the owner does.
        let start = SuspendingClock.now
        self.init(seconds: seconds) { SuspendingClock.now - start }
    }

    /// - Parameter now: a clock that never goes back.
    public init(seconds: Double, now: @escaping @Sendable () -> Duration) {
        lease = .seconds(seconds)
        self.now = now
    }

    mutating func isSilent(_ job: String, owner: String, beat: Int) -> Bool {
        if let last = seen[job], last.owner == owner, last.beat == beat { return now() - last.since > lease }
        seen[job] = (owner, beat, now())
        return false
    }

    mutating func forget(except running: Set<String>) { seen = seen.filter { running.contains($0.key) } }
}

/// A duration for people.
func seconds(_ value: Double) -> String {
    if value < 100 { return String(format: "%.1f s", value) }
    let total = Int(min(value, 1e9))
    return total < 3600
        ? "\(total / 60) min \(total % 60) s" : "\(total / 3600) h \(total % 3600 / 60) min"
}
