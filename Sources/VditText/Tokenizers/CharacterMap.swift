import VditFiles

/// sentencepiece's `precompiled_charsmap`: replacements of byte sequences, in a double array.
///
/// Layout, little endian: u32 length n; n bytes of u32 units; NUL-terminated replacements.
/// - Differs: the tokenizers library looks up one grapheme cluster at a time and takes its shortest key. The result is
///   another for decomposed kana and jamo, which prompt cleaning has composed.
struct CharacterMap: Sendable {
    private let units: [UInt32]
    private let replacements: [UInt8]
    private let path: String

    /// - Throws: `FileError.malformed` for sizes that do not fit each other, or replacements that are not UTF-8.
    init(_ bytes: some Collection<UInt8>, path: String) throws(FileError) {
        let bytes = Array(bytes)
        func defect(_ found: String, _ expected: String) -> FileError {
            .malformed(path: path, field: "precompiled_charsmap", found: found, expected: expected)
        }
        guard bytes.count >= 8 else { throw defect("\(bytes.count) bytes", "at least 8") }
        func word(_ at: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(bytes[at + $1]) << (8 * $1) } }
        let length = Int(word(0))
        guard length >= 4, length % 4 == 0, length <= bytes.count - 4 else {
            throw defect("\(length) bytes of units in \(bytes.count)", "a multiple of 4 that fits")
        }
        units = stride(from: 4, to: 4 + length, by: 4).map(word)
        replacements = Array(bytes[(4 + length)...])
        guard replacements.last ?? 0 == 0, String(validating: replacements, as: UTF8.self) != nil else {
            throw defect("replacements that are not NUL-terminated UTF-8", "such")
        }
        self.path = path
    }

    /// A text with the longest sequences the map knows replaced, other characters copied.
    ///
    /// - Parameter text: UTF-8.
    /// - Throws: `FileError.malformed` when a replacement lies outside the map.
    func applied(to text: ArraySlice<UInt8>) throws(FileError) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        var position = text.startIndex
        while position < text.endIndex {
            if let (length, place) = longest(text[position...]) {
                guard place < replacements.count, place == 0 || replacements[place - 1] == 0 else {
                    throw .malformed(
                        path: path, field: "precompiled_charsmap", found: "a replacement at \(place)",
                        expected: "the start of one of the \(replacements.count) bytes")
                }
                result += replacements[place...].prefix { $0 != 0 }
                position += length
            } else {
                let end = min(text.endIndex, position + utf8Length(text[position]))
                result += text[position..<end]
                position = end
            }
        }
        return result
    }

    /// The longest key that `text` begins with: its length, and where its replacement is.
    private func longest(_ text: ArraySlice<UInt8>) -> (length: Int, place: Int)? {
        var found: (Int, Int)?
        var place = Self.offset(units[0])
        var length = 0
        for byte in text {
            place ^= Int(byte)
            guard place < units.count, units[place] & 0x8000_00ff == UInt32(byte) else { break }
            let unit = units[place]
            place ^= Self.offset(unit)
            length += 1
            if unit & 0x100 != 0 {
                guard place < units.count else { break }
                found = (length, Int(units[place] & 0x7fff_ffff))
            }
        }
        return found
    }

    private static func offset(_ unit: UInt32) -> Int { Int(unit >> 10) << Int((unit & 0x200) >> 6) }
}

/// Bytes of the character that begins with `byte`.
func utf8Length(_ byte: UInt8) -> Int {
    switch byte {
    case ..<0xc0: 1
    case ..<0xe0: 2
    case ..<0xf0: 3
    default: 4
    }
}
