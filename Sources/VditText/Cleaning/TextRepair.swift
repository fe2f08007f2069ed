/// `ftfy.fix_text` of ftfy 6.3 without its repair of wrongly decoded text.
enum TextRepair {
    static func applied(to text: String) -> String {
        var result = ""
        var unescapes = true
        var rest = text.unicodeScalars[...]
        while !rest.isEmpty {
            let end = rest.firstIndex(of: "\n").map { rest.index(after: $0) } ?? rest.endIndex
            // What has tags is HTML: its entities are meant, there and in what follows.
            if rest[..<end].contains("<") { unescapes = false }
            result += line(String(rest[..<end]), unescapes: unescapes)
            rest = rest[end...]
        }
        return result
    }

    /// One line, again and again until nothing changes.
    private static func line(_ text: String, unescapes: Bool) -> String {
        var text = text
        while true {
            var next = unescapes ? HTMLText.unescapingNames(text) : text
            next = plainLetters(next)
            next = withoutControls(withoutTerminalEscapes(withPlainLineEnds(next)))
            next = UnicodeForms.composed(next)
            // Strings equal under canonical equivalence may differ in their scalars.
            if next.unicodeScalars.elementsEqual(text.unicodeScalars) { return next }
            text = next
        }
    }

    /// Ligatures as letters, full and half width forms as plain ones, curly quotes straight.
    private static func plainLetters(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            for letter in (ligatures[scalar] ?? String(scalar)).unicodeScalars {
                for plain in plainWidth(letter).unicodeScalars {
                    switch plain.value {
                    case 0x2bc, 0x2018...0x201b: result.append("'")
                    case 0x201c...0x201f: result.append("\"")
                    default: result.append(plain)
                    }
                }
            }
        }
        return String(result)
    }

    private static func plainWidth(_ scalar: Unicode.Scalar) -> String {
        switch scalar.value {
        case 0x3000: " "
        case 0xff01...0xffef: UnicodeForms.compatible(scalar)
        default: String(scalar)
        }
    }

    private static let ligatures: [Unicode.Scalar: String] = [
        "\u{132}": "IJ", "\u{133}": "ij", "\u{149}": "\u{2bc}n",
        "\u{1f1}": "DZ", "\u{1f2}": "Dz", "\u{1f3}": "dz",
        "\u{1c4}": "D\u{17d}", "\u{1c5}": "D\u{17e}", "\u{1c6}": "d\u{17e}",
        "\u{1c7}": "LJ", "\u{1c8}": "Lj", "\u{1c9}": "lj",
        "\u{1ca}": "NJ", "\u{1cb}": "Nj", "\u{1cc}": "nj",
        "\u{fb00}": "ff", "\u{fb01}": "fi", "\u{fb02}": "fl", "\u{fb03}": "ffi", "\u{fb04}": "ffl",
        "\u{fb05}": "\u{17f}t", "\u{fb06}": "st",
    ]

    /// CR LF, CR, line and paragraph separators and U+0085 as LF.
    private static func withPlainLineEnds(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        var previous: Unicode.Scalar?
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n" where previous == "\r": break
            case "\r", "\u{2028}", "\u{2029}", "\u{85}": result.append("\n")
            default: result.append(scalar)
            }
            previous = scalar
        }
        return String(result)
    }

    /// Without `ESC [ digits and semicolons letter`.
    private static func withoutTerminalEscapes(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        var rest = text.unicodeScalars[...]
        while let scalar = rest.first {
            if scalar == "\u{1b}", rest.dropFirst().first == "[" {
                let tail = rest.dropFirst(2).drop { $0 == ";" || $0.properties.generalCategory == .decimalNumber }
                if let letter = tail.first, letter.isASCII, letter.properties.isAlphabetic {
                    rest = tail.dropFirst()
                    continue
                }
            }
            result.append(scalar)
            rest = rest.dropFirst()
        }
        return String(result)
    }

    private static func withoutControls(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0...8, 0xb, 0xe...0x1f, 0x7f, 0x206a...0x206f, 0xfeff, 0xfff9...0xfffc: break
            default: result.append(scalar)
            }
        }
        return String(result)
    }
}
