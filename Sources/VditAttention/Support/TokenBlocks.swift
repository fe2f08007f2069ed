import VditTensor

/// Block boundaries of a sequence: video blocks as a method cuts them, text in blocks of its own.
struct TokenBlocks: Sendable {
    /// Positions, first 0, last the token count.
    let offsets: [Int32]
    /// The video's blocks.
    let video: Range<Int>

    /// - Parameter videoOffsets: boundaries among video positions, first 0, last the video's token count.
    /// - Throws: `AttentionError.invalid` (64) for more blocks than a plan can have.
    init(_ layout: TokenLayout, videoOffsets: [Int32], textBlock: Int = 128) throws(AttentionError) {
        let before = AttentionPlan.offsets(tokens: layout.textBefore, block: textBlock).dropLast()
        let after = AttentionPlan.offsets(tokens: layout.textAfter, block: textBlock).dropFirst()
        let start = Int32(layout.textBefore)
        let end = Int32(layout.textBefore + layout.videoTokens)
        offsets = before + videoOffsets.map { $0 + start } + after.map { $0 + end }
        video = before.count..<before.count + videoOffsets.count - 1
        guard offsets.count - 1 <= AttentionPlan.mostBlocks else {
            throw .invalid(
                "blocks of the sparse method", found: "\(offsets.count - 1)",
                expected: "at most \(AttentionPlan.mostBlocks): larger blocks, a smaller size or fewer frames",
                kind: .usage)
        }
    }

    /// Video blocks of `size` tokens, the last one short.
    init(_ layout: TokenLayout, size: Int) throws(AttentionError) {
        try self.init(layout, videoOffsets: AttentionPlan.offsets(tokens: layout.videoTokens, block: size))
    }

    var count: Int { offsets.count - 1 }

    func size(_ block: Int) -> Int { Int(offsets[block + 1] - offsets[block]) }

    /// Positions at which video blocks begin, and the end of the last.
    var videoOffsets: [Int32] { Array(offsets[video.lowerBound...video.upperBound]) }

    /// Tokens of each video block.
    var videoSizes: [Int] { video.map(size) }
}

extension AttentionPlan.Head {
    /// Text queries keep everything, every query keeps the text, and video queries keep the video key blocks
    /// that `kept` lists, ascending and counted from the first video block.
    init(
        queries: TokenBlocks, keys: TokenBlocks, queryOrder: [Int32]? = nil, keyOrder: [Int32]? = nil,
        kept: (Int) -> [Int32]
    ) {
        let all = (0..<Int32(keys.count)).map { $0 }
        let first = Int32(keys.video.lowerBound)
        var rowStart: [Int32] = [0]
        var keyBlocks: [Int32] = []
        for row in 0..<queries.count {
            if queries.video.contains(row) {
                keyBlocks += all[..<keys.video.lowerBound]
                keyBlocks += kept(row - queries.video.lowerBound).lazy.map { $0 + first }
                keyBlocks += all[keys.video.upperBound...]
            } else {
                keyBlocks += all
            }
            rowStart.append(Int32(keyBlocks.count))
        }
        self.init(
            queryOrder: queryOrder, keyOrder: keyOrder, queryOffsets: queries.offsets,
            keyOffsets: keys.offsets, rowStart: rowStart, keyBlocks: keyBlocks)
    }
}

extension TokenLayout {
    /// A permutation of the video's tokens as one of the sequence: text stays where it is.
    func order(ofVideo video: [Int32]) -> [Int32] {
        let start = Int32(textBefore)
        return (0..<start).map { $0 } + video.map { $0 + start }
            + (start + Int32(videoTokens)..<Int32(tokens)).map { $0 }
    }

    /// Pairs of a video query and a video key that a density leaves, text being dense; negative where the
    /// text alone is more.
    func videoPairs(density: Double) -> Double {
        let all = Double(tokens) * Double(tokens)
        let video = Double(videoTokens) * Double(videoTokens)
        return density * all - (all - video)
    }

    /// The density of a plan that keeps `videoPairs` pairs of video tokens.
    func density(videoPairs: Double) -> Double {
        let all = Double(tokens) * Double(tokens)
        let video = Double(videoTokens) * Double(videoTokens)
        return (all - video + videoPairs) / all
    }
}
