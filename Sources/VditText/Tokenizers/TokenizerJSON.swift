import VditFiles

extension UnigramTokenizer {
    /// Reads `tokenizer.json`.
    ///
    /// - Throws: `FileError`: not JSON, not a unigram model, normalisation or splitting other than T5's, and what
    ///   `init(sentencePiece:)` refuses.
    public init(json path: String) throws(FileError) {
        try self.init(json: InputFile.contents(of: path, limit: Self.maxFileBytes), path: path)
    }

    public init(json bytes: [UInt8], path: String) throws(FileError) {
        var scanner = try JSONScanner(bytes, path: path, part: "content")
        var vocabulary = Vocabulary()
        var seen: Set<String> = []
        try scanner.beginObject()
        while let key = try scanner.nextKey() {
            if !seen.insert(key).inserted {
                throw .malformed(path: path, field: key.shortened, found: "two entries", expected: "one")
            }
            scanner.context = key
            switch key {
            case "added_tokens": vocabulary.added = try Self.addedTokens(&scanner, path)
            case "normalizer":
                for part in try TokenizerComponent.read(&scanner) { try Self.normalizer(part, path, &vocabulary) }
            case "pre_tokenizer":
                for part in try TokenizerComponent.read(&scanner) { try Self.splitter(part, path, &vocabulary) }
            case "model": try Self.model(&scanner, path, &vocabulary)
            default: try scanner.skipValue()
            }
            scanner.context = ""
        }
        try scanner.end()
        try self.init(vocabulary, path: path)
    }

    private static func addedTokens(
        _ scanner: inout JSONScanner, _ path: String
    ) throws(FileError) -> [AddedTokens.Token] {
        var tokens: [AddedTokens.Token] = []
        try scanner.beginArray()
        while try scanner.nextElement() {
            var (text, id, left, right) = ("", -1, false, false)
            try scanner.beginObject()
            while let key = try scanner.nextKey() {
                switch key {
                case "content": text = try scanner.string()
                case "id": id = try scanner.count()
                case "lstrip": left = try scanner.flag()
                case "rstrip": right = try scanner.flag()
                case "single_word":
                    if try scanner.flag() { throw scanner.unexpected("single_word false, true is not supported") }
                default: try scanner.skipValue()
                }
            }
            guard !text.isEmpty, text.utf8.count <= PieceTable.maxPieceBytes, let id = Int32(exactly: id), id >= 0,
                tokens.count < AddedTokens.limit
            else {
                throw .malformed(
                    path: path, field: "added_tokens[\(tokens.count)]",
                    found: "\"\(text.shortened)\" with id \(id)",
                    expected: "at most \(AddedTokens.limit) tokens, each with content and an id")
            }
            tokens.append(AddedTokens.Token(text: Array(text.utf8), id: id, stripsLeft: left, stripsRight: right))
        }
        return tokens
    }

    private static func model(
        _ scanner: inout JSONScanner, _ path: String, _ vocabulary: inout Vocabulary
    ) throws(FileError) {
        var (hasType, hasUnknown) = (false, false)
        try scanner.beginObject()
        while let key = try scanner.nextKey() {
            switch key {
            case "type":
                let type = try scanner.string()
                if type != "Unigram" {
                    throw .malformed(
                        path: path, field: "model.type", found: "\"\(type.shortened)\"", expected: "\"Unigram\"")
                }
                hasType = true
            case "unk_id":
                vocabulary.unknown = try scanner.count()
                hasUnknown = true
            case "byte_fallback":
                if try scanner.flag() { throw scanner.unexpected("byte_fallback false, true is not supported") }
            case "vocab":
                if vocabulary.pieces.count > 0 { throw scanner.unexpected("one vocab") }
                try scanner.beginArray()
                while try scanner.nextElement() {
                    try scanner.beginArray()
                    guard try scanner.nextElement() else { throw scanner.unexpected("a piece and its score") }
                    let piece = try scanner.string()
                    guard try scanner.nextElement() else { throw scanner.unexpected("a score") }
                    try vocabulary.append(piece.utf8, score: scanner.number(), path: path)
                    if try scanner.nextElement() { throw scanner.unexpected("a piece and its score only") }
                }
            default: try scanner.skipValue()
            }
        }
        if !hasType || !hasUnknown {
            throw .malformed(
                path: path, field: hasType ? "model.unk_id" : "model.type", found: "nothing",
                expected: hasType ? "a piece's number" : "\"Unigram\"")
        }
    }

    private static func normalizer(
        _ part: TokenizerComponent, _ path: String, _ vocabulary: inout Vocabulary
    ) throws(FileError) {
        switch (part.type, part.texts["Regex"], part.texts["content"]) {
        case ("Precompiled", _, _):
            guard let map = Base64.decoded(part.texts["precompiled_charsmap"] ?? "") else {
                throw .malformed(
                    path: path, field: "normalizer.precompiled_charsmap", found: "no base64", expected: "base64")
            }
            if !map.isEmpty { vocabulary.characters = try CharacterMap(map, path: path) }
        case ("Replace", " {2,}"?, " "?), ("Replace", " {2,}"?, "▁"?): break
        default:
            throw .malformed(
                path: path, field: "normalizer", found: part.type.shortened,
                expected: "Precompiled, and Replace of runs of spaces")
        }
    }

    private static func splitter(
        _ part: TokenizerComponent, _ path: String, _ vocabulary: inout Vocabulary
    ) throws(FileError) {
        switch part.type {
        case "WhitespaceSplit": vocabulary.dropsEndSpace = true
        case "Metaspace"
        where (part.texts["replacement"] ?? "▁") == "▁" && ["always", nil].contains(part.texts["prepend_scheme"])
            && part.flags["add_prefix_space"] != false && part.flags["split"] != false:
            break
        default:
            throw .malformed(
                path: path, field: "pre_tokenizer", found: part.type.shortened,
                expected: "Metaspace with ▁ in front of every word")
        }
    }
}

/// One normalizer or pre-tokenizer of `tokenizer.json`.
private struct TokenizerComponent {
    var type = ""
    /// Its texts, those of a `pattern` object among them.
    var texts: [String: String] = [:]
    var flags: [String: Bool] = [:]

    /// The components of a value: none for null, several for a sequence, nested ones in order.
    static func read(_ scanner: inout JSONScanner, depth: Int = 0) throws(FileError) -> [TokenizerComponent] {
        if try scanner.null() { return [] }
        if depth > 4 { throw scanner.unexpected("sequences nested at most 4 deep") }
        var component = TokenizerComponent()
        var children: [TokenizerComponent] = []
        try scanner.beginObject()
        while let key = try scanner.nextKey() {
            switch key {
            case "type": component.type = try scanner.string()
            case "normalizers", "pretokenizers":
                try scanner.beginArray()
                while try scanner.nextElement() { children += try read(&scanner, depth: depth + 1) }
            case "pattern":
                try scanner.beginObject()
                while let kind = try scanner.nextKey() { component.texts[kind] = try scanner.string() }
            case "content", "replacement", "prepend_scheme", "precompiled_charsmap":
                component.texts[key] = try scanner.string()
            case "add_prefix_space", "split": component.flags[key] = try scanner.flag()
            default: try scanner.skipValue()
            }
        }
        return component.type == "Sequence" ? children : [component]
    }
}

extension JSONScanner {
    mutating func flag() throws(FileError) -> Bool {
        let text = try valueText()
        if text.elementsEqual("true".utf8) { return true }
        if text.elementsEqual("false".utf8) { return false }
        throw unexpected("true or false before it")
    }

    mutating func number() throws(FileError) -> Double {
        guard let number = Double(String(decoding: try valueText(), as: UTF8.self)) else {
            throw unexpected("a number before it")
        }
        return number
    }
}

/// RFC 4648, with padding.
enum Base64 {
    static func decoded(_ text: String) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count / 4 * 3)
        var (bits, count, padding): (UInt32, Int, Int) = (0, 0, 0)
        for byte in text.utf8 {
            if byte == UInt8(ascii: "=") {
                padding += 1
                continue
            }
            guard padding == 0, let value = value(byte) else { return nil }
            bits = bits << 6 | value
            count += 1
            if count == 4 {
                bytes += [16, 8, 0].map { UInt8(truncatingIfNeeded: bits >> $0) }
                (bits, count) = (0, 0)
            }
        }
        switch (count, padding) {
        case (0, 0): return bytes
        case (2, 2): return bytes + [UInt8(truncatingIfNeeded: bits >> 4)]
        case (3, 1): return bytes + [UInt8(truncatingIfNeeded: bits >> 10), UInt8(truncatingIfNeeded: bits >> 2)]
        default: return nil
        }
    }

    private static func value(_ byte: UInt8) -> UInt32? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(byte - UInt8(ascii: "A"))
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(byte - UInt8(ascii: "a")) + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0")) + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
