import VditAttention
import VditMedia
import VditModels
import VditTensor

/// Where a setting's value came from.
public enum Origin: String, Sendable, Codable {
    case commandLine = "command line"
    case environment
    case file
    case model
    case builtIn = "built-in"

    /// The larger wins.
    var strength: Int {
        switch self {
        case .commandLine: 4
        case .environment: 3
        case .file: 2
        case .model: 1
        case .builtIn: 0
        }
    }
}

/// What somebody asked for. What is nil is decided by the model, or built in.
///
/// Every setting of `SettingTable` that a run decides is a property: `request.steps = 4`.
@dynamicMemberLookup
public struct RenderRequest: Sendable {
    struct Asked: Sendable {
        let value: any WrittenValue
        let origin: Origin
    }

    /// By setting name.
    private(set) var asked: [String: Asked] = [:]
    /// The seed where none is asked for.
    public var unseeded = Seed.random

    public init() {}

    public subscript<Value>(dynamicMember row: KeyPath<SettingTable, Setting<Value>>) -> Value? {
        get { asked[SettingTable.rows[keyPath: row].name]?.value as? Value }
        set { ask(SettingTable.rows[keyPath: row].name, newValue, from: .commandLine) }
    }

    public subscript<Value>(dynamicMember row: KeyPath<SettingTable, Setting<Value?>>) -> Value? {
        get { asked[SettingTable.rows[keyPath: row].name]?.value as? Value }
        set { ask(SettingTable.rows[keyPath: row].name, newValue, from: .commandLine) }
    }

    mutating func ask(_ name: String, _ value: (any WrittenValue)?, from origin: Origin) {
        asked[name] = value?.present.map { Asked(value: $0, origin: origin) }
    }

    /// Adds options of the sparse method, or of what another row is for, to those of a weaker origin, which they
    /// override.
    ///
    /// - Throws: `PipelineError.setting` for one that was given already.
    mutating func addOptions(
        _ options: [String: String], to name: String = "sparse_options", from origin: Origin
    ) throws(PipelineError) {
        let given = asked[name]?.value as? [String: String] ?? [:]
        let earlier = asked[name]?.origin == origin ? given : [:]
        if let twice = options.keys.filter({ earlier[$0] != nil }).min() {
            throw .setting(name, found: "'\(twice)' twice", expected: "each once")
        }
        ask(name, given.merging(options) { $1 }, from: origin)
    }

    /// What arithmetic is done in, by how many threads and whether they keep to memory nodes, for work without a model.
    ///
    /// - Throws: `PipelineError.setting`.
    public func machine() throws(PipelineError) -> (precision: Precision, threads: Int, numa: Bool) {
        let rows = SettingTable.rows
        return (
            try rows.precision.value(in: self) ?? .bf16, try rows.threads.value(in: self) ?? 1,
            try rows.numa.value(in: self) ?? false
        )
    }

    /// The sparse method that was asked for; nil where none was.
    ///
    /// - Parameter more: options beside those of the request.
    /// - Throws: `PipelineError.setting` for an option given twice, or what `MethodChoice` throws.
    public func methodChoice(_ more: [String: String] = [:]) throws -> MethodChoice? {
        guard let sparse = self.sparse else { return nil }
        var request = self
        try request.addOptions(more, from: .commandLine)
        return try MethodChoice(sparse, options: request.sparseOptions ?? [:], density: request.density)
    }

    /// Whether a setting was asked for, by name.
    func asks(_ name: String) -> Bool { asked[name] != nil }

    /// Asks for a sparse method, and for nothing of another.
    public mutating func choose(_ method: MethodChoice, from origin: Origin = .commandLine) {
        let rows = SettingTable.rows
        ask(rows.sparse.name, method.name, from: origin)
        ask(rows.sparseOptions.name, method.options, from: origin)
        ask(rows.density.name, method.density, from: origin)
    }

    /// Asks for a step cache, or for none.
    public mutating func choose(_ cache: CacheChoice?, from origin: Origin = .commandLine) {
        let rows = SettingTable.rows
        let options = cache?.options ?? [:]
        ask(rows.cache.name, cache?.name, from: origin)
        ask(rows.cacheBudget.name, cache?.budget, from: origin)
        ask(rows.cacheOptions.name, options.isEmpty ? nil : options, from: origin)
    }
}

/// What a run takes for its seed when nobody asked for one.
public enum Seed: Sendable, Equatable {
    case random
    case fixed(Int)
    /// Of the run that is continued or made again: a seed drawn at random is part of it.
    case remembered(Int)

    /// The one place where a seed is decided.
    var decided: (seed: Int, origin: Origin) {
        switch self {
        case .random: (Int.random(in: 0...Int(UInt32.max)), .builtIn)
        case .fixed(let seed): (seed, .builtIn)
        case .remembered(let seed): (seed, .file)
        }
    }
}
