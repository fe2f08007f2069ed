import ArgumentParser
import Glibc
import VDiT

/// Settings as a record, the environment and flags give them. The strongest wins; options of a method add up.
struct Settings {
    private var flags: [String: [String]] = [:]
    /// Values as flags take them, by setting name.
    private let recorded: [String: String]

    init(recorded: [String: String] = [:]) { self.recorded = recorded }

    mutating func add<Section>(_ section: SettingFlags<Section>) { flags.merge(section.texts) { $1 } }

    /// Gives a job what the flags, variables and recorded values of some rows say.
    ///
    /// - Throws: 64 for a flag or a variable, 65 for a recorded value that is none.
    func apply(_ rows: [any SettingRow], to job: inout RenderJob) throws {
        for row in rows {
            let given = sources(of: row)
            // Options of different sources add up, the strongest last.
            for source in row.kind == .options ? given : Array(given.suffix(1)) {
                do {
                    try row.put(.text(source.text), from: source.origin, into: &job)
                } catch {
                    throw CommandError(
                        description: source.name.map { "\($0): \(error)" } ?? "\(error)", kind: source.kind)
                }
            }
        }
    }

    /// What is asked of a run, for commands that have no job of their own.
    func request(_ rows: [any SettingRow]) throws -> RenderRequest {
        var job = RenderJob(model: "", promptEmbedding: "", destination: VideoDestination(path: ""))
        try apply(rows, to: &job)
        return job.request
    }

    private struct Source {
        let text: String
        let origin: Origin
        /// What to call it in an error.
        var name: String?
        var kind = FailureKind.usage
    }

    /// Weakest first.
    private func sources(of row: any SettingRow) -> [Source] {
        var sources: [Source] = []
        if let text = recorded[row.name], !isReplaced(row.belongsTo), !isSaidOtherwise(row) {
            sources.append(Source(text: text, origin: .file, name: "recorded \(row.name)", kind: .badData))
        }
        if let text = variable(row) {
            sources.append(Source(text: text, origin: .environment, name: Self.variable(row.name)))
        }
        if let texts = flags[row.name] {
            sources.append(Source(text: texts.joined(separator: ","), origin: .commandLine))
        }
        return sources
    }

    /// Whether a flag or a variable says something else than the record.
    private func isReplaced(_ name: String?) -> Bool {
        guard let name, let row = SettingTable.byName[name] else { return false }
        let given = flags[name]?.last ?? variable(row)
        return given.map { $0 != recorded[name] } ?? false
    }

    /// Whether a flag says what this row says, in another way.
    private func isSaidOtherwise(_ row: any SettingRow) -> Bool {
        row.subject != nil && SettingTable.all.contains { $0.subject == row.subject && flags[$0.name] != nil }
    }

    static func variable(_ name: String) -> String { "VDIT_\(name.uppercased())" }

    private func variable(_ row: any SettingRow) -> String? {
        guard row.isVariable, let bytes = getenv(Self.variable(row.name)), bytes.pointee != 0 else { return nil }
        return String(path: bytes)
    }
}

typealias SamplingOptions = SettingFlags<SamplingSection>
typealias MachineOptions = SettingFlags<MachineSection>
typealias MethodOptions = SettingFlags<MethodSection>

extension SettingFlags {
    /// What these flags and their variables ask of a run.
    ///
    /// - Parameter machine: flags to go with them.
    func request(_ machine: MachineOptions? = nil) throws -> RenderRequest {
        var settings = Settings()
        settings.add(self)
        if let machine { settings.add(machine) }
        return try settings.request(Section.rows + (machine == nil ? [] : MachineSection.rows))
    }
}

extension SettingFlags {
    /// What these flags, variables and this machine decide, for jobs that have no table of settings.
    func decided() throws -> (precision: Precision, threads: Int, numa: Bool) { try request().machine() }
}

extension SettingFlags where Section == MethodSection {
    /// For commands that look at one method.
    ///
    /// - Parameter more: options of flags that stand for one.
    func choice(_ more: [String: String] = [:]) throws -> MethodChoice {
        let request = try request()
        guard let choice = try request.methodChoice(more) else {
            throw ValidationError("missing --sparse; 'vdit methods' lists the methods")
        }
        return choice
    }

    /// What happens where the method cannot serve a call.
    func fallback() throws -> AttentionContext.Fallback {
        var settings = Settings()
        settings.add(self)
        var job = RenderJob(model: "", promptEmbedding: "", destination: VideoDestination(path: ""))
        try settings.apply(MethodSection.rows, to: &job)
        return job.fallback
    }
}
