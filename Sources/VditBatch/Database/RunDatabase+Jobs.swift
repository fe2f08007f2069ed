import Foundation
import GRDB

extension RunDatabase {
    /// Brings the rows in line with the plan. Jobs that changed begin anew; jobs that are gone are kept, unused.
    ///
    /// - Throws: `BatchError.invalid` when a job that changed is running at this moment.
    public func register(_ jobs: [PlannedJob]) throws {
        try write { db in
            try db.execute(sql: "UPDATE job SET current = 0")
            for job in jobs {
                let row = try Row.fetchOne(
                    db, sql: "SELECT fingerprint, state FROM job WHERE id = ?", arguments: [job.id])
                if row == nil {
                    try db.execute(
                        sql: """
                            INSERT INTO job (id, position, current, fingerprint, model, output, state, steps)
                            VALUES (?, ?, 1, ?, ?, ?, 'pending', ?)
                            """,
                        arguments: [job.id, job.position, job.fingerprint, job.model, job.output, job.steps])
                } else if try row?.decode(String.self, forColumn: "fingerprint") == job.fingerprint {
                    try db.execute(
                        sql: "UPDATE job SET current = 1, position = ?, model = ?, output = ? WHERE id = ?",
                        arguments: [job.position, job.model, job.output, job.id])
                } else if try row?.decode(String.self, forColumn: "state") == "running" {
                    throw BatchError.invalid(
                        "job \(job.id)", found: "other settings than those it is being run with",
                        expected: "no change while another process runs it", kind: .temporary)
                } else {
                    try db.execute(
                        sql: """
                            UPDATE job SET current = 1, position = ?, fingerprint = ?, model = ?, output = ?,
                                state = 'pending', attempts = 0, failures = 0, deaths = 0, step = 0, steps = ?,
                                owner = NULL, cancel = 0, error = NULL, metrics = NULL,
                                started_at = NULL, finished_at = NULL WHERE id = ?
                            """,
                        arguments: [
                            job.position, job.fingerprint, job.model, job.output, job.steps, job.id,
                        ])
                    try note(db, job.id, 0, "changed", "its settings or inputs changed; it begins anew")
                }
                try db.execute(sql: "DELETE FROM need WHERE job = ?", arguments: [job.id])
                for need in job.needs {
                    try db.execute(sql: "INSERT OR IGNORE INTO need VALUES (?, ?)", arguments: [job.id, need])
                }
            }
        }
    }

    // MARK: Requests

    /// Puts failed, cancelled or done jobs back into the queue, as if never tried.
    ///
    /// - Returns: how many changed; running ones do not.
    public func retry(_ ids: [String]) throws -> Int {
        try change(ids) { db, id in
            try db.execute(
                sql: """
                    UPDATE job SET state = 'pending', failures = 0, deaths = 0, error = NULL, metrics = NULL,
                        cancel = 0, finished_at = NULL WHERE id = ? AND state IN ('failed', 'cancelled', 'done')
                    """, arguments: [id])
            if db.changesCount > 0 { try self.note(db, id, 0, "retry", "asked for") }
        }
    }

    /// Takes pending jobs out of the queue and asks running ones to stop after their step.
    public func cancel(_ ids: [String]) throws -> Int {
        try change(ids) { db, id in
            try db.execute(
                sql: """
                    UPDATE job SET cancel = (state = 'running'), state = CASE state WHEN 'pending' THEN 'cancelled' ELSE state END
                    WHERE id = ? AND state IN ('pending', 'running')
                    """, arguments: [id])
            if db.changesCount > 0 { try self.note(db, id, 0, "cancel", "asked for") }
        }
    }

    private func change(_ ids: [String], _ body: (Database, String) throws -> Void) throws -> Int {
        try write { db in
            var changed = 0
            for id in ids {
                let before = db.totalChangesCount
                try body(db, id)
                if db.totalChangesCount > before { changed += 1 }
            }
            return changed
        }
    }

    /// Adds a line to a job's history.
    public func note(_ claim: Claim, _ kind: String, _ text: String) throws {
        try write { try note($0, claim.job, claim.attempt, kind, text) }
    }

    // MARK: Questions

    /// All jobs of the current plan, in its order.
    public func status() throws -> [JobStatus] {
        try read { db in
            let needs = try Dictionary(
                grouping: try Row.fetchAll(db, sql: "SELECT job, needs FROM need ORDER BY needs"),
                by: { try $0.decode(String.self, forColumn: "job") })
            return try Row.fetchAll(db, sql: "SELECT * FROM job WHERE current = 1 ORDER BY position").map { row in
                let id: String = try row.decode(forColumn: "id")
                return JobStatus(
                    id: id, output: try row.decode(forColumn: "output"),
                    state: JobState(rawValue: try row.decode(forColumn: "state")) ?? .failed,
                    attempts: try row.decode(forColumn: "attempts"), failures: try row.decode(forColumn: "failures"),
                    step: try row.decode(forColumn: "step"), steps: try row.decode(forColumn: "steps"),
                    needs: try (needs[id] ?? []).map { try $0.decode(forColumn: "needs") },
                    startedAt: try row.decode(forColumn: "started_at"),
                    finishedAt: try row.decode(forColumn: "finished_at"), error: try row.decode(forColumn: "error"),
                    metrics: try row.decode(String?.self, forColumn: "metrics").flatMap {
                        try? JSONDecoder().decode(JobMetrics.self, from: Data($0.utf8))
                    }, kind: try row.decode(String.self, forColumn: "model").isEmpty ? .comparison : .render)
            }
        }
    }

    /// The history of one job, or of all, oldest first.
    public func events(of job: String? = nil) throws -> [JobEvent] {
        try read { db in
            try Row.fetchAll(
                db, sql: "SELECT * FROM event WHERE ? IS NULL OR job = ? ORDER BY number", arguments: [job, job]
            ).map {
                JobEvent(
                    job: try $0.decode(forColumn: "job"), attempt: try $0.decode(forColumn: "attempt"),
                    at: try $0.decode(forColumn: "at"), kind: try $0.decode(forColumn: "kind"),
                    text: try $0.decode(forColumn: "text"))
            }
        }
    }
}
