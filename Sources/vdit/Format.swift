import Foundation
import VDiT

/// Numbers for people.
enum Format {
    /// `20.4 M`
    static func count(_ value: Double) -> String {
        for (size, unit) in [(1e18, " E"), (1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")]
        where value >= size { return rounded(value / size) + unit }
        return rounded(value)
    }

    /// `31.2 ms`, `7.31 s`, `4:05 min`, `1:04:05 h`
    static func seconds(_ value: Double) -> String {
        if value < 1 { return rounded(value * 1000) + " ms" }
        if value < 60 { return String(format: value < 10 ? "%.2f s" : "%.1f s", value) }
        let whole = value < 1e9 ? Int(value.rounded()) : 1_000_000_000
        return whole < 3600
            ? String(format: "%d:%02d min", whole / 60, whole % 60)
            : String(format: "%d:%02d:%02d h", whole / 3600, whole / 60 % 60, whole % 60)
    }

    static func percent(_ fraction: Double) -> String { String(format: "%.0f %%", fraction * 100) }

    /// Of 1, with as many digits as are worth reading: `0.248`.
    static func fraction(_ value: Double) -> String { String(format: value < 0.1 ? "%.4f" : "%.3f", value) }

    private static func rounded(_ value: Double) -> String {
        String(format: value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : "%.2f", value)
    }

    /// Sorted, indented JSON in snake_case.
    static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
