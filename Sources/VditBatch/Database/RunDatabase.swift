import Foundation
import GRDB
import Glibc
import VditFiles
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
    let worker: WorkerIdentity
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
        if access == .readOnly, !FilePath.exists(path) { throw FileError.missing(path: path) }
        var configuration = Configuration()
        configuration.busyMode = .timeout(patience)
        configuration.readonly = access == .readOnly
        configuration.prepareDatabase { db in
            if access == .readOnly { return }
            // A job recorded as done stays done even if the machine loses power in the same moment.
            try db.execute(sql: "PRAGMA synchronous = FULL")
        }
        do {
            queue = try DatabaseQueue(path: Self.name(path), configuration: configuration)
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

    /// What SQLite is to open, which takes text: a name that is not UTF-8 goes as a URI, where it knows those.
    private static func name(_ path: String) throws -> String {
        if !path.holdsEscapedBytes { return path.hasPrefix("file:") ? "./" + path : path }
        let knows = try DatabaseQueue().read { try Bool.fetchOne($0, sql: "SELECT sqlite_compileoption_used('USE_URI')") }
        guard knows == true else {
            throw BatchError.database(
                path: path, reason: "this SQLite opens names in UTF-8 only; choose another with 'database:'",
                kind: .unsupported)
        }
        return "file:" + path.pathBytes.map { byte in
            let character = Character(UnicodeScalar(byte))
            let isPlain = character.isASCII && (character.isLetter || character.isNumber || "/._-".contains(character))
            return isPlain ? String(character) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
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

    static func damaged(_ path: String, _ reason: String) -> BatchError {
        .database(
            path: path,
            reason: "the run database is damaged (\(reason)); move it away and run the batch again: "
                + "finished outputs are recognised by their records and kept", kind: .badData)
    }

    /// SQLite's errors in words a person can act on.
    static func explained(_ error: any Error, _ path: String) -> any Error {
        if let error = error as? RowDecodingError { return damaged(path, error.description.shortened.onOneLine) }
        guard let error = error as? DatabaseError else { return error }
        let text = error.message ?? "\(error.resultCode)"
        func database(_ reason: String, _ kind: FailureKind) -> BatchError {
            .database(path: path, reason: reason, kind: kind)
        }
        switch error.resultCode {
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            return database("another process holds the run database locked; try again later", .temporary)
        // Our statements are right: what SQLite cannot make sense of is in the file.
        case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_ERROR, .SQLITE_TOOBIG: return damaged(path, text)
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

    /// The time of day, for people.
    var time: String { now().ISO8601Format() }

    /// Adds a line to a job's history.
    func note(_ db: Database, _ job: String, _ attempt: Int, _ kind: String, _ text: String) throws {
        try db.execute(
            sql: "INSERT INTO event (job, attempt, at, kind, text) VALUES (?, ?, ?, ?, ?)",
            arguments: [job, attempt, time, kind, text])
    }

    /// Closes the file; nothing may be asked of it any more. Whoever is the last to do so removes its log.
    ///
    /// That takes a connection that may write, and two that close at the same moment each think the other is still
    /// there: so it is tried again.
    public func close() {
        try? queue.close()
        for attempt: UInt32 in 0..<3 where FilePath.exists(path + "-wal") && access(path, W_OK) == 0 {
            usleep(attempt * UInt32.random(in: 1...20_000))
            let last = try? DatabaseQueue(path: Self.name(path))
            _ = try? last?.read { try Int.fetchOne($0, sql: "PRAGMA user_version") }
            try? last?.close()
        }
    }
}
