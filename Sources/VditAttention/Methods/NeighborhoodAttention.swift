import VditTensor

/// Lets groups of neighbouring queries attend to a box of keys around them, pushed inwards at the borders so that every
/// query has as many.
///
/// The grid of keys is cut wherever some group's window begins or ends: each piece lies wholly inside or outside every
/// window, so blocks give the exact mask.
///
/// - Source: Hassani et al., Generalized Neighborhood Attention: Multi-dimensional Sparse Attention at the Speed of
///   Light, arXiv 2504.16922; SHI-Labs/NATTEN.
/// - Differs: no dilation. A stride wider than its window is the window.
public struct NeighborhoodAttention: SparseMethod {
    public static let name = "gna"

    enum Size: Sendable {
        /// Of frames, rows and columns, how much of each a query sees.
        case shares([Double])
        case density(Double)
    }

    private let size: Size
    private let strides: [Int]

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        let extents = layout.extents
        let windows =
            switch size {
            case .shares(let shares): zip(extents, shares).map { max(1, Int((Double($0) * $1).rounded())) }
            case .density(let density):
                BoxWindows.nearest(
                    to: BoxWindows.share(density, of: layout),
                    among: extents.map { extent in
                        (1...extent).map { .init(size: $0, share: Double($0) / Double(extent)) }
                    })
            }
        let axes = (0..<3).map { Axis(extents[$0], window: windows[$0], stride: strides[$0]) }
        func blocks(_ bounds: [[Int]]) throws(AttentionError) -> VideoBlocks {
            let (order, offsets) = layout.regions(frames: bounds[0], rows: bounds[1], columns: bounds[2])
            return try VideoBlocks(layout, order: order, offsets: offsets)
        }
        let (queries, keys) = (try blocks(axes.map(\.groups)), try blocks(axes.map(\.cuts)))
        let counts = axes.map { $0.groups.count - 1 }
        let head = AttentionPlan.Head(
            queries: queries.queries, keys: keys.keys, queryOrder: queries.order, keyOrder: keys.order,
            kept: { group in
                let place = [group / counts[2] / counts[1], group / counts[2] % counts[1], group % counts[2]]
                return BoxWindows.inside(zip(axes, place).map { $0.inside($1) })
            })
        let names = Self.windows.map(\.name)
        return LayoutPlanner(
            AttentionPlan(heads: [head]),
            solved: Dictionary(uniqueKeysWithValues: (0..<3).map { axis in
                (names[axis], Double(windows[axis]) / Double(extents[axis]))
            }))
    }

    /// One dimension of the grid.
    struct Axis: Sendable {
        /// Where queries are cut into groups that share a window, first 0, last the extent.
        let groups: [Int]
        /// Where keys are cut, likewise.
        let cuts: [Int]
        private let windows: [Range<Int>]

        init(_ extent: Int, window: Int, stride: Int) {
            let step = min(stride, window)
            groups = Cut.ragged.bounds(extent, size: step)
            windows = groups.dropLast().map { Self.window(of: $0, extent, window, step) }
            cuts = Set(windows.flatMap { [$0.lowerBound, $0.upperBound] } + [0, extent]).sorted()
        }

        /// Around the group's leader, its middle.
        static func window(of token: Int, _ extent: Int, _ window: Int, _ stride: Int) -> Range<Int> {
            let leader = min(token / stride * stride + stride / 2, extent - 1)
            let start = min(max(leader - window / 2, 0), extent - window)
            return start..<start + window
        }

        /// Of each piece between cuts, whether a group's window holds it.
        func inside(_ group: Int) -> [Bool] {
            zip(cuts, cuts.dropFirst()).map { windows[group].contains($0) && $1 <= windows[group].upperBound }
        }
    }

    private static let windows = [
        MethodOption("window-frames", .number(0...1), default: 0.6, "share of the frames that a query sees"),
        MethodOption("window-height", .number(0...1), default: 0.5, "share of the token rows that a query sees"),
        MethodOption("window-width", .number(0...1), default: 0.5, "share of the token columns that a query sees"),
    ]
    private static let strides = [
        MethodOption("stride-frames", .integer(1...256), default: 4, "frames of a group that shares a window"),
        MethodOption("stride-height", .integer(1...256), default: 4, "token rows of such a group"),
        MethodOption("stride-width", .integer(1...256), default: 4, "token columns of such a group"),
    ]

    static let description = MethodDescription(
        name: name, summary: "a box of keys around every group of queries, exactly",
        paper: .init(
            title: "Generalized Neighborhood Attention: Multi-dimensional Sparse Attention at the Speed of Light",
            arXiv: "2504.16922"),
        options: windows + strides + DenseSchedule.options(steps: .fraction(0.3), layers: 0) + [RestChoice.option],
        presets: [
            .init(
                name: "hunyuan-video", models: ["hunyuan-video"], source: "paper, 117 frames at 768x1280, 50 steps",
                settings: [
                    windows[0](0.6), windows[1](0.5), windows[2](0.3), strides[0](16), strides[1](8), strides[2](8),
                ])
        ],
        shareOptions: windows
    ) { values, density in
        NeighborhoodAttention(
            size: density.map { .density($0) } ?? .shares(windows.map { values[$0] }),
            strides: strides.map { values[$0] })
    }
}
