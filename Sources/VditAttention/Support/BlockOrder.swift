import VditTensor

/// How the video's tokens are laid out and cut into blocks, whatever selects among the blocks.
struct BlockOrder: Sendable, Equatable {
    enum Kind: String, Sendable, CaseIterable {
        /// As the sequence has them.
        case raster
        /// Position by position, all frames of one side by side.
        case positions
        /// By boxes of some frames, rows and columns.
        case tiles
    }

    private static let kind = MethodOption<Kind>(
        "order", .choice, default: .tiles, "blocks of the sequence, of positions through all frames, or boxes")
    private static let block = MethodOption(
        "block", .integer(1...AttentionKernel.rows), default: 64, "tokens of a block in raster and position order")
    private static let tile = [
        MethodOption("tile-frames", .integer(1...32), default: 2, "frames of a tile"),
        MethodOption("tile-height", .integer(1...32), default: 4, "token rows of a tile"),
        MethodOption("tile-width", .integer(1...32), default: 4, "token columns of a tile"),
    ]

    /// The options that say it, in the order a method prefers.
    static func options(_ standard: Kind) -> [any AnyMethodOption] { [kind.standing(at: standard), block] + tile }

    private let kind: Kind
    private let block: Int
    private let tile: [Int]

    init(_ values: OptionSettings) {
        kind = values[Self.kind]
        block = values[Self.block]
        tile = Self.tile.map { values[$0] }
    }

    /// The blocks of a layout, and the token at each position of the sequence; nil is the identity.
    ///
    /// - Throws: `AttentionError.unsupported` for blocks of more queries than one call of the kernel takes, and what
    ///   `TokenBlocks` throws.
    func blocks(
        of layout: TokenLayout, method: String
    ) throws(AttentionError) -> (order: [Int32]?, blocks: TokenBlocks) {
        let (video, offsets) = cut(layout)
        let blocks = try TokenBlocks(layout, videoOffsets: offsets)
        if let largest = blocks.videoSizes.max(), largest > AttentionKernel.rows {
            throw .unsupported(
                method: method, found: "blocks of \(largest) tokens", expected: "at most \(AttentionKernel.rows)")
        }
        return (video.map(layout.order(ofVideo:)), blocks)
    }

    /// Video blocks of a layout.
    func count(_ layout: TokenLayout) -> Int { cut(layout).offsets.count - 1 }

    private func cut(_ layout: TokenLayout) -> (order: [Int32]?, offsets: [Int32]) {
        switch kind {
        case .raster: return (nil, AttentionPlan.offsets(tokens: layout.videoTokens, block: block))
        case .positions:
            return (layout.positionMajor(), AttentionPlan.offsets(tokens: layout.videoTokens, block: block))
        case .tiles:
            let extents = [layout.frames, layout.height, layout.width]
            let bounds = zip(extents, tile).map { Cut.even.bounds($0, size: $1) }
            let (order, offsets) = layout.regions(frames: bounds[0], rows: bounds[1], columns: bounds[2])
            return (order, offsets)
        }
    }
}

extension TokenLayout {
    /// Which pairs of video blocks hold tokens at most one step apart in frames, rows and columns each:
    /// `[block · blocks + block]`.
    func neighbours(_ order: [Int32]?, _ blocks: TokenBlocks) -> [Bool] {
        let count = blocks.video.count
        var blockOf = [Int](repeating: 0, count: videoTokens)
        for block in blocks.video {
            for position in blocks.offsets[block]..<blocks.offsets[block + 1] {
                let token = Int(order?[Int(position)] ?? position) - textBefore
                blockOf[token] = block - blocks.video.lowerBound
            }
        }
        var near = [Bool](repeating: false, count: count * count)
        for token in 0..<videoTokens {
            let (frame, row, column) = (token / tokensPerFrame, token / width % height, token % width)
            for otherFrame in max(0, frame - 1)...min(frames - 1, frame + 1) {
                for otherRow in max(0, row - 1)...min(height - 1, row + 1) {
                    for otherColumn in max(0, column - 1)...min(width - 1, column + 1) {
                        let other = (otherFrame * height + otherRow) * width + otherColumn
                        near[blockOf[token] * count + blockOf[other]] = true
                    }
                }
            }
        }
        return near
    }
}
