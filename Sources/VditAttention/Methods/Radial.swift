import VditTensor

/// Keeps whole neighbouring frames, and of farther ones a diagonal band that halves in width whenever the
/// distance in time doubles; one static mask for all heads, layers, steps and branches.
///
/// - Source: Li, Li, Cai et al., Radial Attention: O(n log n) Sparse Attention with Energy Decay for Long
///   Video Generation, arXiv 2506.19852; mit-han-lab/radial-attention.
/// - Differs: `edges=own` (the default) decides a block by the rows and columns a frame owns in it and always
///   visits adjacent frames: the reference leaves out the borders of frames that do not fill whole blocks,
///   and can leave a query block without any key. At sizes that fill blocks all `edges` agree. Any token
///   count is served; the mask of the reference has to divide by the block.
public struct Radial: SparseMethod {
    public static let name = "radial"

    /// Nil is `auto`.
    private let block: Int?
    private let edges: RadialMask.Edges
    private let sink: Bool
    /// Where no density decides it.
    private let band: RadialMask.Band
    private let density: Double?

    init(
        block: Int?, edges: RadialMask.Edges, sink: Bool, band: RadialMask.Band, density: Double? = nil
    ) {
        self.block = block
        self.edges = edges
        self.sink = sink
        self.band = band
        self.density = density
    }

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        func shape(_ block: Int) -> RadialMask.Shape {
            RadialMask.Shape(
                frames: layout.frames, tokensPerFrame: layout.tokensPerFrame, block: block, edges: edges,
                sink: sink)
        }
        var size = block ?? 64
        // Before a mask of so many is looked at.
        _ = try TokenBlocks(layout, size: size)
        var band = band
        var solved: [String: Double] = [:]
        if let density {
            // Small blocks follow a narrow band more closely: they reach less.
            let candidates =
                block.map { [$0] }
                ?? [64, 32, 16].filter { $0 == 64 || layout.tokens / $0 < AttentionPlan.mostBlocks }
            var nearest = Double.infinity
            for candidate in candidates where nearest > ConfiguredMethod.densityTolerance {
                let isLast = candidate == candidates[candidates.count - 1]
                // Of the last, where none reaches it, the range is told.
                if layout.videoPairs(density: density) < Self.pairs(shape(candidate), .narrowest),
                    !isLast || nearest.isFinite
                {
                    continue
                }
                let found = try solve(density, shape(candidate), layout)
                let distance = abs(layout.density(videoPairs: Self.pairs(shape(candidate), found)) - density)
                if distance < nearest { (nearest, size, band) = (distance, candidate, found) }
            }
            solved = [
                Self.decay.name: band.decay, Self.skipBelow.name: band.skipBelow,
                Self.decayNeighbours.name: band.decayNeighbours ? 1 : 0, Self.blockOption.name: Double(size),
            ]
        }
        var mask = RadialMask(shape(size), band)
        let blocks = try TokenBlocks(layout, size: size)
        return LayoutPlanner(
            AttentionPlan(heads: [.init(queries: blocks, keys: blocks, kept: { mask.kept($0) })]), solved: solved)
    }

    private static func pairs(_ shape: RadialMask.Shape, _ band: RadialMask.Band) -> Double {
        var mask = RadialMask(shape, band)
        return mask.pairs()
    }

    /// Finds a band of the wanted density: its decay by bisection, visiting more frame pairs where no decay
    /// is enough, and a band for adjacent frames where every decay is too much.
    private func solve(
        _ density: Double, _ shape: RadialMask.Shape, _ layout: TokenLayout
    ) throws(AttentionError) -> RadialMask.Band {
        let wanted = layout.videoPairs(density: density)
        let widest = 4 * Double(layout.frames)
        var best: (error: Double, band: RadialMask.Band)?
        func pairs(_ band: RadialMask.Band) -> Double {
            let pairs = Self.pairs(shape, band)
            let error = abs(pairs - wanted)
            if best.map({ error < $0.error }) ?? true { best = (error, band) }
            return pairs
        }
        /// Bisects the decay; true if the wanted number lies between the narrowest and the widest band.
        func bisect(_ band: RadialMask.Band) -> Bool {
            var low = band
            var high = band
            high.decay = widest
            guard pairs(low) <= wanted, pairs(high) >= wanted else { return false }
            for _ in 0..<24 {
                var middle = band
                middle.decay = (low.decay + high.decay) / 2
                if pairs(middle) < wanted { low = middle } else { high = middle }
            }
            return true
        }
        let least = pairs(.narrowest)
        let most = pairs(RadialMask.Band(decay: widest, skipBelow: 0))
        guard wanted >= least, wanted <= most else {
            throw .unreachableDensity(
                density, method: Self.name,
                reachable: layout.density(videoPairs: least)...layout.density(videoPairs: most))
        }
        let families = [RadialMask.Band(decay: 0), .narrowest]
            + [64, 32, 16, 8, 4, 2, 1, 0].map { RadialMask.Band(decay: 0, skipBelow: $0) }
        _ = families.contains(where: bisect)
        return best?.band ?? band
    }

    private static let decay = MethodOption(
        "decay", .number(0...100), default: 0.5, "factor of the width of the diagonal bands")
    private static let blockOption = MethodOption(
        "block", .automaticInteger(16...256), default: nil,
        "tokens of a block; auto is 64, or fewer where a density needs it")
    private static let sinkOption = MethodOption(
        "sink", .onOff, default: true, "every query sees the first latent frame")
    private static let edgesOption = MethodOption<RadialMask.Edges>(
        "edges", .choice, default: .own, "how blocks shared by two frames are decided")
    private static let skipBelow = MethodOption(
        "skip-below", .number(0...4096), default: 128,
        "undecayed band width below which whole frame pairs are skipped")
    private static let decayNeighbours = MethodOption(
        "decay-neighbours", .onOff, default: false, "adjacent frames get a band too")

    static let description = MethodDescription(
        name: name,
        summary: "static mask: whole near frames, ever narrower diagonal bands of farther ones",
        paper: .init(
            title: "Radial Attention: O(n log n) Sparse Attention with Energy Decay for Long Video Generation",
            arXiv: "2506.19852"),
        options: [decay, blockOption, sinkOption, edgesOption, skipBelow, decayNeighbours]
            + DenseSchedule.options(steps: .fraction(0.25), layers: 1) + [RestChoice.option],
        presets: [
            .init(
                name: "wan-1.3b", models: MethodDescription.Preset.smallWan,
                source: "ours: the authors did not tune it", settings: [decay(0.5)]),
            .init(
                name: "wan-14b",
                models: [MethodDescription.Preset.wan14B] + MethodDescription.Preset.wan14BFromPictures,
                source: "reference code, 69 frames at 768x1280, 50 steps",
                settings: [
                    decay(0.2), blockOption(128), edgesOption(.repaired), DenseSchedule.stepsOption(.count(12)),
                ]),
            .init(
                name: "wan2.2-a14b",
                models: [MethodDescription.Preset.wanA14B, MethodDescription.Preset.wanA14BFromPictures],
                source: "reference code, 77 frames at 768x1280, 40 steps",
                settings: [
                    decay(0.8), blockOption(64), edgesOption(.repaired), DenseSchedule.stepsOption(.count(11)),
                ]),
            .init(
                name: "ltx", models: MethodDescription.Preset.ltx, source: "ours, as for the small Wan models",
                settings: [decay(0.5)]),
            .init(
                name: "hunyuan-video", models: ["hunyuan-video"],
                source: "reference code, 117 frames at 768x1280, 50 steps",
                settings: [
                    decay(0.95), blockOption(128), sinkOption(false), edgesOption(.repaired),
                    DenseSchedule.stepsOption(.count(12)), DenseSchedule.layersOption(0),
                ]),
            .init(
                name: "mochi", models: ["mochi"], source: "paper, whose band is not narrowed",
                settings: [decay(1), DenseSchedule.stepsOption(.count(12)), DenseSchedule.layersOption(0)]),
            .init(
                name: "reference", models: [], source: "the golden masks, empty rows included",
                settings: [
                    decay(1), blockOption(128), edgesOption(.reference), DenseSchedule.stepsOption(.count(0)),
                    DenseSchedule.layersOption(0),
                ]),
        ],
        shareOptions: [decay, skipBelow, decayNeighbours]
    ) { values, density in
        Radial(
            block: values[blockOption], edges: values[edgesOption], sink: values[sinkOption],
            band: RadialMask.Band(
                decay: values[decay], skipBelow: values[skipBelow], decayNeighbours: values[decayNeighbours]),
            density: density)
    }
}
