import VditTensor

extension TokenLayout {
    /// Video tokens position by position, all frames of a position side by side.
    func positionMajor() -> [Int32] {
        (0..<tokensPerFrame).flatMap { position in
            (0..<frames).map { Int32($0 * tokensPerFrame + position) }
        }
    }

    /// Video tokens region by region, regions and the tokens inside them in raster order.
    ///
    /// - Parameters:
    ///   - frames: where the video is cut, first 0, last its frames; nil is every frame by itself.
    ///   - rows: where a frame is cut, first 0, last its height.
    ///   - columns: likewise, last its width.
    /// - Returns: the order, and the offsets of its regions.
    func regions(frames bounds: [Int]? = nil, rows: [Int], columns: [Int]) -> (order: [Int32], offsets: [Int32]) {
        var order: [Int32] = []
        var offsets: [Int32] = [0]
        order.reserveCapacity(videoTokens)
        let bounds = bounds ?? Array(0...frames)
        for (first, end) in zip(bounds, bounds.dropFirst()) {
            for (top, bottom) in zip(rows, rows.dropFirst()) {
                for (left, right) in zip(columns, columns.dropFirst()) {
                    for frame in first..<end {
                        for row in top..<bottom {
                            let start = (frame * height + row) * width
                            order += (start + left..<start + right).lazy.map(Int32.init)
                        }
                    }
                    offsets.append(Int32(order.count))
                }
            }
        }
        return (order, offsets)
    }
}

/// Where an extent is cut into pieces.
enum Cut: String, Sendable, CaseIterable {
    /// Pieces that differ by one at most, as many as come nearest to the wanted size.
    case even
    /// Pieces of the wanted size, the last one smaller.
    case ragged

    func bounds(_ extent: Int, size: Int) -> [Int] {
        switch self {
        case .even:
            let pieces = max(1, (2 * extent + size) / (2 * size))
            return (0...pieces).map { $0 * extent / pieces }
        case .ragged:
            return Array(stride(from: 0, to: extent, by: size)) + [extent]
        }
    }
}
