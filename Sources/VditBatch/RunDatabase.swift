import Foundation
import GRDB
import Glibc
import VditTensor

/// The state of a batch: one SQLite file beside its outputs. Every change is one transaction.
///
/// A running job is leased to a process, which counts up the lease's beat. No time of day is compared anywhere:
/// a lease ends when its process is seen to be gone, or when an observer's own clock saw no beat for too long.
public final class RunDatabase: Sendable {
    /// Who opens the file at the same time.
    public enum Sharing: Sendable {
        /// Several processes of one machine, on a local file system (write-ahead log).
        case thisMachine
        /// One process, on any file system (rollback journal).
        case oneProcess
    }
    public enum Access: Sendable { case readWrite, readOnly }

    public let path: String
    private let queue: DatabaseQueue
    private let worker: WorkerIdentity
    private let now: @Sendable () -> Date

    /// "vdit" in ASCII: tells our files from other SQLite files.
    private static let applicationID = 0x7664_6974

    /// Opens or creates the file and checks it from end to end.
    ///
    /// - Parameters:
    ///   - patience: seconds to wait for a lock.
    ///   - now: the time of day, for people only.
    ///   - worker: whom leases name.
    /// - Throws: `BatchError.database`: locked (75), damaged or no database of ours (65), read-only (77), of a
    ///   newer vdit (78), full disk (74). The file is then as it was.
    public init(
        path: String, sharing: Sharing = .thisMachine, access: Access = .readWrite, patience: Double = 30,
        now: @escaping @Sendable () -> Date = { Date() }, worker: WorkerIdentity = .current()
    ) throws {
        self.path = path
        self.worker = worker
        self.now = now
        if access == .readOnly, !PathName.exists(path) { throw TensorError.missing(path: path) }
        var configuration = Configuration()
        configuration.busyMode = .timeout(patience)
        configuration.readonly = access == .readOnly
        configuration.prepareDatabase { db in
            if access == .readOnly { return }
            // A job recorded as done stays done even if the machine loses power in the same moment.
            try db.execute(sql: "PRAGMA synchronous = FULL")
        }
        do {
            queue = try DatabaseQueue(path: path, configuration: configuration)
            try Self.refuseForeign(queue, path)
            if access == .readWrite {
                if sharing == .thisMachine {
                    try queue.writeWithoutTransaction { try $0.execute(sql: "PRAGMA journal_mode = WAL") }
                }
                try Self.migrate(queue)
            }
        } catch {
            throw Self.explained(error, path)
        }
    }

    /// Another process may be creating the same file: the faster one wins, and both find it complete.
    private static func migrate(_ queue: DatabaseQueue) throws {
        for attempt in 0... {
            do {
                return try migrator.migrate(queue)
            } catch let error as DatabaseError where error.resultCode == .SQLITE_ERROR && attempt < 20 {
                usleep(50_000)
            }
        }
    }

    private static func refuseForeign(_ queue: DatabaseQueue, _ path: String) throws {
        let (tables, identity, report) = try queue.read { db in
            (
                // The migrator's own table is there a moment before ours.
                try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master WHERE tbl_name <> 'grdb_migrations'") ?? 0,
                try Int.fetchOne(db, sql: "PRAGMA application_id") ?? 0,
                try String.fetchOne(db, sql: "PRAGMA quick_check(1)") ?? "ok"
            )
        }
        if report != "ok" { throw damaged(path, report) }
        if tables == 0 { return }
        guard identity == applicationID else {
            throw BatchError.database(
                path: path, reason: "is an SQLite database of another program; choose another name with 'database:'",
                kind: .badData)
        }
        if try queue.read({ try migrator.hasBeenSuperseded($0) }) {
            throw BatchError.database(
                path: path, reason: "was written by a newer vdit; use that one, or choose another name with 'database:'",
                kind: .configuration)
        }
    }

    private static func damaged(_ path: String, _ reason: String) -> BatchError {
        .database(
            path: path,
            reason: "the run database is damaged (\(reason)); move it away and run the batch again: "
                + "finished outputs are recognised by their records and kept", kind: .badData)
    }

    /// SQLite's errors in words a person can act on.
    static func explained(_ error: any Error, _ path: String) -> any Error {
        guard let error = error as? DatabaseError else { return error }
        let text = error.message ?? "\(error.resultCode)"
        func database(_ reason: String, _ kind: FailureKind) -> BatchError {
            .database(path: path, reason: reason, kind: kind)
        }
        switch error.resultCode {
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            return database("another process holds the run database locked; try again later", .temporary)
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: return damaged(path, text)
        case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_AUTH:
            return database("the run database cannot be written (\(text))", .permission)
        case .SQLITE_CANTOPEN: return database("the run database cannot be opened or created (\(text))", .cannotCreate)
        case .SQLITE_FULL: return database("no space left for the run database", .ioError)
        case .SQLITE_IOERR: return database("the run database cannot be read or written (\(text))", .ioError)
        default: return database("SQLite: \(text)", .internalError)
        }
    }

    private static let migrator: DatabaseMigrator = {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1: jobs, needs, events") { db in
            try db.execute(sql: "PRAGMA application_id = \(applicationID)")
            try db.execute(
                sql: """
                    CREATE TABLE job (
                        id TEXT PRIMARY KEY, position INTEGER NOT NULL, current INTEGER NOT NULL,
                        fingerprint TEXT NOT NULL, model TEXT NOT NULL, output TEXT NOT NULL,
                        state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
                        failures INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0,
                        step INTEGER NOT NULL DEFAULT 0, steps INTEGER NOT NULL DEFAULT 0,
                        owner TEXT, beat INTEGER NOT NULL DEFAULT 0, cancel INTEGER NOT NULL DEFAULT 0,
                        started_at TEXT, finished_at TEXT, error TEXT, metrics TEXT);
                    CREATE TABLE need (
                        job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE, needs TEXT NOT NULL,
                        PRIMARY KEY (job, needs)) WITHOUT ROWID;
                    CREATE TABLE event (
                        number INTEGER PRIMARY KEY, job TEXT NOT NULL, attempt INTEGER NOT NULL,
                        at TEXT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL);
                    CREATE INDEX event_of_job ON event(job);
                    """)
        }
        return migrator
    }()

    // MARK: Transactions

    func write<Value>(_ body: (Database) throws -> Value) throws -> Value {
        do { return try queue.write(body) } catch { throw Self.explained(error, path) }
    }

    func read<Value>(_ body: (Database) throws -> Value) throws -> Value {
        do { return try queue.read(body) } catch { throw Self.explained(error, path) }
    }

    private var time: String { now().ISO8601Format() }

    private func note(_ db: Database, _ job: String, _ attempt: Int, _ kind: String, _ text: String) throws {
        try db.execute(
            sql: "INSERT INTO event (job, attempt, at, kind, text) VALUES (?, ?, ?, ?, ?)",
            arguments: [job, attempt, time, kind, text])
    }

    // MARK: The plan

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
                        arguments: [job.id, job.position, job.fingerprint, job.model, job.output, job.settings.steps])
                } else if row?["fingerprint"] == job.fingerprint {
                    try db.execute(
                        sql: "UPDATE job SET current = 1, position = ?, model = ?, output = ? WHERE id = ?",
                        arguments: [job.position, job.model, job.output, job.id])
                } else if row?["state"] == "running" {
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
                            job.position, job.fingerprint, job.model, job.output, job.settings.steps, job.id,
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

    // MARK: Leases

    /// Takes the next job whose needs are done: failed ones last, those of `model` first.
    public func claim(model: String, only: Set<String>?) throws -> Claim? {
        try write { db in
            let ready = try Row.fetchCursor(
                db,
                sql: """
                    SELECT id, attempts FROM job WHERE state = 'pending' AND current = 1 AND NOT EXISTS (
                        SELECT 1 FROM need JOIN job AS needed ON needed.id = need.needs
                        WHERE need.job = job.id AND needed.state <> 'done')
                    ORDER BY failures, model <> ?, position
                    """, arguments: [model])
            while let row = try ready.next() {
                let id: String = row["id"]
                if let only, !only.contains(id) { continue }
                let attempt: Int = row["attempts"] + 1
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
        case done(JobMetrics)
        /// Failed; tried again when `retry` says so.
        case failed(String, retry: Bool)
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
            case .done(let metrics):
                guard try end(
                    "state = 'done', deaths = 0, step = steps, metrics = ?, finished_at = ?",
                    [try Self.json(metrics), time])
                else { return false }
                try note(db, claim.job, claim.attempt, "done", "in \(seconds(metrics.seconds))")
            case .failed(let error, let retry):
                guard try end(
                    "state = ?, failures = failures + 1, error = ?, finished_at = ?",
                    [retry ? "pending" : "failed", error, time])
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

    /// How often a job's process may die before the job is given up.
    static let mostDeaths = 10

    /// Frees the jobs whose process is gone, or silent for longer than the lease.
    ///
    /// - Returns: their ids.
    public func takeOver(_ watch: inout LeaseWatch) throws -> [String] {
        let rows = try read { try Row.fetchAll($0, sql: "SELECT id, owner, beat FROM job WHERE state = 'running'") }
        var silent: [(id: String, owner: String, beat: Int)] = []
        for row in rows {
            let (id, owner, beat) = (row["id"] as String, row["owner"] as String? ?? "", row["beat"] as Int)
            let isGone = WorkerIdentity(owner)?.isGone(seenBy: worker) ?? true
            if isGone || watch.isSilent(id, owner: owner, beat: beat) { silent.append((id, owner, beat)) }
        }
        watch.forget(except: Set(rows.map { $0["id"] }))
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
            let needs = Dictionary(
                grouping: try Row.fetchAll(db, sql: "SELECT job, needs FROM need ORDER BY needs"),
                by: { $0["job"] as String })
            return try Row.fetchAll(db, sql: "SELECT * FROM job WHERE current = 1 ORDER BY position").map { row in
                JobStatus(
                    id: row["id"], output: row["output"], state: JobState(rawValue: row["state"]) ?? .failed,
                    attempts: row["attempts"], failures: row["failures"], step: row["step"], steps: row["steps"],
                    needs: (needs[row["id"]] ?? []).map { $0["needs"] }, startedAt: row["started_at"],
                    finishedAt: row["finished_at"], error: row["error"],
                    metrics: (row["metrics"] as String?).flatMap {
                        try? JSONDecoder().decode(JobMetrics.self, from: Data($0.utf8))
                    })
            }
        }
    }

    /// The history of one job, or of all, oldest first.
    public func events(of job: String? = nil) throws -> [JobEvent] {
        try read { db in
            try Row.fetchAll(
                db, sql: "SELECT * FROM event WHERE ? IS NULL OR job = ? ORDER BY number", arguments: [job, job]
            ).map {
                JobEvent(job: $0["job"], attempt: $0["attempt"], at: $0["at"], kind: $0["kind"], text: $0["text"])
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
