import VditTensor

/// Attends to the tiles of 4×4×4 tokens that score highest against a query's own tile, and adds attention between the
/// tiles' means, weighed by gates that were trained with it.
///
/// Per head, with `m` the mean over a tile: `S = m(q) · m(k)ᵀ`, the `k` largest of a row of `S` are kept, ties by index,
/// and the values are `softmax(scale · S) · m(v) ⊙ gate` plus attention over the tokens kept. Text, where there is some,
/// is kept and takes no part in the means.
///
/// - Source: Zhang et al., VSA: Faster Video Diffusion with Trainable Sparse Attention, arXiv 2505.13389;
///   hao-ai-lab/FastVideo.
/// - Differs: ties keep the lower tile index, where the order on a GPU is not defined.
public struct VideoSparseAttention: SparseMethod {
    public static let name = "vsa"

    enum Budget: Sendable, Equatable {
        /// This share of the tiles is left out.
        case sparsity(Double)
        /// This share of all token pairs is kept, text included.
        case density(Double)
    }

    /// What a query tile keeps.
    private enum Share: Sendable {
        case tiles(Int)
        /// Tiles with about so many tokens.
        case tokens(Double)
    }

    private static let side = 4
    /// What a plan leaves for the end of its call: `[tiles, heads · headDim]` f32.
    private static let coarse = "coarse"

    let budget: Budget

    public var trained: TrainedAttention? { .gates }

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        let (order, offsets) = layout.regions(
            frames: Cut.ragged.bounds(layout.frames, size: Self.side),
            rows: Cut.ragged.bounds(layout.height, size: Self.side),
            columns: Cut.ragged.bounds(layout.width, size: Self.side))
        let all = try VideoBlocks(layout, order: order, offsets: offsets)
        let blocks = all.keys
        let share: Share
        let density: Double
        switch budget {
        case .sparsity(let sparsity):
            let tiles = blocks.video.count
            let kept = max(1, min(Int(((1 - sparsity) * Double(tiles)).rounded(.up)), tiles))
            share = .tiles(kept)
            // As if all tiles were of one size.
            density = layout.density(videoPairs: layout.videoPairs(density: 1) * Double(kept) / Double(tiles))
        case .density(let wanted):
            let largest = Double(blocks.videoSizes.max() ?? 0)
            let least = layout.density(videoPairs: largest * Double(layout.videoTokens))
            if wanted < least { throw .unreachableDensity(wanted, method: Self.name, reachable: least...1) }
            share = .tokens(layout.videoPairs(density: wanted) / Double(layout.videoTokens))
            density = wanted
        }
        return Planner(all: all, share: share, density: density)
    }

    private struct Planner: AttentionPlanner {
        let all: VideoBlocks
        let share: Share
        let density: Double

        private var blocks: TokenBlocks { all.keys }

        var finishes: Bool { true }

        /// Without the attention between means, which is little.
        func predictedWork(step: Int, first: Int) -> Double? { density }

        func plan(_ call: AttentionCall, _ state: inout MethodState) throws(AttentionError) -> AttentionPlan {
            try call.require(.gates, for: VideoSparseAttention.name)
            let kernels = PlanningKernels(call.instructionSet)
            let coarse = Tensor(.f32, [blocks.video.count, call.heads * call.headDim])
            let heads = try call.pool.map(call.heads) { (head, scratch) throws(AttentionError) in
                let (scores, values) = try means(call, head, kernels, scratch)
                let best = scores.withFloats { scores in
                    (0..<blocks.video.count).map { row in
                        largest(scores[row * blocks.video.count..<(row + 1) * blocks.video.count])
                    }
                }
                kernels.softmax(scores, scale: call.scale)
                coarse.assign(
                    rows: 0..<blocks.video.count, columns: head * call.headDim..<(head + 1) * call.headDim,
                    try pairwiseScores(scores, values, on: call.instructionSet, scratch))
                return all.head { best[$0] }
            }
            state[VideoSparseAttention.coarse] = coarse
            return AttentionPlan(heads: heads)
        }

        /// `[tiles, tiles]` products of the tiles' mean queries and keys, and their mean values, `[headDim, tiles]`.
        private func means(
            _ call: AttentionCall, _ head: Int, _ kernels: PlanningKernels, _ scratch: Scratch
        ) throws(AttentionError) -> (scores: Tensor, values: Tensor) {
            let rows = all.means(of: call.v[head], blocks, kernels, scratch)
            let values = scratch.tensor(.f32, [call.headDim, blocks.video.count])
            values.assign(transposing: rows)
            return (try all.meanScores(call, head: head, kernels, scratch), values)
        }

        /// Indices of the largest scores of a row, ascending.
        private func largest(_ scores: Slice<UnsafeBufferPointer<Float>>) -> [Int32] {
            let row = Array(scores)
            let ranked = row.indices.sorted { row[$0] != row[$1] ? row[$0] > row[$1] : $0 < $1 }
            let count: Int
            switch share {
            case .tiles(let tiles): count = tiles
            case .tokens(let tokens):
                var taken = 0.0
                let within = ranked.prefix { tile in
                    let size = Double(blocks.size(blocks.video.lowerBound + tile))
                    taken += size
                    return taken - size / 2 <= tokens
                }
                count = max(1, within.count)
            }
            return ranked.prefix(count).sorted().map(Int32.init)
        }

        func finish(
            _ output: inout AttentionOutput, of call: AttentionCall, by plan: AttentionPlan, _ state: inout MethodState,
            attend: (AttentionPlan) -> AttentionOutput
        ) {
            guard let coarse = state[VideoSparseAttention.coarse], let gate = call.gate else { return }
            state[VideoSparseAttention.coarse] = nil
            let rows = RowKernels(call.instructionSet)
            let width = call.heads * call.headDim
            let (values, gates) = (output.values.reshaped([call.tokens, width]), gate.reshaped([call.tokens, width]))
            call.pool.run(blocks.video.count) { tile, scratch in
                let block = blocks.video.lowerBound + tile
                for run in all.runs(blocks.offsets[block]..<blocks.offsets[block + 1]) {
                    let part = scratch.tensor(.f32, [run.count, width])
                    part.convert(from: gates.slice(run))
                    rows.gatedAdd(values.slice(run), part, gate: coarse[tile])
                }
            }
        }
    }

    private static let sparsity = MethodOption(
        "sparsity", .number(0...0.999), default: 0.8, "share of key tiles that is left out")

    static let description = MethodDescription(
        name: name,
        summary: "the sparse attention FastWan was trained with: the best key tiles, and gated means of all",
        paper: .init(title: "VSA: Faster Video Diffusion with Trainable Sparse Attention", arXiv: "2505.13389"),
        options: [sparsity] + DenseSchedule.options(steps: .count(0), layers: 0),
        presets: [
            .init(
                name: "fastwan-1.3b", models: MethodDescription.Preset.smallWan, source: "as it was trained",
                settings: [sparsity(0.8)]),
            .init(
                name: "fastwan-14b", models: MethodDescription.Preset.allWan14B,
                source: "as it was trained", settings: [sparsity(0.9)]),
        ],
        shareOptions: [sparsity]
    ) { values, density in
        VideoSparseAttention(budget: density.map { .density($0) } ?? .sparsity(values[sparsity]))
    }
}
