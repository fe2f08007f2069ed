import VditTensor

/// The blocks of queries and of keys that a method chooses among, in one layout.
struct VideoBlocks: Sendable {
    let layout: TokenLayout
    /// The token at each position; nil is the identity.
    let order: [Int32]?
    let queries: TokenBlocks
    let keys: TokenBlocks

    /// Blocks of an order of the video's tokens.
    ///
    /// - Parameters:
    ///   - order: nil is the identity.
    ///   - offsets: of keys, and of queries if those of queries are nil.
    init(
        _ layout: TokenLayout, order: [Int32]?, offsets: [Int32], queryOffsets: [Int32]? = nil
    ) throws(AttentionError) {
        self.layout = layout
        self.order = order.map(layout.order(ofVideo:))
        keys = try TokenBlocks(layout, videoOffsets: offsets)
        queries = try queryOffsets.map { (offsets) throws(AttentionError) in
            try TokenBlocks(layout, videoOffsets: offsets)
        } ?? keys
    }

    /// - Parameter keySize: key blocks are the query blocks, cut into parts of at most so many tokens.
    /// - Throws: what `BlockOrder.blocks` throws.
    init(
        _ order: BlockOrder, _ layout: TokenLayout, method: String, keySize: Int = .max
    ) throws(AttentionError) {
        self.layout = layout
        (self.order, queries) = try order.blocks(of: layout, method: method)
        let start = Int32(layout.textBefore)
        let cut = queries.videoOffsets.map { $0 - start }
        keys = try TokenBlocks(layout, videoOffsets: cut.cut(atMost: keySize))
    }

    /// Pairs of a block of queries and a block of keys, all of the video: query block by query block.
    var pairCount: Int { queries.video.count * keys.video.count }

    /// Tokens of a block, as positions give them.
    func tokens(_ positions: Range<Int32>) -> [Int32] { positions.map { order?[Int($0)] ?? $0 } }

    /// The same as runs of tokens that lie side by side in the sequence.
    func runs(_ positions: Range<Int32>) -> [Range<Int>] {
        guard order != nil else { return [Int(positions.lowerBound)..<Int(positions.upperBound)] }
        var tokens = tokens(positions)[...]
        var runs: [Range<Int>] = []
        while let first = tokens.first {
            let count = zip(tokens, first...).prefix { $0 == $1 }.count
            runs.append(Int(first)..<Int(first) + count)
            tokens = tokens.dropFirst(count)
        }
        return runs
    }

    /// Of every token, the block it lies in, counted from the first video block; −1 for text.
    func blockOfTokens(_ blocks: TokenBlocks) -> [Int] {
        var found = [Int](repeating: -1, count: layout.tokens)
        for block in blocks.video {
            for token in tokens(blocks.offsets[block]..<blocks.offsets[block + 1]) {
                found[Int(token)] = block - blocks.video.lowerBound
            }
        }
        return found
    }

    /// Adds pairs, in the given order, until they hold as near `pairs` token pairs as whole ones can.
    ///
    /// - Parameter keeps: `[pairCount]`, those that are kept already.
    func adding(_ order: some Sequence<Int>, upTo pairs: Double, to keeps: [Bool]) -> [Bool] {
        let (queries, keys) = (queries.videoSizes, keys.videoSizes)
        func size(_ pair: Int) -> Double { Double(queries[pair / keys.count] * keys[pair % keys.count]) }
        var keeps = keeps
        var taken = keeps.indices.reduce(0) { keeps[$1] ? $0 + size($1) : $0 }
        for pair in order where !keeps[pair] {
            if taken + size(pair) / 2 > pairs { break }
            keeps[pair] = true
            taken += size(pair)
        }
        return keeps
    }

    /// The plan that keeps of each head the pairs of video blocks that `kept` finds, row by row.
    func plan(
        _ call: AttentionCall, kept: @Sendable (Int, Scratch) throws(AttentionError) -> [Bool]
    ) throws(AttentionError) -> AttentionPlan {
        AttentionPlan(
            heads: try call.pool.map(call.heads) { (head, scratch) throws(AttentionError) in
                self.head(keeping: try kept(head, scratch))
            })
    }

    /// The same of one head.
    func head(keeping pairs: [Bool]) -> AttentionPlan.Head {
        let count = keys.video.count
        return pairs.withUnsafeBufferPointer { pairs in
            head { row in
                [Int32](unsafeUninitializedCapacity: count) { kept, found in
                    // Every block is written where the next one kept would be: no branch to be guessed wrong.
                    for block in 0..<count {
                        kept[found] = Int32(truncatingIfNeeded: block)
                        found += pairs[row * count + block] ? 1 : 0
                    }
                }
            }
        }
    }

    /// One head's plan: video queries keep the video key blocks that `kept` lists.
    func head(kept: (Int) -> [Int32]) -> AttentionPlan.Head {
        .init(queries: queries, keys: keys, queryOrder: order, keyOrder: order, kept: kept)
    }
}

extension AttentionPlan.Head {
    /// No query keeps anything.
    init(empty blocks: VideoBlocks) {
        self.init(
            queryOffsets: blocks.queries.offsets, keyOffsets: blocks.keys.offsets,
            rowStart: [Int32](repeating: 0, count: blocks.queries.offsets.count), keyBlocks: [])
    }
}

extension [Int32] {
    /// Boundaries of blocks, each block cut into parts of at most so many, the last one short.
    func cut(atMost size: Int) -> [Int32] {
        var offsets: [Int32] = []
        for (start, end) in zip(self, dropFirst()) {
            offsets += stride(from: Int(start), to: Int(end), by: Swift.min(size, Int(end - start))).map { Int32($0) }
        }
        return offsets + suffix(1)
    }
}

/// Pairs of blocks kept whatever a method finds out about them.
struct ForcedBlocks: Sendable, Equatable {
    static let own = MethodOption("own", .onOff, default: true, "a query block keeps its own keys")
    static let neighbours = MethodOption(
        "neighbours", .onOff, default: false, "blocks that touch a query block are kept whatever their mass")
    static let sink = MethodOption("sink", .onOff, default: false, "every query keeps the first latent frame")
    static let firstFrame = MethodOption(
        "first-frame", .onOff, default: false, "queries of the first latent frame keep its keys")
    static let firstBlock = MethodOption("first-block", .onOff, default: false, "every query keeps the first key block")

    private let keepsOwn: Bool
    private let keepsNeighbours: Bool
    private let keepsSink: Bool
    private let keepsFirstFrame: Bool
    private let keepsFirstBlock: Bool

    static let none = ForcedBlocks(OptionSettings([own(false)]))

    /// As the options say; what a method does not offer is at its default.
    init(_ values: OptionSettings) {
        keepsOwn = values[Self.own]
        keepsNeighbours = values[Self.neighbours]
        keepsSink = values[Self.sink]
        keepsFirstFrame = values[Self.firstFrame]
        keepsFirstBlock = values[Self.firstBlock]
    }

    /// Query block by query block, which key blocks.
    func pairs(_ blocks: VideoBlocks) -> [Bool] {
        let count = blocks.keys.video.count
        let (queryOf, keyOf) = (blocks.blockOfTokens(blocks.queries), blocks.blockOfTokens(blocks.keys))
        var forced = [Bool](repeating: false, count: blocks.pairCount)
        func force(_ query: Int, _ key: Int) { forced[queryOf[query] * count + keyOf[key]] = true }
        for token in blocks.layout.video {
            if keepsOwn { force(token, token) }
            if keepsNeighbours { for near in blocks.layout.around(token) { force(token, near) } }
        }
        let first = blocks.layout.video.prefix(blocks.layout.tokensPerFrame)
        let firstKeys = Set(first.map { keyOf[$0] })
        let firstQueries = Set(first.map { queryOf[$0] })
        for row in 0..<blocks.queries.video.count {
            if keepsFirstBlock { forced[row * count] = true }
            guard keepsSink || (keepsFirstFrame && firstQueries.contains(row)) else { continue }
            for block in firstKeys { forced[row * count + block] = true }
        }
        return forced
    }
}

extension TokenLayout {
    /// Video tokens at most one step away in frames, rows and columns each, the token among them.
    fileprivate func around(_ token: Int) -> [Int] {
        let place = token - textBefore
        let (frame, row, column) = (place / tokensPerFrame, place / width % height, place % width)
        var found: [Int] = []
        for otherFrame in max(0, frame - 1)...min(frames - 1, frame + 1) {
            for otherRow in max(0, row - 1)...min(height - 1, row + 1) {
                let start = textBefore + (otherFrame * height + otherRow) * width
                found += start + max(0, column - 1)...start + min(width - 1, column + 1)
            }
        }
        return found
    }
}
