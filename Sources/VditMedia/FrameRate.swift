import VditTensor

/// Frames per second as an exact fraction, in lowest terms.
public struct FrameRate: Sendable, Hashable, CustomStringConvertible {
    public let numerator: Int
    public let denominator: Int

    /// The rates a container and a player can do something with.
    public static let range = "a rate between 1/100 and 1000 frames per second, such as 16, 23.976 or 30000/1001"

    /// 16 frames per second, Wan 2.1's own.
    public static let sixteen = FrameRate(inLowestTerms: 16, 1)

    private init(inLowestTerms numerator: Int, _ denominator: Int) {
        self.numerator = numerator
        self.denominator = denominator
    }

    /// - Throws: `MediaError.invalid` outside 1/100 … 1000, or where a term exceeds 1,000,000.
    public init(_ numerator: Int, _ denominator: Int = 1) throws(MediaError) {
        let limit = 1_000_000
        guard numerator > 0, denominator > 0, numerator <= limit, denominator <= limit,
            numerator <= 1000 * denominator, denominator <= 100 * numerator
        else {
            throw .invalid(
                "frame rate", found: "\(numerator)/\(denominator)", expected: Self.range, kind: .usage)
        }
        var (a, b) = (numerator, denominator)
        while b != 0 { (a, b) = (b, a % b) }
        self.numerator = numerator / a
        self.denominator = denominator / a
    }

    /// Reads `16`, `23.976` (exactly that decimal) or `30000/1001`.
    ///
    /// - Throws: `MediaError.invalid` for anything else: signs, spaces, exponents, a decimal comma, `nan`.
    public init(parsing text: String) throws(MediaError) {
        let invalid = MediaError.invalid(
            "frame rate", found: "\"\(text.prefix(40))\"", expected: Self.range, kind: .usage)
        let digits = { (part: Substring) -> Int? in
            part.allSatisfy { $0.isASCII && $0.isNumber } && part.count <= 7 ? Int(part) : nil
        }
        let fraction = text.split(separator: "/", omittingEmptySubsequences: false)
        if fraction.count == 2 {
            guard let above = digits(fraction[0]), let below = digits(fraction[1]) else { throw invalid }
            try self.init(above, below)
            return
        }
        let decimal = text.split(separator: ".", omittingEmptySubsequences: false)
        guard decimal.count == 1 || decimal.count == 2, let whole = digits(decimal[0]), whole <= 1000
        else { throw invalid }
        if decimal.count == 1 {
            try self.init(whole)
            return
        }
        guard decimal[1].count <= 3, let thousandths = digits(decimal[1]) else { throw invalid }
        let scale = [10, 100, 1000][decimal[1].count - 1]
        try self.init(whole * scale + thousandths, scale)
    }

    /// The same rate rounded to a double.
    public var framesPerSecond: Double { Double(numerator) / Double(denominator) }

    public var description: String { denominator == 1 ? "\(numerator)" : "\(numerator)/\(denominator)" }
}
