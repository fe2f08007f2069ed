import VditTensor

/// Measures where the softmax mass lies once or twice in a video, and keeps each query block's heaviest key blocks in
/// all steps after that; heads whose mass is concentrated keep fewer, heads whose mass is spread keep more.
///
/// - Source: Xia et al., Training-free and Adaptive Sparse Attention for Efficient Long Video Generation, arXiv
///   2502.21079; no code was released.
/// - Differs: every search measures a full call, in the very pass that computes it. The paper's later searches use the
///   first one's denominators, and compute their step sparsely. At most half of the heads get the higher sparsity.
///   Below a sparsity of a third heads trade no more than it, so that the mean stays.
public struct AdaSpa: SparseMethod {
    public static let name = "adaspa"

    private let order: BlockOrder
    private let refresh: Refresh
    private let selector: Selector
    private let density: Double?

    public var learns: [String] { MassPlanner<Selector>.learns }

    public func stateBytes(layout: TokenLayout, heads: Int, headDim: Int) -> Int {
        MassPlanner<Selector>.stateBytes(order, layout, heads: heads)
    }

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        let blocks = try VideoBlocks(order, layout, method: Self.name)
        var selector = selector
        if let density {
            let video = Double(layout.videoTokens)
            let least = 1 / Double(blocks.count)
            let kept = layout.videoPairs(density: density) / (video * video)
            // Half a block of slack: the nearest density is what was asked for.
            if kept < least / 2 {
                throw .unreachableDensity(
                    density, method: Self.name, reachable: layout.density(videoPairs: least * video * video)...1)
            }
            selector.sparsity = max(0, 1 - (max(kept, least) * Double(blocks.count)).rounded() / Double(blocks.count))
        }
        return MassPlanner(selector, blocks, refresh)
    }

    struct Selector: MassSelector {
        static let learned = "mask"
        static let choosesAtOnce = true

        /// Share of the key blocks that a query block drops, mean over heads.
        var sparsity: Double
        /// Mass that heads must keep to give some of it up; nil treats all heads alike.
        let bar: Double?

        func learn(_ masses: [[Float]], _ blocks: VideoBlocks, _ pool: WorkPool) -> Tensor {
            let count = blocks.count
            let ranks = pool.map(masses.count) { head, _ in
                (0..<count).map { row in ranked(masses[head][row * count..<(row + 1) * count]) }
            }
            let mask = Tensor(.u8, [masses.count, count, count])
            mask.fill(byte: 0)
            let bytes = mask.pointer(as: UInt8.self)
            for (head, sparsity) in sparsities(masses, ranks, blocks).enumerated() {
                for row in 0..<count {
                    for block in ranks[head][row].prefix(Self.kept(of: count, sparsity)) {
                        bytes[(head * count + row) * count + Int(block)] = 1
                    }
                }
            }
            return mask
        }

        /// At least one, though the paper's rule has none for it. The slack keeps rounding from taking a block.
        private static func kept(of count: Int, _ sparsity: Double) -> Int {
            max(1, count - Int((sparsity * Double(count) + 1e-9).rounded(.down)))
        }

        /// Of each head: more where much mass is kept anyway, less for as many others.
        private func sparsities(_ masses: [[Float]], _ ranks: [[[Int32]]], _ blocks: VideoBlocks) -> [Double] {
            guard let bar else { return masses.map { _ in sparsity } }
            let (count, sizes) = (blocks.count, blocks.queries.videoSizes)
            let recalls = zip(masses, ranks).map { masses, ranks in
                let kept = (0..<count).reduce(0.0) { sum, row in
                    let mass = ranks[row].prefix(Self.kept(of: count, sparsity))
                        .reduce(0.0) { $0 + Double(masses[row * count + Int($1)]) }
                    return sum + mass * Double(sizes[row])
                }
                return Float(kept / Double(blocks.layout.videoTokens))
            }
            return Self.sparsities(recalls, sparsity, bar: bar)
        }

        static func sparsities(_ recalls: [Float], _ sparsity: Double, bar: Double) -> [Double] {
            let moved = min(recalls.filter { Double($0) > bar }.count, recalls.count / 2)
            var all = [Double](repeating: sparsity, count: recalls.count)
            let order = ranked(recalls).map(Int.init)
            // Half of the way to keeping nothing; no further than to keeping all, so that the mean stays.
            let shift = min((1 - sparsity) / 2, sparsity)
            for head in order.prefix(moved) { all[head] += shift }
            for head in order.suffix(moved) { all[head] -= shift }
            return all
        }

        func kept(_ learned: Tensor, at _: Double, _ call: AttentionCall, _ blocks: VideoBlocks) -> [[Bool]] {
            (0..<call.heads).map { learned[$0].withBytes { bytes in bytes.map { $0 != 0 } } }
        }

        func density(_ blocks: VideoBlocks) -> Double {
            let video = Double(blocks.layout.videoTokens)
            return blocks.layout.density(videoPairs: (1 - sparsity) * video * video)
        }
    }

    private static let sparsity = MethodOption(
        "sparsity", .number(0...0.999), default: 0.8, "share of key blocks that a query block drops, mean over heads")
    private static let bar = MethodOption(
        "recall-bar", .number(0...1), default: 0.8, "mass a head keeps before it is made sparser; 1 treats heads alike")
    private static let refreshes = Refresh.option(20)

    static let description = MethodDescription(
        name: name, summary: "keeps the blocks with the most mass, measured in a full step once or twice a video",
        paper: .init(
            title: "Training-free and Adaptive Sparse Attention for Efficient Long Video Generation",
            arXiv: "2502.21079"),
        options: [sparsity, bar, refreshes] + BlockOrder.options(.raster)
            + DenseSchedule.options(steps: .fraction(0.2), layers: 0) + [RestChoice.option],
        presets: [
            .init(
                name: "sparsed", models: [], source: "SparseD, arXiv 2509.24014: one search, all heads alike",
                settings: [sparsity(0.7), bar(1), refreshes(1000), BlockOrder.block(128)])
        ],
        shareOptions: [sparsity]
    ) { values, density in
        AdaSpa(
            order: BlockOrder(values), refresh: Refresh(every: values[refreshes]),
            selector: Selector(sparsity: values[sparsity], bar: values[bar] < 1 ? values[bar] : nil),
            density: density)
    }
}
