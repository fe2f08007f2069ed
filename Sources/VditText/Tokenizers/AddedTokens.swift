/// Tokens that are looked for in the text as it was typed, before anything else is done to it.
struct AddedTokens: Sendable {
    struct Token: Sendable {
        let text: [UInt8]
        let id: Int32
        /// White space before it belongs to it.
        var stripsLeft = false
        /// White space after it belongs to it.
        var stripsRight = false
    }

    enum Part: Equatable {
        case text(ArraySlice<UInt8>)
        case token(Int32)
    }

    /// More than any tokenizer has; they are tried one after another.
    static let limit = 4096
    private let byFirstByte: [[Token]]
    private let names: [Int32: String]

    /// - Parameter tokens: none empty, at most `limit`.
    init(_ tokens: [Token]) {
        precondition(tokens.count <= Self.limit)
        var byFirstByte = [[Token]](repeating: [], count: 256)
        for token in tokens { byFirstByte[Int(token.text[0])].append(token) }
        // The longest first, so that the first that fits is the longest that does.
        for index in byFirstByte.indices { byFirstByte[index].sort { $0.text.count > $1.text.count } }
        self.byFirstByte = byFirstByte
        names = Dictionary(
            tokens.map { ($0.id, String(decoding: $0.text, as: UTF8.self)) }, uniquingKeysWith: { first, _ in first })
    }

    func name(of id: Int32) -> String? { names[id] }

    /// Cuts a text at the leftmost tokens, each as long as possible. Parts of text are not empty.
    func split(_ text: [UInt8]) -> [Part] {
        var parts: [Part] = []
        var start = 0
        var position = 0
        while position < text.count {
            guard let token = byFirstByte[Int(text[position])].first(where: { text[position...].starts(with: $0.text) })
            else {
                position += 1
                continue
            }
            var before = text[start..<position]
            if token.stripsLeft { while let last = before.last, Self.isSpace(last) { before.removeLast() } }
            if !before.isEmpty { parts.append(.text(before)) }
            parts.append(.token(token.id))
            position += token.text.count
            if token.stripsRight { while position < text.count, Self.isSpace(text[position]) { position += 1 } }
            start = position
        }
        if start < text.count { parts.append(.text(text[start...])) }
        return parts
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || 0x09...0x0d ~= byte }
}
