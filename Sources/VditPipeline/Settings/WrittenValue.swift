import VditAttention
import VditMedia
import VditModels
import VditTensor

/// A value of a setting: how it is written in flags, variables, pipeline files and identities.
public protocol WrittenValue: Sendable, Equatable {
    /// Nil for text that is no such value.
    init?(written text: String)
    /// What `init(written:)` reads back.
    var written: String { get }
    /// As tables show it.
    var shown: String { get }
    /// The value a record has, and what it was before it was recorded.
    var recorded: RecordedValue { get }
    init?(recorded: RecordedValue)
    /// Nil where an optional has no value.
    var present: (any WrittenValue)? { get }
    /// How a pipeline file has it, unless the row says otherwise.
    static var kind: SettingKind { get }
}

/// A setting's value in JSON.
public enum RecordedValue: Sendable, Equatable, Codable {
    case integer(Int), number(Double), numbers([Double]), text(String)

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let value = try? container.decode(Int.self) {
            self = .integer(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let values = try? container.decode([Double].self) {
            self = .numbers(values)
        } else {
            self = .text(try container.decode(String.self))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .integer(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .numbers(let values): try container.encode(values)
        case .text(let text): try container.encode(text)
        }
    }
}

extension WrittenValue {
    public var shown: String { "\(self)" }
    public var recorded: RecordedValue { .text(written) }
    public init?(recorded: RecordedValue) {
        guard case .text(let text) = recorded else { return nil }
        self.init(written: text)
    }
    public var present: (any WrittenValue)? { self }
    public static var kind: SettingKind { .written("text") }
}

extension WrittenValue where Self: RawRepresentable, RawValue == String {
    public init?(written text: String) { self.init(rawValue: text) }
    public var written: String { rawValue }
}

extension WrittenValue where Self: RawRepresentable & CaseIterable, RawValue == String {
    public static var kind: SettingKind { .choice(allCases.map(\.rawValue)) }
}

extension Precision: WrittenValue {}
extension AttentionPrecision: WrittenValue {}
extension LayerKeeping: WrittenValue {}
extension VideoCodec: WrittenValue {}
extension FrameRounding: WrittenValue {}
extension ImageFit: WrittenValue {}
extension GuidanceSchedule: WrittenValue {}
extension SchedulerConfiguration.Kind: WrittenValue {}
extension UniPCMultistep.Spacing: WrittenValue {}
extension AttentionContext.Fallback: WrittenValue {}

extension Int: WrittenValue {
    public init?(written text: String) { self.init(text) }
    public var written: String { "\(self)" }
    public var recorded: RecordedValue { .integer(self) }
    public init?(recorded: RecordedValue) {
        guard case .integer(let value) = recorded else { return nil }
        self = value
    }
    public static var kind: SettingKind { .integer(.min ... .max) }
}

extension Double: WrittenValue {
    public init?(written text: String) { self.init(text) }
    public var written: String { "\(self)" }
    public var recorded: RecordedValue { .number(self) }
    public init?(recorded: RecordedValue) {
        switch recorded {
        case .integer(let value): self.init(value)
        case .number(let value): self = value
        default: return nil
        }
    }
    public static var kind: SettingKind { .number }
}

extension Bool: WrittenValue {
    public init?(written text: String) { self.init(text) }
    public var written: String { "\(self)" }
    public static var kind: SettingKind { .flag }
}

extension String: WrittenValue {
    public init?(written text: String) { self = text }
    public var written: String { self }
}

/// Options by name, `name=value,name=value` in writing.
extension Dictionary: WrittenValue where Key == String, Value == String {
    public init?(written text: String) {
        self = [:]
        for option in text.split(separator: ",") {
            guard let equals = option.firstIndex(of: "="), equals != option.startIndex,
                option.index(after: equals) != option.endIndex,
                updateValue(String(option[option.index(after: equals)...]), forKey: String(option[..<equals])) == nil
            else { return nil }
        }
    }
    public var written: String {
        sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
    }
    public var shown: String { written }
    public static var kind: SettingKind { .options }
}

extension Optional: WrittenValue where Wrapped: WrittenValue {
    public init?(written text: String) {
        guard let value = Wrapped(written: text) else { return nil }
        self = .some(value)
    }
    public var written: String { self?.written ?? "" }
    public var recorded: RecordedValue { self?.recorded ?? .text("") }
    public init?(recorded: RecordedValue) {
        guard let value = Wrapped(recorded: recorded) else { return nil }
        self = .some(value)
    }
    public var present: (any WrittenValue)? { flatMap { $0.present } }
    public static var kind: SettingKind { Wrapped.kind }
}

extension FrameRate: WrittenValue {
    public init?(written text: String) {
        guard let rate = try? FrameRate(parsing: text) else { return nil }
        self = rate
    }
    public var written: String { description }
    public static var kind: SettingKind { .written(range) }
}

extension SampleDepth: WrittenValue {
    public init?(written text: String) {
        guard let depth = Int(text).flatMap(SampleDepth.init(rawValue:)) else { return nil }
        self = depth
    }
    public var written: String { "\(rawValue)" }
    public static var kind: SettingKind { .written("8 or 16") }
}

/// The part of the loop with guidance: two fractions of it, `0.1:0.9` in writing.
public struct GuidanceInterval: WrittenValue, CustomStringConvertible {
    public var start: Double
    public var end: Double

    public static let whole = GuidanceInterval(0, 1)

    public init(_ start: Double, _ end: Double) { (self.start, self.end) = (start, end) }

    public init?(written text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { Double($0) }
        guard parts.count == 2, let start = parts[0], let end = parts[1] else { return nil }
        self.init(start, end)
    }
    public var written: String { "\(start):\(end)" }
    public var description: String { written }
    public var recorded: RecordedValue { .numbers([start, end]) }
    public init?(recorded: RecordedValue) {
        guard case .numbers(let values) = recorded, values.count == 2 else { return nil }
        self.init(values[0], values[1])
    }
    public static var kind: SettingKind { .written("two fractions of the loop, such as 0:0.8") }
}

/// Width and height in pixels, `832x480`, `832*480` or `832×480` in writing.
public struct FrameSize: WrittenValue {
    public var width: Int
    public var height: Int

    public init(width: Int, height: Int) { (self.width, self.height) = (width, height) }

    public init?(written text: String) {
        let parts = text.split(omittingEmptySubsequences: false) { "x*×".contains($0) }
            .map { $0.allSatisfy(\.isNumber) ? Int($0) : nil }
        guard parts.count == 2, let width = parts[0], let height = parts[1] else { return nil }
        self.init(width: width, height: height)
    }
    public var written: String { "\(width)x\(height)" }
    public static var kind: SettingKind { .size }
}

/// Bytes as a person writes them: `20G`, `1.5GiB`, `512M`, `1073741824`. Units are powers of 1024.
public struct ByteCount: WrittenValue {
    public var bytes: Int

    public init(_ bytes: Int) { self.bytes = bytes }

    public init?(written text: String) {
        let digits = text.prefix { $0.isASCII && $0.isNumber || $0 == "." }
        let unit = text.dropFirst(digits.count).uppercased()
        let power = ["", "K", "M", "G", "T"].firstIndex { [$0, $0 + "B", $0 + "IB"].contains(unit) }
        guard let power, let number = Double(digits) else { return nil }
        let value = (0..<power).reduce(number) { value, _ in value * 1024 }
        guard value >= 1, value < 1e18 else { return nil }
        bytes = Int(value)
    }
    public var written: String { "\(bytes)" }
    public static var kind: SettingKind { .written("a size such as 20G or 512M") }
}
