import Glibc
import VditTensor

/// Judges a key block by its best sampled key: how near that comes to the best key of all, for the sampled query of the
/// query block for which it comes nearest.
struct SampledPeaks: BlockScorer {
    static let every = MethodOption(
        "sample-every", .integer(1...128), default: 4, "every so many tokens of a block are looked at")

    private let queries: SampledRows
    private let keys: SampledRows

    init(_ blocks: VideoBlocks, every: Int) {
        func samples(_ cut: TokenBlocks) -> SampledRows {
            SampledRows(blocks, cut, width: 1) { tokens in
                stride(from: 0, to: tokens.count, by: every).map { [tokens[$0]] }
            }
        }
        (queries, keys) = (samples(blocks.queries), samples(blocks.keys))
    }

    func scores(
        _ call: AttentionCall, head: Int, _ kernels: PlanningKernels, _ scratch: Scratch
    ) throws(AttentionError) -> BlockScores {
        var masses: [Float] = []
        try SampledRows.forEachBlock(
            queries: queries, call.q[head], keys: keys, call.k[head], on: call.instructionSet, scratch
        ) { scores in
            let importance = importance(scores, call.scale)
            let total = importance.reduce(0, +)
            masses += importance.map { $0 / total }
        }
        return BlockScores(masses: masses)
    }

    /// Of each key block, its best score over a query's best of all, for the query where that is most.
    private func importance(_ scores: Tensor, _ scale: Float) -> [Float] {
        scores.withFloats { scores in
            let (columns, blocks) = (keys.offsets[keys.offsets.count - 1], keys.offsets.count - 1)
            // Logarithms: the greatest is that of the greatest.
            var most = [Float](repeating: -.infinity, count: blocks)
            for start in stride(from: 0, to: scores.count, by: columns) {
                let best = (0..<blocks).map { block in
                    (keys.offsets[block]..<keys.offsets[block + 1]).reduce(-Float.infinity) {
                        max($0, scores[start + $1])
                    }
                }
                let all = best.max() ?? 0
                for block in 0..<blocks { most[block] = max(most[block], best[block] - all) }
            }
            return most.map { expf(scale * $0) }
        }
    }
}
