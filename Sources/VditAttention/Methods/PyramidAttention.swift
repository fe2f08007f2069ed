import VditTensor

/// Shows every query block the key blocks as far as they matter to it: the best ones key by key, the next as means of
/// two neighbouring keys each, of four and of eight, and the last not at all.
///
/// - Source: PSA: Pyramid Sparse Attention for Efficient Video Understanding and Generation, arXiv 2512.04025;
///   ziplab/Pyramid-Sparse-Attention.
/// - Differs: samples lie at a fixed distance. Means of the keys there are close a short block, where the reference
///   repeats its last key. A level's blocks need not fill the tiles of a GPU. No level is capped by how alike a block's
///   keys are, which one of the published settings does. Text, and own blocks, are kept.
public struct PyramidAttention: SparseMethod {
    public static let name = "psa"

    private let order: BlockOrder
    private let keySize: Int
    private let sampleEvery: Int
    private let ends: Ends
    private let density: Double?
    private let forcing: ForcedBlocks

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        let blocks = try VideoBlocks(order, layout, method: Self.name, keySize: keySize)
        let sizes = blocks.keys.videoSizes
        return Planner(
            blocks: blocks, scorer: SampledPeaks(blocks, every: sampleEvery), ends: ends, forced: forcing.pairs(blocks),
            keys: try density.map { (density) throws(AttentionError) in
                try layout.keys(density: density, atLeast: sizes.max() ?? 0, method: Self.name)
            })
    }

    /// Keys that a mean stands for, level by level.
    fileprivate static let runs = [1, 2, 4, 8]

    /// Where the key blocks of each level end among a query block's, the best ones first.
    struct Ends: Sendable {
        enum Unit: String, Sendable, CaseIterable { case blocks, mass }

        let shares: [Double]
        let unit: Unit

        /// How many blocks there are up to the end of each level.
        ///
        /// - Parameters:
        ///   - masses: of a row, descending, summing to 1.
        ///   - least: blocks of the first level at least.
        ///   - factor: of the shares.
        func counts(_ masses: [Float], atLeast least: Int, factor: Double = 1) -> [Int] {
            let most = masses.count
            var last = min(most, unit == .mass ? max(least, Int(0.06 * Double(most)) + 1) : least)
            return shares.map { share in
                let end = min(1, share * factor)
                let count = unit == .mass ? inclusive(masses, end) : Int(end * Double(most))
                last = max(last, min(most, count))
                return last
            }
        }

        /// One more than the blocks whose mass, with all before them, is at most this; 0 where there is none.
        private func inclusive(_ masses: [Float], _ mass: Double) -> Int {
            var (sum, count) = (0.0, 0)
            for value in masses {
                sum += Double(value)
                if sum > mass + 1e-6 { break }
                count += 1
            }
            return count > 0 ? count + 1 : 0
        }

        /// The counts that come nearest to so many keys, all shares times one factor, and the keys they come to.
        ///
        /// - Parameter sizes: of the row's blocks, as `masses` has them.
        func counts(
            _ masses: [Float], atLeast least: Int, keys wanted: Double, _ sizes: [Int]
        ) -> (counts: [Int], keys: Int) {
            // Keys of the first so many blocks, were they all at a level.
            let sums = PyramidAttention.runs.map { run in
                sizes.reduce(into: [0]) { $0.append($0[$0.count - 1] + ($1 - 1) / run + 1) }
            }
            func found(_ factor: Double) -> (counts: [Int], keys: Int) {
                let counts = counts(masses, atLeast: least, factor: factor)
                return (counts, zip(sums, zip([0] + counts, counts)).reduce(0) { $0 + $1.0[$1.1.1] - $1.0[$1.1.0] })
            }
            var (low, high) = (0.0, 1 / (shares[0] > 0 ? shares[0] : 1))
            for _ in 0..<30 {
                let middle = (low + high) / 2
                if Double(found(middle).keys) < wanted { low = middle } else { high = middle }
            }
            let (fewer, more) = (found(low), found(high))
            return wanted - Double(fewer.keys) < Double(more.keys) - wanted ? fewer : more
        }
    }

    private struct Planner: AttentionPlanner {
        let blocks: VideoBlocks
        let scorer: SampledPeaks
        let ends: Ends
        let forced: [Bool]
        /// Of a query, tokens and means together; nil where the ends decide.
        let keys: Double?

        func plan(_ call: AttentionCall, _ state: inout MethodState) throws(AttentionError) -> AttentionPlan {
            let kernels = PlanningKernels(call.instructionSet)
            return AttentionPlan(
                heads: try call.pool.map(call.heads) { (head, scratch) throws(AttentionError) in
                    self.head(levels(try scorer.scores(call, head: head, kernels, scratch).masses))
                })
        }

        /// - Parameter levels: of each pair of video blocks, from 1 on; 0 is not seen.
        private func head(_ levels: [UInt8]) -> AttentionPlan.Head {
            let count = blocks.keys.video.count
            var head = blocks.head { row in (0..<count).filter { levels[row * count + $0] == 1 }.map(Int32.init) }
            var rest = [UInt8](repeating: 0, count: head.queryBlocks * head.keyBlockCount)
            for row in 0..<blocks.queries.video.count {
                let first = (blocks.queries.video.lowerBound + row) * head.keyBlockCount + blocks.keys.video.lowerBound
                for block in 0..<count { rest[first + block] = max(1, levels[row * count + block]) - 1 }
            }
            head.rest = .levels(rest, runs: Array(PyramidAttention.runs.dropFirst()))
            return head
        }

        private func levels(_ masses: [Float]) -> [UInt8] {
            let sizes = blocks.keys.videoSizes
            var levels = [UInt8](repeating: 0, count: masses.count)
            // Token pairs that the rows before took too few or too many, as whole blocks have it.
            var owed = 0.0
            for (row, queries) in blocks.queries.videoSizes.enumerated() {
                let pairs = row * sizes.count..<(row + 1) * sizes.count
                // Masses are 1 at most: what is forced comes first.
                let order = ranked(pairs.map { masses[$0] + (forced[$0] ? 4 : 0) }).map(Int.init)
                let sorted = order.map { masses[pairs.lowerBound + $0] }
                let least = max(1, pairs.count(where: { forced[$0] }))
                var counts = ends.counts(sorted, atLeast: least)
                if let keys {
                    owed += keys * Double(queries)
                    let nearest = ends.counts(
                        sorted, atLeast: least, keys: owed / Double(queries), order.map { sizes[$0] })
                    counts = nearest.counts
                    owed -= Double(nearest.keys * queries)
                }
                for (level, (start, end)) in zip([0] + counts, counts).enumerated() {
                    for block in order[start..<end] { levels[pairs.lowerBound + block] = UInt8(level + 1) }
                }
            }
            return levels
        }
    }

    private static let unit = MethodOption<Ends.Unit>(
        "ends-in", .choice, default: .blocks, "what the ends of levels are shares of: key blocks, or estimated mass")
    private static let endsOfLevels = [
        MethodOption("exact", .number(0...1), default: 0.1, "where the key blocks end that are seen key by key"),
        MethodOption("halves", .number(0...1), default: 0.15, "where those end whose keys are seen two by two"),
        MethodOption("quarters", .number(0...1), default: 0.15, "where those end whose keys are seen by fours"),
        MethodOption("eighths", .number(0...1), default: 0.35, "where those end whose keys are seen by eights"),
    ]

    private static func settings(_ unit: Ends.Unit, _ ends: [Double], keyBlock: Int) -> [OptionSetting] {
        [Self.unit(unit), BlockOrder.keyBlock(keyBlock)] + zip(endsOfLevels, ends).map { $0($1) }
    }

    static let description = MethodDescription(
        name: name, summary: "sees key blocks key by key, by twos, fours, eights or not at all, as sampled scores say",
        paper: .init(
            title: "PSA: Pyramid Sparse Attention for Efficient Video Understanding and Generation",
            arXiv: "2512.04025"),
        options: endsOfLevels + [unit, SampledPeaks.every, BlockOrder.keyBlock, ForcedBlocks.own]
            + BlockOrder.options(.gilbert, block: 128) + DenseSchedule.options(steps: .fraction(0.25), layers: 0),
        presets: [
            .init(
                name: "wan-1.3b", models: MethodDescription.Preset.smallWan, source: "reference code, Wan2.1 1.3B",
                settings: settings(.blocks, [0.05, 0.1, 0.15, 0.25], keyBlock: 32)),
            .init(
                name: "wan-14b",
                models: [MethodDescription.Preset.wan14B] + MethodDescription.Preset.wan14BFromPictures,
                source: "reference code, Wan2.1 14B, 50 steps",
                settings: settings(.mass, [0.4, 0.5, 0.6, 0.8], keyBlock: 128)
                    + [DenseSchedule.stepsOption(.fraction(0.3))]),
            .init(
                name: "wan2.2-a14b",
                models: [MethodDescription.Preset.wanA14B, MethodDescription.Preset.wanA14BFromPictures],
                source: "reference code, Wan2.2 A14B",
                settings: settings(.mass, [0.5, 0.6, 0.6, 0.8], keyBlock: 32)
                    + [DenseSchedule.stepsOption(.fraction(0.24))]),
            .init(
                name: "cogvideox", models: MethodDescription.Preset.cogVideoX, source: "reference code, 50 steps",
                settings: settings(.blocks, [0.1, 0.15, 0.15, 0.35], keyBlock: 32)
                    + [DenseSchedule.stepsOption(.fraction(0.3))]),
        ],
        shareOptions: endsOfLevels + [unit]
    ) { values, density in
        PyramidAttention(
            order: BlockOrder(values), keySize: values[BlockOrder.keyBlock], sampleEvery: values[SampledPeaks.every],
            ends: Ends(shares: endsOfLevels.map { values[$0] }, unit: values[unit]), density: density,
            forcing: ForcedBlocks(values))
    }
}
