/// An option of a method: what `--sparse-option name=value` may say.
public struct MethodOption: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        case integer(ClosedRange<Int>)
        /// An integer, or `auto` for one the method derives from the layout.
        case automaticInteger(ClosedRange<Int>)
        case number(ClosedRange<Double>)
        case choice([String])
        /// A count of steps, or a part of the loop as `25%` or `0.25`.
        case steps

        /// The range in words.
        public var range: String {
            switch self {
            case .integer(let range): "an integer from \(range.lowerBound) to \(range.upperBound)"
            case .automaticInteger(let range):
                "auto, or an integer from \(range.lowerBound) to \(range.upperBound)"
            case .number(let range): "a number from \(range.lowerBound) to \(range.upperBound)"
            case .choice(let values): values.joined(separator: " or ")
            case .steps: "a number of steps, or a part of them such as 25% or 0.25"
            }
        }

        func accepts(_ text: String) -> Bool {
            switch self {
            case .integer(let range): Int(text).map(range.contains) ?? false
            case .automaticInteger(let range):
                text == "auto" || (Int(text).map(range.contains) ?? false)
            case .number(let range): Double(text).map(range.contains) ?? false
            case .choice(let values): values.contains(text)
            case .steps: Self.steps(text) != nil
            }
        }

        static func steps(_ text: String) -> DenseSchedule.Steps? {
            if text.hasSuffix("%") {
                guard let percent = Double(text.dropLast()), (0...100).contains(percent) else { return nil }
                return .fraction(percent / 100)
            }
            if let count = Int(text) { return (0...100_000).contains(count) ? .count(count) : nil }
            guard let fraction = Double(text), (0...1).contains(fraction) else { return nil }
            return .fraction(fraction)
        }
    }

    public let name: String
    public let kind: Kind
    public let defaultValue: String
    /// One line for a person.
    public let summary: String

    init(_ name: String, _ kind: Kind, default value: String, _ summary: String) {
        assert(kind.accepts(value))
        self.name = name
        self.kind = kind
        defaultValue = value
        self.summary = summary
    }

    static let onOff = Kind.choice(["on", "off"])
}

/// Values of all options of a method, each checked against its option.
public struct MethodOptionValues: Sendable, Equatable {
    /// By option name.
    public let values: [String: String]

    func text(_ name: String) -> String { values[name] ?? "" }
    func integer(_ name: String) -> Int { automaticInteger(name) ?? 0 }
    /// Nil where the value is `auto`.
    func automaticInteger(_ name: String) -> Int? { Int(text(name)) }
    func number(_ name: String) -> Double { Double(text(name)) ?? 0 }
    func isOn(_ name: String) -> Bool { text(name) == "on" }
    func steps(_ name: String) -> DenseSchedule.Steps { MethodOption.Kind.steps(text(name)) ?? .count(0) }
}
