/// How the values of an option are written.
public struct OptionKind<Value: Sendable>: Sendable {
    /// The range in words.
    let range: String
    /// Nil for what is no value, or one out of range.
    let parse: @Sendable (String) -> Value?
    let text: @Sendable (Value) -> String
}

extension OptionKind where Value == Int {
    package static func integer(_ range: ClosedRange<Int>) -> Self {
        Self(
            range: "an integer from \(range.lowerBound) to \(range.upperBound)",
            parse: { Int($0).flatMap { range.contains($0) ? $0 : nil } }, text: { "\($0)" })
    }
}

extension OptionKind where Value == Int? {
    /// An integer, or `auto` (nil) for one the method derives from the layout.
    package static func automaticInteger(_ range: ClosedRange<Int>) -> Self {
        let integer = OptionKind<Int>.integer(range)
        return Self(
            range: "auto, or " + integer.range,
            parse: { $0 == "auto" ? .some(nil) : integer.parse($0).map(Optional.some) },
            text: { $0.map { "\($0)" } ?? "auto" })
    }
}

extension OptionKind where Value == Double {
    package static func number(_ range: ClosedRange<Double>) -> Self {
        Self(
            range: "a number from \(range.lowerBound) to \(range.upperBound)",
            parse: { Double($0).flatMap { range.contains($0) ? $0 : nil } }, text: shortText)
    }
}

extension OptionKind where Value == String {
    package static var text: Self { Self(range: "a name", parse: { $0 }, text: { $0 }) }
}

extension OptionKind where Value == Bool {
    package static var onOff: Self {
        Self(range: "on or off", parse: { ["on": true, "off": false][$0] }, text: { $0 ? "on" : "off" })
    }
}

extension OptionKind where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    package static var choice: Self {
        Self(
            range: Value.allCases.map(\.rawValue).joined(separator: " or "), parse: { Value(rawValue: $0) },
            text: { $0.rawValue })
    }
}

extension OptionKind where Value == DenseSchedule.Steps {
    /// A count of steps, or a part of the loop as `25%` or `0.25`.
    package static var steps: Self {
        Self(
            range: "a number of steps, or a part of them such as 25% or 0.25",
            parse: { text in
                if text.hasSuffix("%") {
                    guard let percent = Double(text.dropLast()), (0...100).contains(percent) else { return nil }
                    return .fraction(percent / 100)
                }
                if let count = Int(text) { return (0...100_000).contains(count) ? .count(count) : nil }
                guard let fraction = Double(text), (0...1).contains(fraction) else { return nil }
                return .fraction(fraction)
            },
            text: { steps in
                switch steps {
                case .count(let count): "\(count)"
                case .fraction(let fraction): shortText(fraction * 100) + "%"
                }
            })
    }
}

/// `128` for 128.0, as a person writes it.
private func shortText(_ value: Double) -> String {
    Int(exactly: value).map { "\($0)" } ?? "\(value)"
}

/// An option of a method or a cache, declared once: its entry lists it, and what is made of it reads its value by it.
public struct MethodOption<Value: Sendable>: AnyMethodOption {
    public let name: String
    public let summary: String
    let kind: OptionKind<Value>
    let standard: Value

    package init(_ name: String, _ kind: OptionKind<Value>, default value: Value, _ summary: String) {
        self.name = name
        self.kind = kind
        standard = value
        self.summary = summary
    }

    public var range: String { kind.range }
    public var defaultSetting: OptionSetting { self(standard) }

    /// The option at a value.
    package func callAsFunction(_ value: Value) -> OptionSetting {
        OptionSetting(name: name, text: kind.text(value), value: value)
    }

    public func setting(_ text: String) -> OptionSetting? {
        kind.parse(text).map { OptionSetting(name: name, text: text, value: $0) }
    }

    /// The same option of a method with another default.
    package func standing(at value: Value) -> MethodOption { MethodOption(name, kind, default: value, summary) }
}

extension [MethodOption<Int>] {
    /// Values found for these options, by name.
    func solved(_ values: [Int]) -> [String: Double] {
        Dictionary(uniqueKeysWithValues: zip(self, values).map { ($0.name, Double($1)) })
    }
}

/// An option whatever the type of its values: what a list shows, and what reads `name=value`.
public protocol AnyMethodOption: Sendable {
    var name: String { get }
    /// One line for a person.
    var summary: String { get }
    /// The values in words.
    var range: String { get }
    var defaultSetting: OptionSetting { get }
    /// Nil for what is no value, or one out of range.
    func setting(_ text: String) -> OptionSetting?
}

/// An option at a value, which keeps how it was written: runs are recognised by that.
public struct OptionSetting: Sendable, Equatable {
    public let name: String
    public let text: String
    let value: any Sendable

    public static func == (a: OptionSetting, b: OptionSetting) -> Bool { a.name == b.name && a.text == b.text }
}

/// Options at values, each at one.
public struct OptionSettings: Sendable, Equatable {
    private var settings: [String: OptionSetting] = [:]

    init(_ settings: [OptionSetting] = []) {
        for setting in settings { self.settings[setting.name] = setting }
    }

    /// The value of an option, its default where it is not among these.
    package subscript<Value>(_ option: MethodOption<Value>) -> Value {
        settings[option.name]?.value as? Value ?? option.standard
    }

    mutating func remove(_ name: String) { settings[name] = nil }

    /// These, where the others say nothing.
    func overridden(by others: OptionSettings) -> OptionSettings {
        var all = self
        all.settings.merge(others.settings) { $1 }
        return all
    }

    /// How each is written, by name.
    public var texts: [String: String] { settings.mapValues(\.text) }
}
