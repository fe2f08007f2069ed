extension String {
    /// A name from a file, short enough for a message.
    package var shortened: String { utf8.count <= 160 ? self : String(unicodeScalars.prefix(120)) + "…" }

    /// With control characters, line ends and bidirectional overrides as escapes: what a file names itself
    /// can neither break a message nor drive a terminal. So are bytes of names that are no text.
    public var onOneLine: String {
        func isHarmful(_ scalar: UnicodeScalar) -> Bool {
            switch scalar.value {
            case ..<0x20, 0x7f..<0xa0, 0x2028...0x202e, 0x2066...0x2069: true
            default: scalar.escapedByte != nil
            }
        }
        if !unicodeScalars.contains(where: isHarmful) { return self }
        return unicodeScalars.reduce(into: "") { text, scalar in
            switch scalar {
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case _ where scalar.escapedByte != nil: text += "\\x\(String(scalar.value & 0xff, radix: 16, uppercase: true))"
            case _ where isHarmful(scalar): text += "\\u{\(String(scalar.value, radix: 16))}"
            default: text.unicodeScalars.append(scalar)
            }
        }
    }
}
