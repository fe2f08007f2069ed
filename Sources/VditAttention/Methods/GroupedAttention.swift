import VditTensor

/// Lets all queries of a box of the video attend to the same boxes of keys: those that share frames, rows or columns
/// with it, or those around it.
///
/// - Source: Ren et al., Grouping First, Attending Smartly: Training-Free Acceleration for Diffusion Transformers,
///   arXiv 2505.14687; OliverRensu/GRAT. GRAT-X is `keys=cross`, GRAT-B `keys=box`.
/// - Differs: boxes at the far edges may be smaller; the grid of the reference has to divide by the box.
public struct GroupedAttention: SparseMethod {
    public static let name = "grat"

    enum Keys: String, Sendable, CaseIterable {
        /// Boxes that agree with the query's in frames, rows or columns.
        case cross
        /// A window of boxes around the query's.
        case box
    }

    private let keys: Keys
    private let group: [Int]
    private let windows: [Int]
    private let density: Double?

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        switch keys {
        case .cross:
            let group = density.map { Self.group(for: $0, layout) } ?? group
            let grid = try TileGrid(layout, tile: group)
            let plan = grid.plan { place in
                let apart = (0..<3).map { axis in (0..<grid.axes[axis].count).map { $0 != place[axis] } }
                let dropped = Set(BoxWindows.inside(apart))
                return (0..<Int32(grid.blocks.keys.video.count)).filter { !dropped.contains($0) }
            }
            return LayoutPlanner(plan, solved: density == nil ? [:] : Self.group.solved(group))
        case .box:
            return try TileGrid.planner(
                for: layout, tile: group, windows: windows, density: density, options: (Self.group, Self.windows))
        }
    }

    /// Boxes whose cross comes near a density; what it drops is the product of what the axes have apart.
    private static func group(for density: Double, _ layout: TokenLayout) -> [Int] {
        guard density < 1 else { return layout.extents }
        // As small as tiles of a window may be.
        return BoxWindows.nearest(
            to: 1 - BoxWindows.share(density, of: layout),
            among: zip(layout.extents, [2, 2, 4]).map { extent, least in
                (min(least, extent)...extent).map {
                    .init(size: $0, share: 1 - TileGrid.Axis(extent, tile: $0).ownShare)
                }
            })
    }

    private static let kind = MethodOption<Keys>(
        "keys", .choice, default: .cross, "boxes in the same frames, rows or columns, or boxes around")
    private static let group = [
        MethodOption("group-frames", .integer(1...256), default: 4, "frames of a box"),
        MethodOption("group-height", .integer(1...256), default: 8, "token rows of a box"),
        MethodOption("group-width", .integer(1...256), default: 8, "token columns of a box"),
    ]
    private static let windows = TileGrid.windowOptions("boxes", seenBy: "keys=box")

    static let description = MethodDescription(
        name: name, summary: "boxes in the same frames, rows or columns as the query's, or boxes around it",
        paper: .init(
            title: "Grouping First, Attending Smartly: Training-Free Acceleration for Diffusion Transformers",
            arXiv: "2505.14687"),
        options: [kind] + group + windows + DenseSchedule.options(steps: .count(0), layers: 0) + [RestChoice.option],
        presets: [
            .init(
                name: "hunyuan-video", models: ["hunyuan-video"],
                source: "reference code, 128 frames at 768x1280, 30 steps",
                settings: [kind(.cross), group[0](4), group[1](8), group[2](8)])
        ],
        shareOptions: group + windows
    ) { values, density in
        GroupedAttention(
            keys: values[kind], group: group.map { values[$0] }, windows: windows.map { values[$0] }, density: density)
    }
}
