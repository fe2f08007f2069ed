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
        /// Along a curve that keeps near what is near in frames, rows and columns.
        case gilbert
    }

    private static let kind = MethodOption<Kind>(
        "order", .choice, default: .tiles,
        "blocks of the sequence, of positions through all frames, boxes, or parts of a curve")
    static let block = MethodOption(
        "block", .integer(1...AttentionKernel.rows), default: 64, "tokens of a block, where they are no boxes")
    static let keyBlock = MethodOption(
        "key-block", .integer(1...128), default: 64, "tokens of a block of keys: a part of a block of queries")
    private static let tile = [
        MethodOption("tile-frames", .integer(1...32), default: 2, "frames of a tile"),
        MethodOption("tile-height", .integer(1...32), default: 4, "token rows of a tile"),
        MethodOption("tile-width", .integer(1...32), default: 4, "token columns of a tile"),
    ]

    /// The options that say it, in the order a method prefers.
    static func options(_ standard: Kind, block size: Int = 64) -> [any AnyMethodOption] {
        [kind.standing(at: standard), block.standing(at: size)] + tile
    }

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

    /// Tokens of each video block of a layout.
    func sizes(_ layout: TokenLayout) -> [Int] {
        let offsets = cut(layout).offsets
        return zip(offsets, offsets.dropFirst()).map { Int($1 - $0) }
    }

    private func cut(_ layout: TokenLayout) -> (order: [Int32]?, offsets: [Int32]) {
        let offsets = AttentionPlan.offsets(tokens: layout.videoTokens, block: block)
        switch kind {
        case .raster: return (nil, offsets)
        case .positions: return (layout.positionMajor(), offsets)
        case .gilbert: return (layout.gilbert(), offsets)
        case .tiles:
            let bounds = zip(layout.extents, tile).map(Self.bounds)
            let (order, offsets) = layout.regions(frames: bounds[0], rows: bounds[1], columns: bounds[2])
            return (order, offsets)
        }
    }

    /// Where an extent is cut: into pieces of the wanted size, as their product is what the kernel multiplies at once,
    /// with what is left over first, as the first latent frame is one frame of the video and the others are four.
    private static func bounds(_ extent: Int, size: Int) -> [Int] {
        let left = extent % size
        return (left > 0 ? [0] : []) + stride(from: left, through: extent, by: size)
    }
}
