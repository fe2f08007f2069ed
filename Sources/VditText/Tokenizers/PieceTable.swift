/// Byte strings numbered from 0, found by their bytes: one buffer and one hash table for a quarter of a million.
struct PieceTable: Sendable {
    private var bytes: [UInt8] = []
    /// Where each piece starts in `bytes`, and the end of the last.
    private var starts: [Int32] = [0]
    /// Piece numbers at their hashes, open addressing; −1 where none is.
    private var slots: [Int32] = []
    private(set) var longest = 0

    /// No piece may be longer, so that a lookup's cost is bounded whatever the file says.
    static let maxPieceBytes = 1024

    var count: Int { starts.count - 1 }

    subscript(_ number: Int) -> ArraySlice<UInt8> { bytes[Int(starts[number])..<Int(starts[number + 1])] }

    /// Bytes of all pieces must stay below 2³¹: files are far smaller.
    mutating func append(_ piece: some Collection<UInt8>) {
        bytes += piece
        starts.append(Int32(bytes.count))
        longest = max(longest, piece.count)
    }

    /// Makes pieces findable.
    ///
    /// - Returns: the number of a piece that is there twice; nil when all differ.
    mutating func index() -> Int? {
        var size = 16
        while size < count * 2 { size *= 2 }
        slots = [Int32](repeating: -1, count: size)
        for number in 0..<count {
            var slot = Int(truncatingIfNeeded: self[number].reduce(Self.seed, Self.mix)) & (size - 1)
            while slots[slot] >= 0 {
                if self[Int(slots[slot])].elementsEqual(self[number]) { return number }
                slot = (slot + 1) & (size - 1)
            }
            slots[slot] = Int32(number)
        }
        return nil
    }

    func number(of piece: some Collection<UInt8>) -> Int? {
        find(piece.reduce(Self.seed, Self.mix)) { $0.elementsEqual(piece) }
    }

    /// Calls `body` with the number and length of every piece that `text` begins with at `start`, shortest first.
    func prefixes(of text: ArraySlice<UInt8>, at start: Int, _ body: (_ number: Int, _ length: Int) -> Void) {
        var hash = Self.seed
        for end in start..<min(text.endIndex, start + longest) {
            hash = Self.mix(hash, text[end])
            let piece = text[start...end]
            if let number = find(hash, { $0.elementsEqual(piece) }) { body(number, piece.count) }
        }
    }

    private func find(_ hash: UInt64, _ equals: (ArraySlice<UInt8>) -> Bool) -> Int? {
        if slots.isEmpty { return nil }
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[slot] >= 0 {
            if equals(self[Int(slots[slot])]) { return Int(slots[slot]) }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    // FNV-1a, with its high bits folded in as the table looks at the low ones.
    private static let seed: UInt64 = 0xcbf2_9ce4_8422_2325
    private static func mix(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
        let next = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        return next ^ (next >> 29)
    }
}
