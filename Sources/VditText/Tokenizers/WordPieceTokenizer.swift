import VditFiles

/// The tokenizer of uncased BERT models: words, then the longest known pieces from the left.
///
/// - Source: the `bert-base-uncased` pipeline of the tokenizers library.
/// - Differs: characters that Unicode assigned after its version 8 are of the category they have today.
public struct WordPieceTokenizer: Tokenizer {
    private let pieces: PieceTable
    private let added: AddedTokens
    private let unknownID: Int32
    private let startID: Int32
    public let paddingID: Int32
    public let endID: Int32
    public var count: Int { pieces.count }

    private static let maxFileBytes = 16 << 20
    private static let longestWord = 100

    /// Reads `vocab.txt`: one piece a line, its id being the line's number from 0.
    ///
    /// - Throws: `FileError`: not UTF-8, a line that is empty, too long or there twice, a special token missing.
    public init(vocabulary path: String) throws(FileError) {
        try self.init(vocabulary: InputFile.contents(of: path, limit: Self.maxFileBytes), path: path)
    }

    public init(vocabulary bytes: [UInt8], path: String) throws(FileError) {
        func defect(_ field: String, _ found: String, _ expected: String) -> FileError {
            .malformed(path: path, field: field, found: found, expected: expected)
        }
        if String(validating: bytes, as: UTF8.self) == nil {
            throw defect("content", "bytes that are not UTF-8", "UTF-8 text")
        }
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        var pieces = PieceTable()
        for (number, line) in lines.enumerated() {
            let piece = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            if piece.isEmpty || piece.count > PieceTable.maxPieceBytes {
                throw defect("line \(number + 1)", "\(piece.count) bytes", "1 to \(PieceTable.maxPieceBytes)")
            }
            pieces.append(piece)
        }
        if let double = pieces.index() {
            throw defect("line \(double + 1)", "\(UnigramTokenizer.quoted(pieces[double])) again", "every piece once")
        }
        let table = pieces
        func special(_ name: String) throws(FileError) -> Int32 {
            guard let number = table.number(of: name.utf8) else { throw defect("content", "no \(name)", "one") }
            return Int32(number)
        }
        paddingID = try special("[PAD]")
        unknownID = try special("[UNK]")
        startID = try special("[CLS]")
        endID = try special("[SEP]")
        var tokens: [AddedTokens.Token] = []
        for name in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] {
            tokens.append(AddedTokens.Token(text: Array(name.utf8), id: try special(name)))
        }
        added = AddedTokens(tokens)
        self.pieces = pieces
    }

    public func ids(_ text: String) -> [Int32] {
        var ids = [startID]
        for part in added.split(Array(text.utf8)) {
            switch part {
            case .token(let id): ids.append(id)
            case .text(let bytes):
                for word in Self.words(String(decoding: bytes, as: UTF8.self)) { append(word, to: &ids) }
            }
        }
        return ids + [endID]
    }

    public func text(of ids: ArraySlice<Int32>) -> String {
        var text = ""
        for id in ids where (0..<pieces.count).contains(Int(id)) {
            let piece = String(decoding: pieces[Int(id)], as: UTF8.self)
            if piece.hasPrefix("##") {
                text += piece.dropFirst(2)
            } else {
                text += (text.isEmpty ? "" : " ") + piece
            }
        }
        return text
    }

    private func append(_ word: String, to ids: inout [Int32]) {
        let bytes = Array(word.utf8)
        var found: [Int32] = []
        var start = 0
        while start < bytes.count, word.unicodeScalars.count <= Self.longestWord {
            let prefix = start == 0 ? [] : Array("##".utf8)
            // Only ends of characters can match: pieces are whole characters.
            var end = bytes.count
            while end > start, pieces.number(of: prefix + bytes[start..<end]) == nil { end -= 1 }
            if end == start { break }
            found.append(Int32(pieces.number(of: prefix + bytes[start..<end]) ?? 0))
            start = end
        }
        ids += start == bytes.count ? found : [unknownID]
    }

    // MARK: words

    /// The words of a text: cleaned, without marks, lower case; punctuation and ideographs stand alone.
    static func words(_ text: String) -> [String] {
        var spaced = ""
        for scalar in text.unicodeScalars where !isDropped(scalar) {
            if isIdeograph(scalar) {
                spaced += " \(scalar) "
            } else {
                spaced.unicodeScalars.append(isSpace(scalar) ? " " : scalar)
            }
        }
        var words: [String] = []
        var word = ""
        func finish() {
            if !word.isEmpty { words.append(word) }
            word = ""
        }
        for scalar in UnicodeForms.decomposed(spaced).unicodeScalars
        where scalar.properties.generalCategory != .nonspacingMark {
            for lower in scalar.properties.lowercaseMapping.unicodeScalars {
                if isSpace(lower) {
                    finish()
                } else if isPunctuation(lower) {
                    finish()
                    words.append(String(lower))
                } else {
                    word.unicodeScalars.append(lower)
                }
            }
        }
        finish()
        return words
    }

    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        scalar == "\t" || scalar == "\n" || scalar == "\r" || scalar.properties.isWhitespace
    }

    private static func isDropped(_ scalar: Unicode.Scalar) -> Bool {
        if scalar == "\t" || scalar == "\n" || scalar == "\r" { return false }
        if scalar == "\u{fffd}" { return true }
        return switch scalar.properties.generalCategory {
        case .control, .format, .privateUse, .surrogate: true
        default: false
        }
    }

    /// As the reference has it: the gap before 2B920 is not ours.
    private static func isIdeograph(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x4e00...0x9fff, 0x3400...0x4dbf, 0x20000...0x2a6df, 0x2a700...0x2b73f, 0x2b740...0x2b81f,
            0x2b920...0x2ceaf, 0xf900...0xfaff, 0x2f800...0x2fa1f:
            true
        default: false
        }
    }

    private static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 33...47, 58...64, 91...96, 123...126: return true
        default: break
        }
        return switch scalar.properties.generalCategory {
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation:
            true
        default: false
        }
    }
}
