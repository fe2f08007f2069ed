import Foundation
import VditFiles
import VditPipeline
import Yams

/// What a job array asks of the cluster: `slurm:` in a pipeline file. Everything is optional.
public struct SlurmOptions: Sendable, Equatable {
    public var partition: String?
    public var account: String?
    public var qos: String?
    public var constraint: String?
    /// `D-HH:MM:SS`, `HH:MM:SS` or minutes.
    public var time: String?
    public var cpusPerTask: Int?
    /// Per task, as Slurm writes it: `32G`.
    public var memory: String?
    /// Tasks the jobs are shared among. Few are better than many: each loads the model once.
    public var tasks = 1
    /// Tasks that run at the same time.
    public var throttle: Int?
    /// Seconds before the time limit at which the state is saved.
    public var warning = 120
    /// More lines for `#SBATCH`.
    public var extra: [String] = []

    public init() {}

    static let keys = [
        "partition", "account", "qos", "constraint", "time", "cpus_per_task", "mem", "tasks", "throttle", "warning",
        "extra",
    ]
}

extension PipelineDocument {
    func slurm(_ node: Node) -> SlurmOptions {
        var options = SlurmOptions()
        for entry in entries(node, of: "slurm", known: SlurmOptions.keys) {
            let what = "slurm.\(entry.key)"
            func word(_ expected: String, _ accepts: (String) -> Bool) -> String? {
                guard let text = written(entry.value, what, expected) else { return nil }
                if !text.isEmpty, text.utf8.count < 256, accepts(text) { return text }
                report(Self.mark(entry.value), "\(what): found '\(text.prefix(60))', expected \(expected)")
                return nil
            }
            let isName = { (text: String) in
                text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-,&|*[]+=:".contains($0)) }
            }
            switch entry.key {
            case "partition": options.partition = word("a name", isName)
            case "account": options.account = word("a name", isName)
            case "qos": options.qos = word("a name", isName)
            case "constraint": options.constraint = word("a name", isName)
            case "time":
                options.time = word("a time such as 12:00:00 or 1-00:00:00") {
                    $0.wholeMatch(of: /(\d+-)?\d+(:\d{2}){0,2}/) != nil
                }
            case "mem": options.memory = word("a size such as 32G") { $0.wholeMatch(of: /[1-9]\d*[KMGT]?/) != nil }
            case "cpus_per_task": options.cpusPerTask = integer(entry.value, what, in: 1...4096)
            case "tasks": options.tasks = integer(entry.value, what, in: 1...100_000) ?? 1
            case "throttle": options.throttle = integer(entry.value, what, in: 1...100_000)
            case "warning": options.warning = integer(entry.value, what, in: 10...65_535) ?? 120
            default:
                options.extra = items(entry.value, of: what).compactMap { item in
                    guard let line = text(item, what, "an option such as --exclusive") else { return nil }
                    if line.hasPrefix("--"), !line.contains(where: \.isNewline) { return line }
                    report(Self.mark(item), "\(what): found '\(line.prefix(60))', expected an option such as --exclusive")
                    return nil
                }
            }
        }
        return options
    }
}

/// A part of a batch that one process works on alone, with a database of its own.
public struct Shard: Sendable, Equatable, CustomStringConvertible {
    /// From 0.
    public let index: Int
    public let count: Int

    /// Reads `i/n`, i from 0.
    ///
    /// - Throws: `BatchError.invalid` (64).
    public init(_ text: String) throws(BatchError) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            .map { $0.allSatisfy { $0.isASCII && $0.isNumber } ? Int($0) : nil }
        guard parts.count == 2, let index = parts[0], let count = parts[1], (1...100_000).contains(count),
            index < count
        else {
            throw .invalid(
                "shard", found: "'\(text.prefix(60))'", expected: "i/n with i from 0 to n-1, such as 0/8",
                kind: .usage)
        }
        self.index = index
        self.count = count
    }

    /// The share Slurm gave this task; nil outside of a job array.
    ///
    /// - Throws: `BatchError.invalid` when the array's numbers do not begin at 0 or have gaps.
    public static func ofArrayTask(
        _ environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws(BatchError) -> Shard? {
        guard let id = environment["SLURM_ARRAY_TASK_ID"] else { return nil }
        return try Shard("\(id)/\(environment["SLURM_ARRAY_TASK_COUNT"] ?? "1")")
    }

    public var description: String { "\(index)/\(count)" }

    /// Jobs that need each other stay together; the rest is dealt out in turn.
    ///
    /// - Returns: ids.
    public func share(of plan: BatchPlan) -> Set<String> {
        var leader = Dictionary(uniqueKeysWithValues: plan.jobs.map { ($0.id, $0.id) })
        func find(_ id: String) -> String {
            var id = id
            while let next = leader[id], next != id { id = next }
            return id
        }
        for job in plan.jobs {
            for need in job.needs { leader[find(need)] = find(job.id) }
        }
        var order: [String: Int] = [:]
        return Set(
            plan.jobs.filter { job in
                let group = find(job.id)
                if order[group] == nil { order[group] = order.count }
                return (order[group] ?? 0) % count == index
            }.map(\.id))
    }

    /// This share's database: `NAME.shard-03-of-8.vdit.sqlite` for `NAME.vdit.sqlite`.
    public func database(of path: String) -> String {
        let digits = String(count - 1).count
        let number = String(repeating: "0", count: max(0, digits - String(index).count)) + String(index)
        return RunDatabases.stem(of: path) + ".shard-\(number)-of-\(count)" + RunDatabases.suffix
    }
}

/// The databases of one batch: that of local runs, and one per share.
public enum RunDatabases {
    static let suffix = ".vdit.sqlite"

    static func stem(of path: String) -> String {
        path.hasSuffix(suffix) ? String(path.dropLast(suffix.count)) : path
    }

    /// Those that exist, the local one first.
    public static func existing(_ path: String) -> [String] {
        let folder = FilePath.folder(of: path)
        let prefix = FilePath.name(of: stem(of: path)) + ".shard-"
        let shards = (FilePath.names(in: folder) ?? []).filter { $0.hasPrefix(prefix) && $0.hasSuffix(suffix) }.sorted()
        return ([path].filter(FilePath.exists)) + shards.map { "\(folder)/\($0)" }
    }

    /// The state of every job over all of them: the furthest one counts.
    public static func status(_ path: String) throws -> [JobStatus] { try status(existing(path)) }

    public static func status(_ databases: [String]) throws -> [JobStatus] {
        var merged: [String: JobStatus] = [:]
        var order: [String] = []
        let rank: [JobState: Int] = [.pending: 0, .cancelled: 1, .failed: 2, .running: 3, .done: 4]
        for database in databases {
            let database = try RunDatabase(path: database, access: .readOnly)
            defer { database.close() }
            for job in try database.status() {
                if let known = merged[job.id] {
                    if (rank[job.state] ?? 0) > (rank[known.state] ?? 0) { merged[job.id] = job }
                } else {
                    order.append(job.id)
                    merged[job.id] = job
                }
            }
        }
        return order.compactMap { merged[$0] }
    }
}
