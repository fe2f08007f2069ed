import VditFiles

/// A value of a configuration file in JSON.
public enum ConfigurationValue: Sendable, Equatable {
    case text(String)
    case integer(Int)
    case number(Double)
    case flag(Bool)
    case list([ConfigurationValue])

    public static func integers(_ values: [Int]) -> Self { .list(values.map { .integer($0) }) }
    public static func numbers(_ values: [Float]) -> Self { .list(values.map { .number(Double($0)) }) }
    public static func texts(_ values: [String]) -> Self { .list(values.map { .text($0) }) }
    public static func flags(_ values: [Bool]) -> Self { .list(values.map { .flag($0) }) }
}
