import Foundation
import VditAttention
import VditFiles
import VditMedia
import VditTensor

/// The state of a run between two steps, as one safetensors file.
///
/// Tensors: `latents`, `scheduler.*`, `learned.*`, `cached.*`. Metadata: the step, the scheduler's numbers, what the
/// steps cost, what step caches count, the run's identity, and a SHA-256 over all of it.
public struct Checkpoint: Sendable {
    /// Steps done.
    public let completed: Int
    /// `[channels, frames, height, width]` f32.
    public let latents: Tensor
    public let history: SchedulerHistory
    /// What sparse methods learned, as `expert.branch.layer.name`.
    public let learned: [String: Tensor]
    /// What step caches keep, as `expert.branch.name`, and what they count for every transformer.
    public let cached: [String: Tensor]
    public let caches: [SavedCache]
    /// What the attention of every transformer computed until then.
    public let statistics: [AttentionStatistics]
    /// Of all processes that worked on the steps.
    public let timing: RunRecord.Timing
    /// Everything the result depends on, by the name a person knows it by. A checkpoint continues only a
    /// run that agrees in all of it.
    public let identity: [String: String]

    public init(
        completed: Int, latents: Tensor, history: SchedulerHistory, learned: [String: Tensor],
        cached: [String: Tensor] = [:], caches: [SavedCache] = [],
        statistics: [AttentionStatistics] = [], timing: RunRecord.Timing = RunRecord.Timing(),
        identity: [String: String]
    ) {
        self.completed = completed
        self.latents = latents
        self.history = history
        self.learned = learned
        self.cached = cached
        self.caches = caches
        self.statistics = statistics
        self.timing = timing
        self.identity = identity
    }

    private static let format = "vdit-checkpoint-2"

    /// The checkpoint's place beside an output.
    public static func path(forOutput output: String) -> String {
        companionPath(output, ".vdit-checkpoint")
    }

    /// Writes the file, which appears complete or not at all and replaces an earlier one.
    ///
    /// - Throws: `FileError` when it cannot be written.
    public func write(to path: String) throws {
        var tensors = ["latents": latents]
        for (name, tensor) in history.tensors { tensors["scheduler.\(name)"] = tensor }
        for (name, tensor) in learned { tensors["learned.\(name)"] = tensor }
        for (name, tensor) in cached { tensors["cached.\(name)"] = tensor }
        var metadata = [
            "format": Self.format, "completed": "\(completed)",
            "scheduler": try Self.json(history.numbers), "statistics": try Self.json(statistics),
            "timing": try Self.json(timing), "identity": try Self.json(identity),
        ]
        if !caches.isEmpty { metadata["caches"] = try Self.json(caches) }
        metadata["sha256"] = Self.digest(tensors, metadata)
        try SafetensorsWriter.write(tensors, metadata: metadata, to: path, existing: .replace)
    }

    /// Gives a file of another run a name that nobody has.
    ///
    /// - Throws: `FileError.inaccessible` where that cannot be done.
    static func setAside(_ path: String) throws(FileError) {
        try AtomicFile.move(path, to: FilePath.firstFree(path))
    }

    /// Reads a file and checks it completely.
    ///
    /// - Throws: `FileError` for a file that is missing, truncated or no safetensors; `PipelineError.invalid`
    ///   (65) for one that is no checkpoint, of another version, or damaged.
    public init(path: String) throws {
        let file = try SafetensorsReader(path)
        func refuse(_ field: String, _ found: String, _ expected: String) -> PipelineError {
            .invalid("\(path): \(field)", found: found, expected: expected, kind: .badData)
        }
        var metadata = file.metadata
        guard metadata["format"] == Self.format else {
            throw refuse(
                "format", metadata["format"].map { "\"\($0.prefix(60))\"" } ?? "no checkpoint of vdit",
                "\"\(Self.format)\"")
        }
        var tensors: [String: Tensor] = [:]
        for name in file.names { tensors[name] = try file.tensor(name).copy() }
        let stored = metadata.removeValue(forKey: "sha256")
        guard stored == Self.digest(tensors, metadata) else {
            throw refuse("sha256", "another digest", "the digest of its content; the file is damaged")
        }
        guard let completed = metadata["completed"].flatMap({ Int($0) }), completed >= 0 else {
            throw refuse("completed", metadata["completed"] ?? "nothing", "a number of steps")
        }
        guard let latents = tensors["latents"], latents.dtype == .f32, latents.rank == 4,
            latents.isFinite
        else { throw refuse("latents", "another tensor", "finite F32 [channels, frames, height, width]") }
        var history = SchedulerHistory()
        func decode<Value: Decodable>(_ type: Value.Type, _ name: String) throws -> Value {
            try decodeJSON(type, from: Data((metadata[name] ?? "").utf8), path: "\(path): \(name)")
        }
        history.numbers = try decode([String: Int].self, "scheduler")
        var learned: [String: Tensor] = [:]
        var cached: [String: Tensor] = [:]
        for (name, tensor) in tensors {
            if name.hasPrefix("cached.") { cached[String(name.dropFirst(7))] = tensor }
            if name.hasPrefix("scheduler.") { history.tensors[String(name.dropFirst(10))] = tensor }
            if name.hasPrefix("learned.") { learned[String(name.dropFirst(8))] = tensor }
        }
        self.init(
            completed: completed, latents: latents, history: history, learned: learned, cached: cached,
            caches: metadata["caches"] == nil ? [] : try decode([SavedCache].self, "caches"),
            statistics: try decode([AttentionStatistics].self, "statistics"),
            timing: try decode(RunRecord.Timing.self, "timing"),
            identity: try decode([String: String].self, "identity"))
    }

    /// Refuses to continue another run.
    ///
    /// - Throws: `PipelineError.otherRun` (78) with the first field that differs.
    public func verify(identity current: [String: String], path: String) throws(PipelineError) {
        for name in Set(identity.keys).union(current.keys).sorted() {
            let (then, now) = (identity[name] ?? "nothing", current[name] ?? "nothing")
            if then != now {
                throw .otherRun(path: path, field: name, checkpoint: then, current: now)
            }
        }
    }

    /// Gives every transformer's attention back what it had learned and counted.
    ///
    /// - Throws: `AttentionError.state` for what no such run has learned.
    func restore(_ contexts: [AttentionContext]) throws(AttentionError) {
        for (index, context) in contexts.enumerated() {
            try context.restore(
                learned.below("\(index)."),
                statistics: index < statistics.count ? statistics[index] : AttentionStatistics())
        }
    }

    /// Gives every transformer's step cache back what it kept and counted.
    ///
    /// - Throws: `PipelineError.damagedCheckpoint` for what no such run keeps.
    func restore(_ contexts: [CacheContext]) throws(PipelineError) {
        for (index, context) in contexts.enumerated() where index < caches.count {
            try context.restore(cached.below("\(index)."), caches[index])
        }
    }

    private static func json<Value: Encodable>(_ value: Value) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    private static func digest(_ tensors: [String: Tensor], _ metadata: [String: String]) -> String {
        var lines = tensors.sorted { $0.key < $1.key }.map { name, tensor in
            "\(name) \(tensor.dtype.rawValue) \(tensor.shape) "
                + tensor.withBytes { Digest.sha256($0) }
        }
        lines += metadata.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        return Digest.sha256(Array(lines.joined(separator: "\n").utf8))
    }
}

extension [String: Tensor] {
    /// Those whose names begin with `prefix`, by what follows it.
    func below(_ prefix: String) -> [String: Tensor] {
        let own = filter { $0.key.hasPrefix(prefix) }
        return Dictionary(uniqueKeysWithValues: own.map { (String($0.key.dropFirst(prefix.count)), $0.value) })
    }
}

/// A file beside an output: its name and a suffix. For a pattern such as `frames/%05d.png` it is
/// `frames/sequence` and the suffix.
public func companionPath(_ output: String, _ suffix: String) -> String {
    guard OutputFormat.isSequence(output) else { return output + suffix }
    let folder = output.lastIndex(of: "/").map { String(output[...$0]) } ?? ""
    return folder + "sequence" + suffix
}
