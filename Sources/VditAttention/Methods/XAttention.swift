import VditTensor

/// Sums scores along antidiagonals inside each pair of blocks, as a product of folded queries and keys, and keeps each
/// query block's key blocks until they hold the wanted mass.
///
/// `stride` keys side by side make one row, `stride` queries in reverse another, so that a product of two rows is the
/// sum of an antidiagonal of their scores. `P_ij` is the softmax over such rows, summed over the pair of blocks.
///
/// - Source: Xu et al., XAttention: Block Sparse Attention with Antidiagonal Scoring, arXiv 2503.16428;
///   mit-han-lab/x-attention.
/// - Differs: what a short block lacks is zeros in its last row, and no row is made of them alone; text takes no part
///   in the scores, and is kept. Own blocks are kept too.
public struct XAttention: SparseMethod {
    public static let name = "xattention"

    private let order: BlockOrder
    private let stride: Int
    private let budget: BlockBudget
    private let forcing: ForcedBlocks

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        let blocks = try VideoBlocks(order, layout, method: Self.name)
        return try SelectingPlanner(Scorer(blocks, stride: stride), blocks, budget, forcing, method: Self.name)
    }

    private struct Scorer: BlockScorer {
        private let stride: Int
        private let queries: SampledRows
        private let keys: SampledRows

        init(_ blocks: VideoBlocks, stride: Int) {
            self.stride = stride
            func folded(_ tokens: [Int32]) -> [[Int32]] {
                Swift.stride(from: 0, to: tokens.count, by: stride).map { start in
                    (start..<start + stride).map { $0 < tokens.count ? tokens[$0] : -1 }
                }
            }
            keys = SampledRows(blocks, blocks.keys, width: stride, rows: folded)
            queries = SampledRows(blocks, blocks.queries, width: stride) { folded($0).map { $0.reversed() } }
        }

        func scores(
            _ call: AttentionCall, head: Int, _ kernels: PlanningKernels, _ scratch: Scratch
        ) throws(AttentionError) -> BlockScores {
            var masses: [Float] = []
            try SampledRows.forEachBlock(
                queries: queries, call.q[head], keys: keys, call.k[head], on: call.instructionSet, scratch
            ) { scores in
                kernels.softmax(scores, scale: call.scale / Float(stride))
                masses += blockSums(scores)
            }
            return BlockScores(masses: masses)
        }

        /// Of each key block, mean over the rows.
        private func blockSums(_ scores: Tensor) -> [Float] {
            scores.withFloats { scores in
                let (columns, blocks) = (keys.offsets[keys.offsets.count - 1], keys.offsets.count - 1)
                var sums = [Double](repeating: 0, count: blocks)
                for start in Swift.stride(from: 0, to: scores.count, by: columns) {
                    for block in 0..<blocks {
                        var sum: Float = 0
                        for column in keys.offsets[block]..<keys.offsets[block + 1] { sum += scores[start + column] }
                        sums[block] += Double(sum)
                    }
                }
                return sums.map { Float($0 * Double(columns) / Double(scores.count)) }
            }
        }
    }

    private static let mass = MethodOption(
        "mass", .number(0...1), default: 0.95, "share of the estimated mass that a query block keeps; 1 keeps all")
    private static let strideOption = MethodOption(
        "stride", .integer(1...64), default: 8, "tokens folded into one row of the estimate")
    private static let firstBlock = ForcedBlocks.firstBlock.standing(at: true)

    static let description = MethodDescription(
        name: name, summary: "keeps the blocks with the most mass, estimated along antidiagonals",
        paper: .init(
            title: "XAttention: Block Sparse Attention with Antidiagonal Scoring", arXiv: "2503.16428"),
        options: [mass, strideOption, ForcedBlocks.own, firstBlock] + BlockOrder.options(.raster, block: 128)
            + DenseSchedule.options(steps: .fraction(0.1), layers: 0) + [RestChoice.option],
        shareOptions: [mass]
    ) { values, density in
        XAttention(
            order: BlockOrder(values), stride: values[strideOption],
            budget: density.map { .density($0) } ?? .rules([.before(values[mass])]), forcing: ForcedBlocks(values))
    }
}
