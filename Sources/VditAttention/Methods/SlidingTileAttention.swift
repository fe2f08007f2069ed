import VditTensor

/// Lets the queries of a tile of the video attend to a window of tiles around it, as wide as a table says for every
/// step, layer and head, or the same for all.
///
/// - Source: Zhang et al., Fast Video Generation with Sliding Tile Attention, arXiv 2502.04507; hao-ai-lab/FastVideo.
/// - Differs: tiles at the far edges may be smaller; the grid of the reference has to divide by the tile.
public struct SlidingTileAttention: SparseMethod {
    public static let name = "sta"

    private let tile: [Int]
    private let windows: [Int]
    private let density: Double?

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        try TileGrid.planner(
            for: layout, tile: tile, windows: windows, density: density, options: (Self.tile, Self.windows))
    }

    private static let tile = [
        MethodOption("tile-frames", .integer(1...256), default: 6, "frames of a tile"),
        MethodOption("tile-height", .integer(1...256), default: 8, "token rows of a tile"),
        MethodOption("tile-width", .integer(1...256), default: 8, "token columns of a tile"),
    ]
    private static let windows = TileGrid.windowOptions("tiles", seenBy: "a query")

    private static func window(_ sizes: [Int]) -> [OptionSetting] { zip(windows, sizes).map { $0($1) } }

    static let description = MethodDescription(
        name: name, summary: "a window of tiles around every tile of queries, for all heads or by a table",
        paper: .init(title: "Fast Video Generation with Sliding Tile Attention", arXiv: "2502.04507"),
        options: tile + windows + DenseSchedule.options(steps: .fraction(0.3), layers: 0) + [RestChoice.option],
        presets: [
            .init(
                name: "hunyuan-video", models: ["hunyuan-video"],
                source: "paper without a table, 117 frames at 768x1280, 50 steps", settings: window([3, 3, 3])),
            .init(
                name: "wan-14b", models: [MethodDescription.Preset.wan14B],
                source: "reference code's dense steps, 69 frames at 768x1280, 50 steps",
                settings: [DenseSchedule.stepsOption(.fraction(0.24))]),
            .init(
                name: "wan-1.3b", models: MethodDescription.Preset.smallWan,
                source: "ours: smaller grids, more tiles", settings: [tile[0](3), tile[1](4), tile[2](4)]),
        ],
        shareOptions: tile + windows,
        patterns: PatternSearch(
            [[3, 1, 10], [1, 5, 7], [3, 3, 3], [1, 6, 5], [1, 3, 10], [3, 6, 1]].map(window))
    ) { values, density in
        SlidingTileAttention(
            tile: tile.map { values[$0] }, windows: windows.map { values[$0] }, density: density)
    }
}
