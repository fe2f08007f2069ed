import VditTensor

/// The video cut into boxes of some frames, rows and columns, for methods whose mask is a rule on whole boxes.
struct TileGrid: Sendable {
    let axes: [Axis]
    let blocks: VideoBlocks

    /// - Parameter tile: frames, rows and columns of a box; those at the far edges are smaller.
    /// - Throws: what `TokenBlocks` throws.
    init(_ layout: TokenLayout, tile: [Int]) throws(AttentionError) {
        axes = zip(layout.extents, tile).map(Axis.init)
        let (order, offsets) = layout.regions(frames: axes[0].bounds, rows: axes[1].bounds, columns: axes[2].bounds)
        blocks = try VideoBlocks(layout, order: order, offsets: offsets)
    }

    /// The plan in which a box keeps those that `kept` lists for its place on the three axes.
    func plan(kept: ([Int]) -> [Int32]) -> AttentionPlan {
        let counts = axes.map(\.count)
        return AttentionPlan(
            heads: [
                blocks.head { row in
                    kept([row / counts[2] / counts[1], row / counts[2] % counts[1], row % counts[2]])
                }
            ])
    }

    /// The plan in which a box keeps a window of boxes around it.
    ///
    /// - Parameter windows: boxes along frames, rows and columns, see `Axis.window`.
    func plan(windows: [Int]) -> AttentionPlan {
        plan { place in
            BoxWindows.inside(
                (0..<3).map { axis in
                    let window = axes[axis].window(windows[axis], around: place[axis])
                    return (0..<axes[axis].count).map(window.contains)
                })
        }
    }

    /// Plans windows of tiles: those asked for, or some of a density.
    ///
    /// - Parameter options: what gives the tile and the windows.
    static func planner(
        for layout: TokenLayout, tile: [Int], windows: [Int], density: Double?,
        options: (tile: [MethodOption<Int>], windows: [MethodOption<Int>])
    ) throws(AttentionError) -> LayoutPlanner {
        guard let density else { return LayoutPlanner(try TileGrid(layout, tile: tile).plan(windows: windows)) }
        let found = solve(density, layout, tile: options.tile.map(\.standard))
        return LayoutPlanner(
            try TileGrid(layout, tile: found.tile).plan(windows: found.windows),
            solved: (options.tile + options.windows).solved(found.tile + found.windows))
    }

    /// Options for such windows.
    ///
    /// - Parameters:
    ///   - things: what the method calls its tiles.
    ///   - viewer: what sees them.
    static func windowOptions(_ things: String, seenBy viewer: String) -> [MethodOption<Int>] {
        [
            MethodOption(
                "window-frames", .integer(1...999), default: 3,
                "\(things) along time that \(viewer) sees, an even number as the next"),
            MethodOption("window-height", .integer(1...999), default: 3, "\(things) of a column that it sees"),
            MethodOption("window-width", .integer(1...999), default: 3, "\(things) of a row that it sees"),
        ]
    }

    /// A tile and windows of it that come near a density.
    ///
    /// - Parameter largest: the tile where that has such windows; else the axis with the fewest tiles gets twice as
    ///   many, again and again, down to tiles of sixteen tokens: smaller ones are slow for what they keep.
    private static func solve(_ density: Double, _ layout: TokenLayout, tile largest: [Int]) -> (tile: [Int], windows: [Int]) {
        let wanted = BoxWindows.share(density, of: layout)
        var tile = zip(largest, layout.extents).map { min($0, $1) }
        var best: (miss: Double, tile: [Int], windows: [Int])?
        while true {
            let axes = zip(layout.extents, tile).map(Axis.init)
            let windows = BoxWindows.nearest(
                to: wanted,
                among: axes.map { axis in
                    // An even window is as wide as the next.
                    stride(from: 1, through: axis.count + 1, by: 2).map {
                        .init(size: $0, share: axis.share(window: $0))
                    }
                })
            let miss = abs(zip(axes, windows).reduce(1) { $0 * $1.0.share(window: $1.1) } - wanted)
            if best.map({ miss < $0.miss }) ?? true { best = (miss, tile, windows) }
            if miss <= ConfiguredMethod.densityTolerance / 2 { break }
            let cuttable = (0..<3).filter { tile[$0] > 1 }
            guard tile.reduce(1, *) >= 32, let axis = cuttable.min(by: { axes[$0].count < axes[$1].count })
            else { break }
            tile[axis] = (tile[axis] + 1) / 2
        }
        return best.map { ($0.tile, $0.windows) } ?? (tile, [1, 1, 1])
    }

    /// One dimension of the grid.
    struct Axis: Sendable {
        /// Where it is cut, first 0, last the extent.
        let bounds: [Int]

        init(_ extent: Int, tile: Int) { bounds = Cut.ragged.bounds(extent, size: tile) }

        var count: Int { bounds.count - 1 }
        private var extent: Int { bounds[count] }

        func size(_ tiles: ClosedRange<Int>) -> Int { bounds[tiles.upperBound + 1] - bounds[tiles.lowerBound] }

        /// So many tiles to either side as half the window has, pushed inwards at the borders: an even window is one
        /// tile wider than it says.
        ///
        /// - Source: Sliding Tile Attention, FastVideo's mask.
        func window(_ size: Int, around tile: Int) -> ClosedRange<Int> {
            let half = size / 2
            let centre = min(max(tile, half), count - 1 - half)
            return max(0, centre - half)...min(count - 1, centre + half)
        }

        /// Share of the pairs of places that see each other.
        func share(window: Int) -> Double { share { self.window(window, around: $0) } }
        /// Share of the pairs of places that lie in one tile.
        var ownShare: Double { share { $0...$0 } }

        private func share(_ seen: (Int) -> ClosedRange<Int>) -> Double {
            let pairs = (0..<count).reduce(0) { $0 + size($1...$1) * size(seen($1)) }
            return Double(pairs) / (Double(extent) * Double(extent))
        }
    }
}
