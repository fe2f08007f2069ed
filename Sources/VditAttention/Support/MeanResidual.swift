import Glibc
import VditTensor

/// What a sparse attention lacks of the full one, as means over a few tokens that lie together: kept to complete later
/// sparse ones, at a part of what a residual of every token takes.
struct MeanResidual: Sendable {
    static let name = "residual"

    /// Consecutive tokens of a block of queries that share a mean; the last of a block may be fewer.
    let run: Int
    /// The part of it that is lost with every step: what is true of one step is less so of the next.
    let fade: Float

    /// Boundaries of the runs, in positions.
    private func offsets(_ blocks: VideoBlocks) -> [Int32] {
        blocks.queries.videoOffsets.cut(atMost: run)
    }

    /// - Parameters:
    ///   - full: `[tokens, heads, headDim]` f32, and so `sparse`.
    /// - Returns: `[runs, heads · headDim]` bf16.
    func measured(full: Tensor, sparse: Tensor, _ blocks: VideoBlocks, _ call: AttentionCall) -> Tensor {
        let (offsets, width) = (offsets(blocks), call.heads * call.headDim)
        let kernels = PlanningKernels(call.instructionSet)
        func means(_ values: Tensor) -> Tensor {
            let means = Tensor(.f32, [offsets.count - 1, width])
            kernels.blockMeans(
                values.reshaped([call.tokens, width]), order: blocks.order, offsets: offsets, into: means)
            return means
        }
        let (residual, less) = (means(full), means(sparse))
        residual.withMutableFloats { residual in
            less.withFloats { less in
                for index in residual.indices { residual[index] -= less[index] }
            }
        }
        return residual.converted(to: .bf16)
    }

    /// Adds what was measured `age` steps ago to the values of the video's tokens, shaped as above.
    func add(_ residual: Tensor, age: Float, to values: Tensor, _ blocks: VideoBlocks, _ call: AttentionCall) {
        let (offsets, part) = (offsets(blocks), powf(1 - fade, age))
        call.pool.run(offsets.count - 1) { item, scratch in
            let mean = scratch.tensor(.f32, [residual.columns])
            mean.convert(from: residual[item])
            mean.withFloats { mean in
                for token in blocks.tokens(offsets[item]..<offsets[item + 1]) {
                    values[Int(token)].withMutableFloats { values in
                        for index in mean.indices { values[index] += part * mean[index] }
                    }
                }
            }
        }
    }

    /// - Throws: `AttentionError.state` for a residual of another size.
    func check(_ residual: Tensor, _ blocks: VideoBlocks, _ call: AttentionCall) throws(AttentionError) {
        try MethodState.check(
            residual, Self.name, .bf16, [offsets(blocks).count - 1, call.heads * call.headDim])
    }

    func stateBytes(_ order: BlockOrder, _ layout: TokenLayout, heads: Int, headDim: Int) -> Int {
        order.sizes(layout).reduce(0) { $0 + ($1 + run - 1) / run } * heads * headDim * 2
    }
}
