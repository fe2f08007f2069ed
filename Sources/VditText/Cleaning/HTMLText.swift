/// Character references of HTML.
enum HTMLText {
    /// All references, those without a semicolon too, as Python's `html.unescape` does.
    static func unescaped(_ text: String) -> String {
        replacing(text) { rest in
            if rest.first == "#" { return number(rest) }
            let name = rest.prefix(32).prefix { !"\t\n\u{c} <&#;".unicodeScalars.contains($0) }
            if name.isEmpty { return nil }
            let semicolon = rest.dropFirst(name.count).first == ";"
            if semicolon, let text = HTMLEntities.characters[String(name) + ";"] { return (text, name.count + 1) }
            // The longest name that needs no semicolon, as in "&notit;".
            for length in stride(from: name.count, through: 2, by: -1) {
                if let text = HTMLEntities.characters[String(name.prefix(length))] { return (text, length) }
            }
            return nil
        }
    }

    /// References that end in a semicolon, and those of lower-case names written in capitals, as ftfy does.
    static func unescapingNames(_ text: String) -> String {
        replacing(text) { rest in
            let hash = rest.first == "#" ? 1 : 0
            let name = rest.dropFirst(hash).prefix(25).prefix {
                $0.isASCII && ($0.properties.isAlphabetic || digit($0, 10) != nil)
            }
            guard 1...24 ~= name.count, rest.dropFirst(hash + name.count).first == ";" else { return nil }
            if hash == 1 {
                // What is not a number to its end stays.
                guard let (text, length) = number(rest), length == name.count + 2, text != ";" else { return nil }
                return (text, length)
            }
            let key = String(name) + ";"
            if let text = HTMLEntities.characters[key] { return (text, name.count + 1) }
            let lower = key.lowercased()
            guard key == key.uppercased(), let text = HTMLEntities.characters[lower], unescaped("&" + key) == "&" + key
            else { return nil }
            return (text.uppercased(), name.count + 1)
        }
    }

    /// A text with references replaced; `body` gets what follows an ampersand and returns the text for it and how
    /// many scalars after the ampersand that stands for, or nil for no reference.
    private static func replacing(
        _ text: String, _ body: (Substring.UnicodeScalarView) -> (text: String, length: Int)?
    ) -> String {
        var result = String.UnicodeScalarView()
        var rest = text.unicodeScalars[...]
        while let scalar = rest.first {
            rest = rest.dropFirst()
            if scalar == "&", let (text, length) = body(rest) {
                result += text.unicodeScalars
                rest = rest.dropFirst(length)
            } else {
                result.append(scalar)
            }
        }
        return String(result)
    }

    /// `#n` or `#xh`, with its semicolon if it has one.
    private static func number(_ rest: Substring.UnicodeScalarView) -> (text: String, length: Int)? {
        let isHex = rest.dropFirst().first == "x" || rest.dropFirst().first == "X"
        let radix: UInt32 = isHex ? 16 : 10
        let start = isHex ? 2 : 1
        var value: UInt32 = 0
        var length = start
        for scalar in rest.dropFirst(start) {
            guard let digit = digit(scalar, radix) else { break }
            value = min(value * radix + digit, 0x11_0000)
            length += 1
        }
        if length == start { return nil }
        if rest.dropFirst(length).first == ";" { length += 1 }
        return (character(value), length)
    }

    private static func digit(_ scalar: Unicode.Scalar, _ radix: UInt32) -> UInt32? {
        guard scalar.isASCII, let digit = Character(scalar).hexDigitValue, digit < Int(radix) else { return nil }
        return UInt32(digit)
    }

    /// The character of a numeric reference: Windows-1252's for 128 to 159, nothing for code points that are no
    /// characters.
    private static func character(_ value: UInt32) -> String {
        switch value {
        case 0, 0xd800...0xdfff, 0x11_0000...: return "\u{fffd}"
        case 0xd: return "\r"
        case 0x80...0x9f: return String(windows1252[Int(value - 0x80)])
        case 1...8, 0xb, 0xe...0x1f, 0x7f, 0xfdd0...0xfdef: return ""
        case _ where value & 0xfffe == 0xfffe: return ""
        default: return Unicode.Scalar(value).map(String.init) ?? "\u{fffd}"
        }
    }

    private static let windows1252 = Array(
        "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ".unicodeScalars)
}
