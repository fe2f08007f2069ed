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

    /// What nobody knows to the second: `8 s`, `4 min`, `2.5 h`, `21 h`.
    static func about(_ value: Double) -> String {
        let (number, unit) = value < 100 ? (value, "s") : value < 6000 ? (value / 60, "min") : (value / 3600, "h")
        return String(format: number < 9.5 && unit != "min" ? "%.1f" : "%.0f", number)
            .replacingOccurrences(of: ".0", with: "") + " \(unit)"
    }

    /// `4 to 6 min`, `80 s to 2 min`.
    static func range(_ least: Double, _ most: Double) -> String {
        let (from, to) = (about(least).split(separator: " "), about(most).split(separator: " "))
        return from[1] == to[1] ? "\(from[0]) to \(to[0]) \(to[1])" : "\(about(least)) to \(about(most))"
    }

    /// The time of day so many seconds from now; with the date where that is another day.
    static func clock(in seconds: Double) -> String {
        let then = Date().addingTimeInterval(seconds)
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.dateFormat = Calendar.current.isDateInToday(then) ? "HH:mm" : "yyyy-MM-dd HH:mm"
        return formatter.string(from: then)
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
