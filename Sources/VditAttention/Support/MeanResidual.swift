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

    /// Runs that a thread takes at a time.
    private static var atOnce: Int { 64 }

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
        let residual = Tensor(.bf16, [offsets.count - 1, width])
        let parts = (0..<residual.shape[0]).parts(atMost: Self.atOnce)
        call.pool.run(parts.count) { item, scratch in
            let some = parts[item]
            let bounds = Array(offsets[some.lowerBound...some.upperBound])
            func means(_ values: Tensor) -> Tensor {
                let means = scratch.tensor(.f32, [some.count, width])
                kernels.blockMeans(
                    values.reshaped([call.tokens, width]), order: blocks.order, offsets: bounds, into: means)
                return means
            }
            let (lacking, less) = (means(full), means(sparse))
            lacking.withMutableFloats { lacking in
                less.withFloats { less in
                    for index in lacking.indices { lacking[index] -= less[index] }
                }
            }
            residual.slice(some).convert(from: lacking)
        }
        return residual
    }

    /// Adds what was measured `age` steps ago to the values of the video's tokens, shaped as above.
    func add(_ residual: Tensor, age: Float, to values: Tensor, _ blocks: VideoBlocks, _ call: AttentionCall) {
        let (offsets, part, width) = (offsets(blocks), powf(1 - fade, age), residual.columns)
        let (kernels, rows) = (PlanningKernels(call.instructionSet), values.reshaped([call.tokens, width]))
        let parts = (0..<residual.shape[0]).parts(atMost: Self.atOnce)
        call.pool.run(parts.count) { item, _ in
            for run in parts[item] {
                let positions = Int(offsets[run])..<Int(offsets[run + 1])
                kernels.add(residual[run], times: part, order: blocks.order, positions: positions, to: rows)
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
