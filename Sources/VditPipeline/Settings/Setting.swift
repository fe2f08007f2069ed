import VditModels
import VditTensor

/// What a value looks like, for pipeline files, editors and errors.
public enum SettingKind: Sendable, Equatable {
    /// A file that is read; relative to the pipeline file, `${NAME}` is the environment's.
    case input
    /// A file that is written: an input's rules, and `{placeholders}`.
    case output
    case integer(ClosedRange<Int>)
    case number
    case flag
    case choice([String])
    /// `832x480`, which is a width and a height.
    case size
    /// Text with a syntax of its own, in words.
    case written(String)
    /// A mapping of names to values.
    case options
    /// Numbers in an order.
    case numbers
    /// Files that are read, each with a strength.
    case adapters

    var expected: String {
        switch self {
        case .input, .output: "a path"
        case .integer(let range) where range.upperBound == .max && range.lowerBound == .min: "an integer"
        case .integer(let range) where range.upperBound == .max: "an integer of at least \(range.lowerBound)"
        case .integer(let range): "an integer from \(range.lowerBound) to \(range.upperBound)"
        case .number: "a number"
        case .flag: "true or false"
        case .choice(let names): "one of \(names.joined(separator: ", "))"
        case .size: "width x height, such as 832x480"
        case .written(let words): words
        case .options: "name=value, each name once"
        case .numbers: "numbers such as 1,0.75,0.5"
        case .adapters: "files, each with =strength where that is not 1"
        }
    }
}

/// How a command line spells a setting: its name with hyphens, unless `names` says otherwise.
public struct SettingFlag: Sendable {
    /// Long names, the one for help first.
    public let names: [String]
    public let short: Character?
    /// What stands for the value in help texts.
    public let value: String
    public let help: String
    /// Whether it may be given more than once, and for a switch what its presence means.
    public let style: Style

    public enum Style: Sendable, Equatable { case value, repeated, present(means: Bool) }

    init(
        _ value: String, _ help: String, names: [String] = [], short: Character? = nil, style: Style = .value
    ) {
        (self.names, self.short, self.value, self.help, self.style) = (names, short, value, help, style)
    }
}

/// What a setting's value changes.
public enum SettingEffect: Sendable {
    /// The latents: part of what a checkpoint and a record are identified by.
    case latents
    /// The file, from the same latents.
    case file
    /// Nothing of the result.
    case none
}

/// Which section of the table a row stands in; commands take whole sections.
public enum SettingGroup: Sendable { case inputs, output, sampling, seed, attention, caching, machine, run }

/// A row of the table of settings.
public protocol SettingRow: Sendable {
    associatedtype Value: WrittenValue

    /// snake_case, as in files, variables and records.
    var name: String { get }
    var group: SettingGroup { get }
    var kind: SettingKind { get }
    /// One line for editors.
    var summary: String { get }
    /// Nil where only pipeline files have it.
    var flag: SettingFlag? { get }
    /// Whether `VDIT_NAME` gives it.
    var isVariable: Bool { get }
    /// Whether it is a key of pipeline files.
    var isKey: Bool { get }
    var effect: SettingEffect { get }
    var isRecorded: Bool { get }
    /// Name of the setting without which a recorded value of this one means nothing.
    var belongsTo: String? { get }
    /// What this setting says, where others say the same in another way: of those, one is given.
    var subject: String? { get }

    /// Puts a value where it is kept.
    ///
    /// - Throws: `PipelineError.setting` for text that is no such value.
    func put(_ value: SettingContent, from origin: Origin, into job: inout RenderJob) throws
    /// The value a job has, where it was given one.
    func given(in job: RenderJob) -> String?
    func decide(_ decision: inout Decision) throws
    func check(_ decision: Decision) throws
    /// The value of a record.
    func value(_ recorded: RecordedValue) -> (any WrittenValue)?
}

/// A value as a file or a command line has it.
public enum SettingContent: Sendable, Equatable {
    case text(String)
    case options([String: String])

    public var text: String {
        switch self {
        case .text(let text): text
        case .options(let options): options.written
        }
    }
}

/// A setting, and the key its value is read by: `request.steps`, `settings.steps`.
///
/// An optional `Value` may stay without one in a run.
public final class Setting<Value: WrittenValue>: SettingRow {
    public let name: String
    public let group: SettingGroup
    public let kind: SettingKind
    public let summary: String
    public let flag: SettingFlag?
    public let isVariable: Bool
    public let isKey: Bool
    public let effect: SettingEffect
    public let isRecorded: Bool
    public let belongsTo: String?
    public let subject: String?
    let rule: Rule<Value>?
    let place: Place<Value>

    /// A setting of the run: `RenderRequest` keeps what was asked, `rule` decides.
    init(
        _ name: String, _ group: SettingGroup, _ summary: String, kind: SettingKind = Value.kind, flag: SettingFlag,
        isVariable: Bool = true, isKey: Bool = true, effect: SettingEffect = .latents, isRecorded: Bool = true, belongsTo: String? = nil,
        at place: Place<Value> = .request, rule: Rule<Value>
    ) {
        (self.name, self.group, self.kind, self.summary, self.flag) = (name, group, kind, summary, flag)
        (self.isVariable, self.isKey, self.effect, self.isRecorded) = (isVariable, isKey, effect, isRecorded)
        (self.belongsTo, subject, self.rule, self.place) = (belongsTo, nil, rule, place)
    }

    /// A setting that is kept somewhere else and needs no decision.
    init(
        _ name: String, _ group: SettingGroup, _ summary: String, kind: SettingKind = Value.kind,
        flag: SettingFlag? = nil, isVariable: Bool = true, isKey: Bool = true, effect: SettingEffect = .file,
        isRecorded: Bool = false, belongsTo: String? = nil, subject: String? = nil, at place: Place<Value>
    ) {
        (self.name, self.group, self.kind, self.summary, self.flag) = (name, group, kind, summary, flag)
        (self.isVariable, self.isKey, self.effect) = (isVariable && flag != nil, isKey, effect)
        (self.isRecorded, self.belongsTo, self.subject, rule, self.place) = (isRecorded, belongsTo, subject, nil, place)
    }

    private func value(_ content: SettingContent) throws(PipelineError) -> Value {
        if case .options(let options) = content, let value = options as? Value { return value }
        guard let value = Value(written: content.text) else {
            throw .setting(name, found: "'\(content.text)'", expected: kind.expected)
        }
        return value
    }

    public func put(_ content: SettingContent, from origin: Origin, into job: inout RenderJob) throws {
        let value = try value(content)
        switch place {
        case .request: job.request.ask(name, value, from: origin)
        case .spread(let spread): try spread(value, origin, &job.request)
        case .job(_, let set): set(value, &job)
        case .nowhere: break
        }
    }

    public func given(in job: RenderJob) -> String? {
        switch place {
        case .request, .spread: job.request.asked[name]?.value.present?.written
        case .job(let get, _): get(job)?.present?.written
        case .nowhere: nil
        }
    }

    public func value(_ recorded: RecordedValue) -> (any WrittenValue)? { Value(recorded: recorded) }

    public func decide(_ decision: inout Decision) throws {
        guard let rule else { return }
        let asked = decision.request.asked[name]
        let refusal = rule.refusal(decision)
        if let refusal, asked != nil { throw PipelineError.setting(name, found: "a value", expected: refusal) }
        let (found, origin, shown) = try asked.flatMap { asked in
            (asked.value as? Value).map { ($0, asked.origin, nil) }
        } ?? rule.standard(decision)
        let value = rule.adjust(found, decision)
        guard let present = value.present else { return }
        decision.values[name] = present
        if refusal == nil, rule.isShown(value) {
            decision.table.append(RenderSettings.Row(name: name, value: shown ?? present.shown, origin: origin))
        }
    }

    public func check(_ decision: Decision) throws {
        guard let value = decision.values[name] as? Value else { return }
        try rule?.check(value, decision)
        try checkRange(value)
    }

    private func checkRange(_ value: Value) throws(PipelineError) {
        if case .integer(let range) = kind, let number = value.present as? Int, !range.contains(number) {
            throw .setting(name, found: "\(number)", expected: "\(range.lowerBound) to \(range.upperBound)")
        }
    }

    /// The value of a request without a model, for a setting that depends on none.
    func value(in request: RenderRequest) throws(PipelineError) -> Value? {
        guard let value = request.asked[name]?.value as? Value ?? rule?.alone?() else { return nil }
        try checkRange(value)
        return value
    }
}

/// How a run decides a setting.
struct Rule<Value: WrittenValue>: Sendable {
    /// The same whatever the model.
    var alone: (@Sendable () -> Value)?
    /// The value when none was asked for, where that comes from, and how a table shows it if not as it is.
    var standard: @Sendable (Decision) throws -> (Value, Origin, shown: String?)
    /// Why a run of this kind has no such setting; nil where it has.
    var refusal: @Sendable (Decision) -> String? = { _ in nil }
    /// What becomes of a value.
    var adjust: @Sendable (Value, Decision) -> Value = { value, _ in value }
    var isShown: @Sendable (Value) -> Bool = { _ in true }
    /// Looks at a value when all are decided.
    var check: @Sendable (Value, Decision) throws -> Void = { _, _ in }

    /// What the model's authors recommend.
    static func model(_ value: @escaping @Sendable (Decision) throws -> Value) -> Rule {
        Rule(standard: { (try value($0), .model, nil) })
    }

    static func builtIn(_ value: @escaping @autoclosure @Sendable () -> Value, shown: String? = nil) -> Rule {
        Rule(alone: value, standard: { _ in (value(), .builtIn, shown) })
    }

    func refused(_ refusal: @escaping @Sendable (Decision) -> String?) -> Rule {
        var rule = self
        rule.refusal = refusal
        return rule
    }

    func adjusted(_ adjusted: @escaping @Sendable (Value, Decision) -> Value) -> Rule {
        var rule = self
        rule.adjust = adjusted
        return rule
    }

    func shown(_ isShown: @escaping @Sendable (Value) -> Bool) -> Rule {
        var rule = self
        rule.isShown = isShown
        return rule
    }

    func checked(_ check: @escaping @Sendable (Value, Decision) throws -> Void) -> Rule {
        var rule = self
        rule.check = check
        return rule
    }
}

/// Where a setting's value is kept.
enum Place<Value: WrittenValue>: Sendable {
    /// By name, in the request, until `RenderSettings` decides.
    case request
    /// In other settings.
    case spread(@Sendable (Value, Origin, inout RenderRequest) throws -> Void)
    case job(get: @Sendable (RenderJob) -> Value?, set: @Sendable (Value, inout RenderJob) -> Void)
    /// With whoever reads the file.
    case nowhere

    static func at(_ path: WritableKeyPath<RenderJob, Value> & Sendable) -> Place {
        .job(get: { $0[keyPath: path] }, set: { $1[keyPath: path] = $0 })
    }
}
