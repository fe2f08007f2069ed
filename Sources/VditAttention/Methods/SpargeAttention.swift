import VditTensor

/// Judges a block by the mean of its tokens where these are alike, and keeps what it cannot judge.
///
/// Scores are products of means. Of each query block the key blocks with the most of their softmax are kept, as long as
/// all together hold no more than the wanted mass. Blocks whose tokens point apart are kept by all, and keep all.
///
/// - Source: Zhang et al., SpargeAttention: Accurate and Training-free Sparse Attention Accelerating Any Model
///   Inference, arXiv 2502.18137; thu-ml/SpargeAttn.
/// - Differs: nothing is skipped inside the kernel. Text takes no part in the scores, and is kept. With a density,
///   blocks that cannot be judged come first and count in it. Own blocks are kept. A token of zeros is like none.
public struct SpargeAttention: SparseMethod {
    public static let name = "sparge"

    private let order: BlockOrder
    private let keySize: Int
    private let similarity: Float
    private let budget: BlockBudget
    private let forcing: ForcedBlocks

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        let blocks = try VideoBlocks(order, layout, method: Self.name, keySize: keySize)
        return try SelectingPlanner(
            Scorer(blocks: blocks, similarity: similarity), blocks, budget, forcing, method: Self.name)
    }

    private struct Scorer: BlockScorer {
        let blocks: VideoBlocks
        let similarity: Float

        func scores(
            _ call: AttentionCall, head: Int, _ kernels: PlanningKernels, _ scratch: Scratch
        ) throws(AttentionError) -> BlockScores {
            let map = try blocks.meanScores(call, head: head, kernels, scratch)
            let keys = unlike(call.k[head], blocks.keys, centred: true, kernels, scratch)
            map.withMutableFloats { map in
                for index in map.indices where keys[index % keys.count] { map[index] = -.greatestFiniteMagnitude }
            }
            kernels.softmax(map, scale: call.scale)
            return BlockScores(
                masses: map.floats(), unknownKeys: keys,
                unknownQueries: unlike(call.q[head], blocks.queries, centred: false, kernels, scratch))
        }

        /// Blocks whose tokens have a mean cosine with each other, themselves included, of `similarity` at most.
        ///
        /// - Parameter centred: whether the mean of all video tokens is taken off first.
        private func unlike(
            _ x: Tensor, _ cut: TokenBlocks, centred: Bool, _ kernels: PlanningKernels, _ scratch: Scratch
        ) -> [Bool] {
            let columns = x.columns
            let units = x.converted(to: .f32)
            let centre = scratch.tensor(.f32, [1, columns])
            centre.fill(byte: 0)
            if centred {
                let video = blocks.layout.video
                kernels.blockMeans(x.slice(video), order: nil, offsets: [0, Int32(video.count)], into: centre)
            }
            centre.withFloats { centre in
                units.withMutableFloats { units in
                    for start in stride(from: 0, to: units.count, by: columns) {
                        var square: Float = 0
                        for column in 0..<columns {
                            units[start + column] -= centre[column]
                            square += units[start + column] * units[start + column]
                        }
                        let factor = square > 0 ? 1 / square.squareRoot() : 0
                        for column in 0..<columns { units[start + column] *= factor }
                    }
                }
            }
            // The mean of all cosines is the square of the mean of the unit vectors.
            return blocks.means(of: units, cut, kernels, scratch).withFloats { means in
                stride(from: 0, to: means.count, by: columns).map { start in
                    !(means[start..<start + columns].reduce(0) { $0 + $1 * $1 } > similarity)
                }
            }
        }
    }

    private static let mass = MethodOption(
        "mass", .number(0...1), default: 0.98,
        "share of the estimated mass that a query block keeps at most; 1 keeps all")
    private static let top = MethodOption(
        "top", .number(0...1), default: 0, "share of the key blocks that a query block keeps at least")
    private static let similarityOption = MethodOption(
        "similarity", .number(-1...1), default: 0.6, "mean cosine above which a block is judged by its mean")

    static let description = MethodDescription(
        name: name, summary: "keeps the blocks with the most mass by their means, and all that are of no one kind",
        paper: .init(
            title: "SpargeAttention: Accurate and Training-free Sparse Attention Accelerating Any Model Inference",
            arXiv: "2502.18137"),
        options: [mass, top, similarityOption, BlockOrder.keyBlock, ForcedBlocks.own, ForcedBlocks.firstBlock]
            + BlockOrder.options(.raster, block: 128)
            + DenseSchedule.options(steps: .fraction(0.25), layers: 0) + [RestChoice.option],
        shareOptions: [mass, top]
    ) { values, density in
        SpargeAttention(
            order: BlockOrder(values), keySize: values[BlockOrder.keyBlock],
            similarity: Float(values[similarityOption]),
            budget: density.map { .density($0) } ?? .rules([.upTo(values[mass]), .top(values[top])]),
            forcing: ForcedBlocks(values))
    }
}
