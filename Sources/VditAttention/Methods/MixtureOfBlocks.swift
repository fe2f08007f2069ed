import VditTensor

/// Lets every query choose among slices of frames, columns through all frames, or boxes, whichever the layer has, by
/// its product with the mean of their keys; queries that are easy to serve choose few, hard ones many.
///
/// All pairs of a query and a key block compete in a head. Queries that lie together make a block, which keeps what any
/// of them chose.
///
/// - Source: Wu et al., VMoBA: Mixture-of-Block Attention for Video Diffusion Models, arXiv 2506.23858; KwaiVGI/VMoBA.
/// - Differs: a block of queries keeps the union of their choices, never less than the paper. Key blocks differ by one
///   in frames, rows or columns where an extent is no multiple. With a density pairs of blocks compete, each as good as
///   its best query.
public struct MixtureOfBlocks: SparseMethod {
    public static let name = "vmoba"

    /// Frames, rows and columns of a key block; nil takes in all.
    typealias Extents = [Int?]

    /// What the layers after the dense ones take in turn.
    private let cycle: [Extents]
    private let querySize: Int
    private let mass: Double
    private let density: Double?
    private let denseLayers: Int

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        var parts: [VideoBlocks] = []
        for extents in cycle {
            let bounds = zip(extents, layout.extents)
                .map { Cut.even.bounds($1, size: $0 ?? $1) }
            let (order, offsets) = layout.regions(frames: bounds[0], rows: bounds[1], columns: bounds[2])
            parts.append(
                try VideoBlocks(
                    layout, order: order, offsets: offsets, queryOffsets: offsets.cut(atMost: querySize)))
        }
        if let density {
            let own = parts.map { $0.keys.videoSizes.reduce(0) { $0 + $1 * $1 } }.max() ?? 0
            if layout.videoPairs(density: density) < Double(own) {
                throw .unreachableDensity(
                    density, method: Self.name, reachable: layout.density(videoPairs: Double(own))...1)
            }
        }
        return Planner(
            parts: parts.map { Planner.Part(blocks: $0, own: ForcedBlocks(OptionSettings()).pairs($0)) }, mass: mass,
            density: density, denseLayers: denseLayers)
    }

    private struct Planner: AttentionPlanner {
        struct Part: Sendable {
            let blocks: VideoBlocks
            /// Pairs of a query block and the key block that it is a part of.
            let own: [Bool]
        }

        let parts: [Part]
        let mass: Double
        let density: Double?
        let denseLayers: Int

        func plan(_ call: AttentionCall, _ state: inout MethodState) throws(AttentionError) -> AttentionPlan {
            let part = parts[max(0, call.site.layer - denseLayers) % parts.count]
            let kernels = PlanningKernels(call.instructionSet)
            return try part.blocks.plan(call) { (head, scratch) throws(AttentionError) in
                let keys = part.blocks.means(of: call.k[head], part.blocks.keys, kernels, scratch)
                let gates = Gates(
                    try pairwiseScores(call.q[head].converted(to: .f32), keys, on: call.instructionSet, scratch),
                    part.blocks, part.own)
                guard let density else { return gates.reaching(mass) }
                let pairs = call.layout.videoPairs(density: density)
                return part.blocks.adding(ranked(gates.best()).lazy.map { Int($0) }, upTo: pairs, to: part.own)
            }
        }
    }

    private static let massOption = MethodOption(
        "mass", .number(0...1), default: 0.25, "share of the gates of all pairs in a head that are chosen; 1 keeps all")
    private static let queryBlock = MethodOption(
        "query-block", .integer(1...AttentionKernel.rows), default: 32, "tokens of a block of queries at most")
    private static let extents = [
        MethodOption("slice-frames", .integer(1...256), default: 2, "frames of a slice, in every third layer"),
        MethodOption("column-height", .integer(1...256), default: 3, "token rows of a column, in the layer after it"),
        MethodOption("column-width", .integer(1...256), default: 4, "token columns of a column"),
        MethodOption("box-frames", .integer(1...256), default: 4, "frames of a box, in the layer after that"),
        MethodOption("box-height", .integer(1...256), default: 6, "token rows of a box"),
        MethodOption("box-width", .integer(1...256), default: 4, "token columns of a box"),
    ]

    static let description = MethodDescription(
        name: name, summary: "keeps the slices, columns or boxes that some query of a small block chooses by their means",
        paper: .init(
            title: "VMoBA: Mixture-of-Block Attention for Video Diffusion Models", arXiv: "2506.23858"),
        options: [massOption, queryBlock] + extents
            + DenseSchedule.options(steps: .fraction(0.25), layers: 0) + [RestChoice.option],
        shareOptions: [massOption]
    ) { values, density in
        let sizes = extents.map { values[$0] }
        return MixtureOfBlocks(
            cycle: [[sizes[0], nil, nil], [nil, sizes[1], sizes[2]], [sizes[3], sizes[4], sizes[5]]],
            querySize: values[queryBlock], mass: values[massOption], density: density,
            denseLayers: values[DenseSchedule.layersOption])
    }
}

/// The products of a head's video queries with the means of key blocks.
private struct Gates {
    /// `[tokens, key blocks]` f32.
    private let products: Tensor
    private let blocks: VideoBlocks
    private let own: [Bool]

    init(_ products: Tensor, _ blocks: VideoBlocks, _ own: [Bool]) {
        (self.products, self.blocks, self.own) = (products, blocks, own)
    }

    /// Calls `body` with every gate, of one query after another: the pair of blocks and the query's place.
    private func forEach(_ body: (_ gate: Float, _ pair: Int, _ query: Int) -> Void) {
        let (count, cut) = (blocks.keys.video.count, blocks.queries)
        products.withFloats { products in
            for (row, block) in cut.video.enumerated() {
                for position in Int(cut.offsets[block])..<Int(cut.offsets[block + 1]) {
                    let token = blocks.order.map { Int($0[position]) } ?? position
                    for key in 0..<count { body(products[token * count + key], row * count + key, position) }
                }
            }
        }
    }

    /// Of each pair of blocks, the gate of its best query less the least of these.
    func best() -> [Float] {
        var best = [Float](repeating: -.infinity, count: blocks.pairCount)
        forEach { gate, pair, _ in best[pair] = max(best[pair], gate) }
        let least = best.min() ?? 0
        return best.map { $0 - least }
    }

    /// The pairs of blocks in which some query's gate is chosen: from the greatest on, until those chosen and those of
    /// queries with their own blocks hold a share of the sum of all. Gates are counted from the least one on.
    func reaching(_ mass: Double) -> [Bool] {
        if mass >= 1 { return [Bool](repeating: true, count: own.count) }
        var (least, most): (Float, Float) = (.infinity, -.infinity)
        forEach { gate, _, _ in (least, most) = (min(least, gate), max(most, gate)) }
        let factor = most - least > 1e-6 ? 1 / (most - least) : 1
        let bins = 4096
        func bin(_ gate: Float) -> Int { min(bins - 1, Int(gate * Float(bins))) }
        // An own block counts as chosen, and competes with nothing.
        var (ofOwn, sums, counts) = (0.0, [Double](repeating: 0, count: bins), [Int](repeating: 0, count: bins))
        forEach { gate, pair, _ in
            let gate = (gate - least) * factor
            if own[pair] {
                ofOwn += Double(gate)
            } else {
                sums[bin(gate)] += Double(gate)
                counts[bin(gate)] += 1
            }
        }
        let total = ofOwn + sums.reduce(0, +) + 1e-6
        var needed = max(0, mass * total - ofOwn)
        guard let last = (0..<bins).reversed().first(where: { bin in
            if counts[bin] > 0, sums[bin] >= needed { return true }
            needed -= sums[bin]
            return false
        }) else { return [Bool](repeating: true, count: own.count) }

        // Bins above are chosen whole, the one in which it ends by rank.
        var keeps = own
        var ends: [(gate: Float, pair: Int, query: Int)] = []
        forEach { gate, pair, query in
            let gate = (gate - least) * factor
            if own[pair] || bin(gate) < last { return }
            if bin(gate) > last { keeps[pair] = true } else { ends.append((gate, pair, query)) }
        }
        let count = blocks.keys.video.count
        ends.sort { ($1.gate, $0.pair % count, $0.query) < ($0.gate, $1.pair % count, $1.query) }
        for end in ends {
            keeps[end.pair] = true
            needed -= Double(end.gate)
            if needed <= 0 { break }
        }
        return keeps == own ? [Bool](repeating: true, count: own.count) : keeps
    }
}
