/// Reads JSON strictly, once, front to back, without building a tree: what is not asked for is not kept.
///
/// For files of strangers: trailing commas, comments, bare control characters, lone surrogates, leading
/// zeros and anything after the value are errors; integers are digits only and never overflow. Nothing here
/// recurses.
public struct JSONScanner {
    private let bytes: [UInt8]
    private let path: String
    private let part: String
    /// What is being read, for errors; "" for the whole.
    package var context = ""
    private var position = 0
    /// Just inside an opening bracket, where no comma may come.
    private var first = false
    private let nonFinite: NonFinite
    /// Numbers met so far that are none: `NaN`, `Infinity`, `-Infinity`, and digits beyond what a Double holds.
    private(set) var nonFiniteNumbers: [String] = []

    /// What to do about `NaN`, `Infinity` and `-Infinity`, which are no JSON but which Python writes.
    public enum NonFinite: Sendable { case refuse, passOver }

    /// - Parameters:
    ///   - path: the file to name in errors.
    ///   - part: the part of it that `bytes` is, for errors.
    /// - Throws: `FileError.malformed` when `bytes` is not UTF-8.
    public init(
        _ bytes: [UInt8], path: String, part: String, nonFinite: NonFinite = .refuse
    ) throws(FileError) {
        self.nonFinite = nonFinite
        self.bytes = bytes
        self.path = path
        self.part = part
        do {
            _ = try UTF8Span(validating: bytes.span)
        } catch {
            throw .malformed(
                path: path, field: part, found: "bytes that are not UTF-8", expected: "UTF-8 JSON")
        }
    }

    // MARK: Containers

    /// Enters an object; `nextKey` follows.
    public mutating func beginObject() throws(FileError) {
        try expect(UInt8(ascii: "{"), "an object")
        first = true
    }

    /// The next key, its value to be read next; nil when the object has ended.
    public mutating func nextKey() throws(FileError) -> String? {
        if try ends(UInt8(ascii: "}")) { return nil }
        let key = try string("a key in double quotes")
        try expect(UInt8(ascii: ":"), "a colon")
        return key
    }

    /// Enters an array; `nextElement` follows.
    public mutating func beginArray() throws(FileError) {
        try expect(UInt8(ascii: "["), "an array")
        first = true
    }

    /// Whether the array has another element, to be read next.
    public mutating func nextElement() throws(FileError) -> Bool {
        try !ends(UInt8(ascii: "]"))
    }

    /// Requires that nothing but white space follows.
    public mutating func end() throws(FileError) {
        skipSpace()
        if position < bytes.count { throw unexpected("the end of the JSON text") }
    }

    // MARK: Values

    public mutating func string() throws(FileError) -> String { try string("a string") }

    /// An integer from 0 to 2⁶³ − 1, written in digits.
    public mutating func count() throws(FileError) -> Int {
        skipSpace()
        let start = position
        var value = 0
        while let byte = peek, isDigit(byte) {
            let (shifted, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = shifted.addingReportingOverflow(Int(byte - UInt8(ascii: "0")))
            if overflow || carry {
                position = start
                throw unexpected("an integer below 2^63")
            }
            value = sum
            position += 1
        }
        let leadingZero = position - start > 1 && bytes[start] == UInt8(ascii: "0")
        if position == start || leadingZero || peek == UInt8(ascii: ".") || peek == UInt8(ascii: "e")
            || peek == UInt8(ascii: "E")
        {
            position = start
            throw unexpected("an integer of digits only")
        }
        return value
    }

    /// A finite number, rounded to the nearest double.
    public mutating func number() throws(FileError) -> Double {
        skipSpace()
        let start = position
        try skipNumber()
        guard let value = Double(String(decoding: bytes[start..<position], as: UTF8.self)), value.isFinite else {
            position = start
            throw unexpected("a number that a double can hold")
        }
        return value
    }

    public mutating func bool() throws(FileError) -> Bool {
        skipSpace()
        let isTrue = peek == UInt8(ascii: "t")
        try literal(isTrue ? "true" : "false")
        return isTrue
    }

    /// Consumes a null, if one comes next.
    public mutating func null() throws(FileError) -> Bool {
        skipSpace()
        guard peek == UInt8(ascii: "n") else { return false }
        try literal("null")
        return true
    }

    /// A value, or which container begins here.
    enum Value: Sendable {
        case string(String), number(Double), bool(Bool), null
        case nonFinite(String)
        /// Not entered yet.
        case object, array
    }

    /// Reads a value that is no container.
    mutating func value() throws(FileError) -> Value {
        skipSpace()
        switch peek {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"):
            try literal("true")
            return .bool(true)
        case UInt8(ascii: "f"):
            try literal("false")
            return .bool(false)
        case UInt8(ascii: "n"):
            try literal("null")
            return .null
        default:
            let start = position
            if nonFinite == .refuse || !skipNonFinite() { try skipNumber() }
            let text = String(decoding: bytes[start..<position], as: UTF8.self)
            if let number = Double(text), number.isFinite { return .number(number) }
            nonFiniteNumbers.append(text)
            return .nonFinite(text)
        }
    }

    /// Checks and passes over one value of any kind.
    ///
    /// - Throws: `FileError.malformed` also when it is nested more than 128 deep.
    public mutating func skipValue() throws(FileError) {
        var closers: [UInt8] = []
        repeat {
            if let closer = closers.last {
                if try ends(closer) {
                    closers.removeLast()
                    continue
                }
                if closer == UInt8(ascii: "}") {
                    _ = try string("a key in double quotes")
                    try expect(UInt8(ascii: ":"), "a colon")
                }
            }
            switch try value() {
            case .object: closers.append(UInt8(ascii: "}"))
            case .array: closers.append(UInt8(ascii: "]"))
            default: continue
            }
            if closers.count > 128 { throw unexpected("nesting of at most 128") }
            position += 1
            first = true
        } while !closers.isEmpty
    }

    /// Checks and passes over one value of any kind, and returns its text.
    package mutating func valueText() throws(FileError) -> ArraySlice<UInt8> {
        skipSpace()
        let start = position
        try skipValue()
        return bytes[start..<position]
    }

    // MARK: Pieces

    /// An error about the text here.
    package func unexpected(_ expected: String) -> FileError {
        let found =
            peek.map { $0 > 0x20 && $0 < 0x7f ? "'\(Character(UnicodeScalar($0)))'" : "byte \($0)" } ?? "its end"
        let place = context.isEmpty ? part : "\(part), \(context.shortened)"
        return .malformed(
            path: path, field: "\(place), byte \(position)", found: found, expected: expected)
    }

    private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

    private func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") <= 9 }

    private mutating func skipSpace() {
        while let byte = peek, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 {
            position += 1
        }
    }

    private mutating func expect(_ byte: UInt8, _ name: String) throws(FileError) {
        skipSpace()
        if peek != byte { throw unexpected(name) }
        position += 1
    }

    /// Consumes the bracket that ends a container, or the comma before another element.
    private mutating func ends(_ closer: UInt8) throws(FileError) -> Bool {
        skipSpace()
        defer { first = false }
        if peek == closer {
            position += 1
            return true
        }
        if !first {
            if peek != UInt8(ascii: ",") {
                throw unexpected("a comma or '\(Character(UnicodeScalar(closer)))'")
            }
            position += 1
            skipSpace()
        }
        return false
    }

    private mutating func literal(_ text: StaticString) throws(FileError) {
        for index in 0..<text.utf8CodeUnitCount {
            if peek != text.utf8Start[index] { throw unexpected("\(text)") }
            position += 1
        }
    }

    private mutating func skipNonFinite() -> Bool {
        for name in ["NaN", "Infinity", "-Infinity"] where bytes[position...].starts(with: name.utf8) {
            position += name.utf8.count
            return true
        }
        return false
    }

    private mutating func skipNumber() throws(FileError) {
        if peek == UInt8(ascii: "-") { position += 1 }
        let start = position
        try skipDigits("a JSON value")
        if position - start > 1 && bytes[start] == UInt8(ascii: "0") {
            position = start
            throw unexpected("a number without leading zeros")
        }
        if peek == UInt8(ascii: ".") {
            position += 1
            try skipDigits("digits")
        }
        if peek == UInt8(ascii: "e") || peek == UInt8(ascii: "E") {
            position += 1
            if peek == UInt8(ascii: "+") || peek == UInt8(ascii: "-") { position += 1 }
            try skipDigits("digits")
        }
    }

    private mutating func skipDigits(_ expected: String) throws(FileError) {
        let start = position
        while let byte = peek, isDigit(byte) { position += 1 }
        if position == start { throw unexpected(expected) }
    }

    private mutating func string(_ expected: String) throws(FileError) -> String {
        try expect(UInt8(ascii: "\""), expected)
        var start = position
        var unescaped: [UInt8] = []
        while let byte = peek {
            if byte == UInt8(ascii: "\"") {
                let tail = bytes[start..<position]
                position += 1
                return unescaped.isEmpty
                    ? String(decoding: tail, as: UTF8.self) : String(decoding: unescaped + tail, as: UTF8.self)
            }
            if byte < 0x20 { throw unexpected("control characters in strings to be escaped") }
            if byte == UInt8(ascii: "\\") {
                unescaped += bytes[start..<position]
                position += 1
                unescaped += Array(String(try escape()).utf8)
                start = position
            } else {
                position += 1
            }
        }
        throw unexpected("a closing quote")
    }

    private mutating func escape() throws(FileError) -> UnicodeScalar {
        guard let byte = peek else { throw unexpected("an escape") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return UnicodeScalar(byte)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            var code = try fourHexDigits()
            if 0xd800..<0xdc00 ~= code && peek == UInt8(ascii: "\\") {
                position += 1
                try expectHere(UInt8(ascii: "u"), "the second half of a surrogate pair")
                let low = try fourHexDigits()
                if !(0xdc00..<0xe000 ~= low) { throw unexpected("the second half of a surrogate pair") }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = UnicodeScalar(code) else { throw unexpected("both halves of a surrogate pair") }
            return scalar
        default:
            position -= 1
            throw unexpected("a JSON escape")
        }
    }

    private mutating func expectHere(_ byte: UInt8, _ name: String) throws(FileError) {
        if peek != byte { throw unexpected(name) }
        position += 1
    }

    private mutating func fourHexDigits() throws(FileError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = peek, let digit = Character(UnicodeScalar(byte)).hexDigitValue, byte < 0x80
            else { throw unexpected("four hexadecimal digits") }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }
}
