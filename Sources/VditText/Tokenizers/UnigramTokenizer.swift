import VditFiles

/// The tokenizer of T5 and UMT5: the most likely tiling of the text by pieces of a vocabulary.
///
/// - Source: what the tokenizers library makes of `tokenizer.json`; for `spiece.model` what transformers converts
///   it to. Byte pieces are pieces like others: a character outside the vocabulary is unknown.
public struct UnigramTokenizer: Tokenizer {
    private let pieces: PieceTable
    private let scores: [Double]
    private let unknownID: Int32
    private let unknownScore: Double
    private let characters: CharacterMap?
    private let added: AddedTokens
    /// White space at the end of a part makes no token, nor does a part of nothing else.
    private let dropsEndSpace: Bool
    public let paddingID: Int32
    public let endID: Int32
    public let count: Int

    /// What a file of either format says.
    struct Vocabulary {
        var pieces = PieceTable()
        var scores: [Double] = []
        var unknown = 0
        var characters: CharacterMap?
        var added: [AddedTokens.Token] = []
        var dropsEndSpace = false
    }

    /// - Throws: `FileError.malformed` naming `path` for a vocabulary no text can be tiled with.
    init(_ vocabulary: Vocabulary, path: String) throws(FileError) {
        func defect(_ field: String, _ found: String, _ expected: String) -> FileError {
            .malformed(path: path, field: field, found: found, expected: expected)
        }
        var pieces = vocabulary.pieces
        if let double = pieces.index() {
            throw defect("piece \(double)", "\(Self.quoted(pieces[double])) again", "every piece once")
        }
        guard (0..<pieces.count).contains(vocabulary.unknown) else {
            throw defect("unk_id", "\(vocabulary.unknown)", "one of \(pieces.count) pieces")
        }
        let added = vocabulary.added
        guard added.count <= AddedTokens.limit else {
            throw defect("added tokens", "\(added.count)", "at most \(AddedTokens.limit)")
        }
        func special(_ name: String) throws(FileError) -> Int32 {
            guard let token = added.first(where: { $0.text.elementsEqual(name.utf8) }) else {
                throw defect("added tokens", "no \(name)", "one")
            }
            return token.id
        }
        paddingID = try special("<pad>")
        endID = try special("</s>")
        count = max(pieces.count, (added.map { Int($0.id) }.max() ?? 0) + 1)
        self.pieces = pieces
        scores = vocabulary.scores
        unknownID = Int32(vocabulary.unknown)
        unknownScore = (scores.min() ?? 0) - 10
        characters = vocabulary.characters
        self.added = AddedTokens(added)
        dropsEndSpace = vocabulary.dropsEndSpace
    }

    public func ids(_ text: String) throws(FileError) -> [Int32] {
        var ids: [Int32] = []
        for part in added.split(Array(text.utf8)) {
            switch part {
            case .token(let id): ids.append(id)
            case .text(let bytes):
                let escaped = escape(try characters?.applied(to: bytes) ?? Array(bytes))
                var start = 0
                while start < escaped.count {
                    var end = start + 1
                    while end < escaped.count, !Self.isMark(escaped, at: end) { end += 1 }
                    tile(escaped[start..<end], into: &ids)
                    start = end
                }
            }
        }
        return ids + [endID]
    }

    public func text(of ids: ArraySlice<Int32>) -> String {
        var text = ""
        for id in ids {
            if let name = added.name(of: id) {
                text += name
            } else if (0..<pieces.count).contains(Int(id)) {
                text += String(decoding: pieces[Int(id)], as: UTF8.self)
            }
        }
        return String(text.map { $0 == "▁" ? " " : $0 }.drop { $0 == " " })
    }

    // MARK: spaces

    /// U+2581, which stands for a space.
    private static let mark: [UInt8] = [0xe2, 0x96, 0x81]

    private static func isMark(_ text: [UInt8], at place: Int) -> Bool {
        text[place] == mark[0] && place + 2 < text.count && text[place + 1] == mark[1] && text[place + 2] == mark[2]
    }

    /// Runs of spaces as one mark; a mark in front where none is.
    private func escape(_ text: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count + 16)
        for (place, byte) in text.enumerated() {
            if byte != 0x20 {
                result.append(byte)
            } else if place == 0 || text[place - 1] != 0x20 {
                result += Self.mark
            }
        }
        if dropsEndSpace, result.suffix(3).elementsEqual(Self.mark) { result.removeLast(3) }
        if !result.isEmpty, !result.starts(with: Self.mark) { result = Self.mark + result }
        return result
    }

    // MARK: the most likely tiling

    /// Appends the ids of the tiling with the largest sum of scores; of equal ones, the one found first.
    private func tile(_ text: ArraySlice<UInt8>, into ids: inout [Int32]) {
        struct Step {
            var score = 0.0
            var start = -1
            var id: Int32 = 0
        }
        let base = text.startIndex
        var steps = [Step](repeating: Step(), count: text.count + 1)
        func offer(_ id: Int32, _ score: Double, from start: Int, length: Int) {
            let end = min(start + length, text.count)
            if steps[end].start < 0 || score > steps[end].score {
                steps[end] = Step(score: score, start: start, id: id)
            }
        }
        var position = 0
        while position < text.count {
            let before = steps[position].score
            let character = utf8Length(text[base + position])
            var hasCharacter = false
            pieces.prefixes(of: text, at: base + position) { number, length in
                offer(Int32(number), before + scores[number], from: position, length: length)
                if length == character { hasCharacter = true }
            }
            if !hasCharacter { offer(unknownID, before + unknownScore, from: position, length: character) }
            position += character
        }
        var tiling: [Int32] = []
        var end = text.count
        while end > 0 {
            let step = steps[end]
            // Neighbouring unknowns are one.
            if step.id != unknownID || tiling.last != unknownID { tiling.append(step.id) }
            end = step.start
        }
        ids += tiling.reversed()
    }

    static func quoted(_ bytes: some Collection<UInt8>) -> String {
        "\"\(String(decoding: bytes, as: UTF8.self).shortened)\""
    }
}
