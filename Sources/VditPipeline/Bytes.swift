import Foundation

/// Byte counts for people. Units are powers of 1024.
public enum Bytes {
    /// Three digits, or all below 1 KiB: `512 bytes`, `1.5 GiB`, `300 MiB`.
    public static func text(_ bytes: Int) -> String {
        guard bytes.magnitude >= 1024 else { return exact(bytes) }
        var (value, unit) = (Double(bytes) / 1024, 0)
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
        // 999.5 has three digits no more.
        while value.magnitude >= 999.5, unit + 1 < units.count { (value, unit) = (value / 1024, unit + 1) }
        let digits = value.magnitude >= 99.95 ? 0 : value.magnitude >= 9.995 ? 1 : 2
        let number = String(format: "%.\(digits)f", value)
        let short = digits == 0 ? number : number.replacing(/\.?0+$/, with: "")
        return "\(short) \(units[unit])"
    }

    /// Two counts that are set against each other: exact ones where rounding would make them read the same.
    public static func texts(_ one: Int, _ other: Int) -> (String, String) {
        let rounded = (text(one), text(other))
        return rounded.0 == rounded.1 && one != other ? (exact(one), exact(other)) : rounded
    }

    private static func exact(_ bytes: Int) -> String { bytes == 1 ? "1 byte" : "\(bytes) bytes" }
}
