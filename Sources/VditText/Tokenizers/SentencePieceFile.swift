import VditFiles

extension UnigramTokenizer {
    /// Reads `spiece.model`.
    ///
    /// - Parameter sentinels: number of `<extra_id_…>` tokens after the file's pieces, counted backwards.
    /// - Throws: `FileError`: not a protocol buffer, not a unigram model, a piece that is empty, too long, there twice
    ///   or not UTF-8, a score that is not finite, normalisation we do not do.
    public init(sentencePiece path: String, sentinels: Int) throws(FileError) {
        let bytes = try InputFile.contents(of: path, limit: Self.maxFileBytes)
        try self.init(sentencePiece: bytes, path: path, sentinels: sentinels)
    }

    /// Larger than any tokenizer's file.
    static let maxFileBytes = 64 << 20

    public init(sentencePiece bytes: [UInt8], path: String, sentinels: Int) throws(FileError) {
        var vocabulary = Vocabulary()
        var file = ProtocolBuffer(bytes[...], path: path)
        var trainer: ProtocolBuffer?
        var normalizer: ProtocolBuffer?
        var unknowns: [Int] = []
        while let field = try file.next() {
            switch field {
            case (1, .bytes(let piece)):
                let type = try Self.read(ProtocolBuffer(piece, path: path), into: &vocabulary)
                if type == 2 { unknowns.append(vocabulary.pieces.count - 1) }
            case (2, .bytes(let part)): trainer = ProtocolBuffer(part, path: path)
            case (3, .bytes(let part)): normalizer = ProtocolBuffer(part, path: path)
            default: break
            }
        }
        while let field = try trainer?.next() {
            switch field {
            case (3, .number(let type)) where type != 1:
                throw .malformed(path: path, field: "model_type", found: "\(type)", expected: "1, a unigram model")
            case (40, .number(let id)): vocabulary.unknown = Int(Int32(truncatingIfNeeded: id))
            default: break
            }
        }
        while let field = try normalizer?.next() {
            switch field {
            case (2, .bytes(let map)) where !map.isEmpty: vocabulary.characters = try CharacterMap(map, path: path)
            case (3...5, .number(0)):
                let names = ["add_dummy_prefix", "remove_extra_whitespaces", "escape_whitespaces"]
                throw .malformed(path: path, field: names[Int(field.number) - 3], found: "false", expected: "true")
            default: break
            }
        }
        guard unknowns == [vocabulary.unknown] else {
            throw .malformed(
                path: path, field: "unk_id",
                found: "\(vocabulary.unknown), pieces of type unknown: \(unknowns.prefix(5))",
                expected: "the one piece of that type")
        }
        for index in 0..<sentinels {
            let id = vocabulary.pieces.count
            let name = Array("<extra_id_\(sentinels - 1 - index)>".utf8)
            vocabulary.pieces.append(name)
            vocabulary.scores.append(0)
            vocabulary.added.append(AddedTokens.Token(text: name, id: Int32(id)))
        }
        try self.init(vocabulary, path: path)
    }

    /// Appends a piece.
    ///
    /// - Returns: its type.
    private static func read(_ piece: ProtocolBuffer, into vocabulary: inout Vocabulary) throws(FileError) -> UInt64 {
        var piece = piece
        let number = vocabulary.pieces.count
        var (text, score, type) = (ArraySlice<UInt8>(), Float(0), UInt64(1))
        while let field = try piece.next() {
            switch field {
            case (1, .bytes(let bytes)): text = bytes
            case (2, .word(let bits)): score = Float(bitPattern: bits)
            case (3, .number(let value)): type = value
            default: break
            }
        }
        try vocabulary.append(text, score: Double(score), path: piece.path)
        // Unknown, control and user-defined pieces are found in the text as they are.
        if 2...4 ~= type { vocabulary.added.append(AddedTokens.Token(text: Array(text), id: Int32(number))) }
        return type
    }
}

extension UnigramTokenizer.Vocabulary {
    /// - Throws: `FileError.malformed` for a piece or a score that cannot be.
    mutating func append(_ piece: some Collection<UInt8>, score: Double, path: String) throws(FileError) {
        func defect(_ found: String, _ expected: String) -> FileError {
            .malformed(path: path, field: "piece \(pieces.count)", found: found, expected: expected)
        }
        if piece.isEmpty || piece.count > PieceTable.maxPieceBytes {
            throw defect("\(piece.count) bytes", "1 to \(PieceTable.maxPieceBytes)")
        }
        if String(validating: piece, as: UTF8.self) == nil { throw defect("bytes that are not UTF-8", "UTF-8 text") }
        if !score.isFinite { throw defect("score \(score)", "a finite score") }
        pieces.append(piece)
        scores.append(score)
    }
}

/// Fields of one protocol-buffer message, in order; nothing is read beyond its end.
private struct ProtocolBuffer {
    enum Value {
        case number(UInt64)
        case bytes(ArraySlice<UInt8>)
        case word(UInt32)
        case other
    }

    let path: String
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>, path: String) {
        rest = bytes
        self.path = path
    }

    mutating func next() throws(FileError) -> (number: UInt64, value: Value)? {
        if rest.isEmpty { return nil }
        let tag = try varint()
        let number = tag >> 3
        if number == 0 { throw defect("field 0", "fields from 1 on") }
        switch tag & 7 {
        case 0: return (number, .number(try varint()))
        case 1:
            _ = try take(8)
            return (number, .other)
        case 2:
            let length = try varint()
            guard let count = Int(exactly: length), count <= rest.count else {
                throw defect("a field of \(length) bytes", "at most the \(rest.count) that follow")
            }
            return (number, .bytes(try take(count)))
        case 5: return (number, .word(try take(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }))
        default: throw defect("wire type \(tag & 7)", "0, 1, 2 or 5")
        }
    }

    private mutating func take(_ count: Int) throws(FileError) -> ArraySlice<UInt8> {
        if rest.count < count { throw defect("the end of the message", "\(count) more bytes") }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }

    private mutating func varint() throws(FileError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 7) {
            guard let byte = rest.popFirst() else { throw defect("the end of the message", "more of a number") }
            value |= UInt64(byte & 0x7f) << UInt64(shift)
            if byte < 0x80 { return value }
        }
        throw defect("a number of more than 10 bytes", "at most 10")
    }

    private func defect(_ found: String, _ expected: String) -> FileError {
        .malformed(path: path, field: "byte \(rest.startIndex)", found: found, expected: expected)
    }
}
