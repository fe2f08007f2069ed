import VditTensor

/// Lets some heads attend to near frames and the others to near positions in all frames, whichever of the two comes
/// nearer to full attention for a few queries, decided anew in every call.
///
/// - Source: Xi et al., Sparse VideoGen: Accelerating Video Diffusion Transformers with Spatial-Temporal Sparsity,
///   arXiv 2502.01776; svg-project/Sparse-VideoGen.
/// - Differs: bands are of whole blocks, and every query block keeps as many keys: at the ends of the video the band
///   reaches further. The queries looked at lie at a fixed distance in the whole video, not at random in its first
///   frames. A temporal head keeps no first frame besides: the reference's are the first positions of all frames.
public struct SparseVideoGen: SparseMethod {
    public static let name = "svg1"

    private let block: Int
    private let sink: Bool
    private let probeFrames: Double
    private let sample: Int
    private let budget: BlockBudget

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        let offsets = AttentionPlan.offsets(tokens: layout.videoTokens, block: block)
        func head(_ order: [Int32]?, sink: Bool) throws(AttentionError) -> AttentionPlan.Head {
            try VideoBlocks(layout, order: order, offsets: offsets)
                .band(budget, forcing: [ForcedBlocks.sink(sink)], method: Self.name)
        }
        return Planner(
            heads: [try head(nil, sink: sink), try head(layout.positionMajor(), sink: false)],
            probe: HeadProbe(layout, frames: probeFrames, sink: sink),
            queries: layout.spread(sample))
    }

    private struct Planner: AttentionPlanner {
        /// Spatial and temporal.
        let heads: [AttentionPlan.Head]
        let probe: HeadProbe
        let queries: [Int]

        func predictedWork(step: Int, first: Int) -> Double? {
            AttentionPlan(heads: heads).density(tokens: Int(heads[0].queryOffsets.last ?? 1))
        }

        func plan(_ call: AttentionCall, _ state: inout MethodState) throws(AttentionError) -> AttentionPlan {
            AttentionPlan(
                heads: try call.pool.map(call.heads) { (head, scratch) throws(AttentionError) in
                    let errors = try probe.errors(call, head: head, queries: queries, scratch)
                    return heads[errors.temporal < errors.spatial ? 1 : 0]
                })
        }
    }

    private static let kept = MethodOption(
        "kept", .number(0...1), default: 0.3, "share of the key blocks that a query block keeps, the nearest ones")
    private static let blockOption = MethodOption("block", .integer(1...256), default: 128, "tokens of a block")
    private static let frames = MethodOption(
        "probe-frames", .number(0...64), default: 2, "frames to either side in the bands that heads are judged by")
    private static let sampleOption = MethodOption(
        "sample", .integer(1...1024), default: 64, "queries that heads are judged by")

    static let description = MethodDescription(
        name: name, summary: "keeps near frames or near positions, head by head, as a few queries say",
        paper: .init(
            title: "Sparse VideoGen: Accelerating Video Diffusion Transformers with Spatial-Temporal Sparsity",
            arXiv: "2502.01776"),
        options: [kept, blockOption, ForcedBlocks.sink.standing(at: true), frames, sampleOption]
            + DenseSchedule.options(steps: .fraction(0.2), layers: 1) + [RestChoice.option],
        presets: [
            .init(
                name: "wan", models: MethodDescription.Preset.smallWan + MethodDescription.Preset.allWan14B,
                source: "reference code, Wan2.1, 50 steps", settings: [kept(0.3)]),
            .init(
                name: "hunyuan-video", models: ["hunyuan-video"], source: "reference code, 720p, 50 steps",
                settings: [
                    kept(0.25), ForcedBlocks.sink(false), frames(1.5), DenseSchedule.stepsOption(.fraction(0.1)),
                ]),
            .init(
                name: "cogvideox", models: MethodDescription.Preset.cogVideoX, source: "reference code, 50 steps",
                settings: [kept(0.25), ForcedBlocks.sink(false), frames(1.5), DenseSchedule.layersOption(2)]),
        ],
        shareOptions: [kept]
    ) { values, density in
        SparseVideoGen(
            block: values[blockOption], sink: values[ForcedBlocks.sink], probeFrames: values[frames],
            sample: values[sampleOption],
            budget: density.map { .density($0) } ?? .rules([.top(values[kept])]))
    }
}

/// How far from full attention a head is when it sees a band of near frames, and one of near positions.
package struct HeadProbe: Sendable {
    private let layout: TokenLayout
    /// Of each video token, its place when all frames of a position lie side by side.
    private let temporal: [Int]
    /// Blocks to either side of a query's own, and tokens in front, that it sees.
    private let reach: Int
    private let front: Int

    /// Of both orders, in tokens.
    private static let block = 128

    /// - Parameters:
    ///   - frames: half the width of a band.
    ///   - sink: whether all queries see as many tokens in front as a frame has.
    package init(_ layout: TokenLayout, frames: Double, sink: Bool) {
        self.layout = layout
        temporal = (0..<layout.videoTokens).map {
            $0 % layout.tokensPerFrame * layout.frames + $0 / layout.tokensPerFrame
        }
        reach = max(1, Int(frames * Double(layout.tokensPerFrame) / Double(Self.block))) - 1
        front = sink ? layout.tokensPerFrame : 0
    }

    /// Mean square of the difference from full attention, over some of the video's tokens.
    package func errors(
        _ call: AttentionCall, head: Int, queries: [Int], _ scratch: Scratch
    ) throws(AttentionError) -> (spatial: Float, temporal: Float) {
        let (tokens, dim) = (call.tokens, call.headDim)
        let rows = scratch.tensor(.f32, [queries.count, dim])
        for (row, query) in queries.enumerated() { rows[row].convert(from: call.q[head][layout.textBefore + query]) }
        let scores = try pairwiseScores(rows, call.k[head].converted(to: .f32), on: call.instructionSet, scratch)

        PlanningKernels(call.instructionSet).softmax(scores, scale: call.scale)

        // Weights of full attention, then those that each band leaves of them, and what these come to.
        let weights = scratch.tensor(.f32, [3 * queries.count, tokens])
        for part in 0..<3 { weights.slice(part * queries.count..<(part + 1) * queries.count).assign(scores) }
        var seen = [Float](repeating: 0, count: 3 * queries.count)
        weights.withMutableFloats { weights in
            for (row, query) in queries.enumerated() {
                let (spatial, other) = ((queries.count + row) * tokens, (2 * queries.count + row) * tokens)
                for token in 0..<layout.videoTokens {
                    let column = layout.textBefore + token
                    if !sees(query, token) { weights[spatial + column] = 0 }
                    if !sees(temporal[query], temporal[token]) { weights[other + column] = 0 }
                }
            }
            for row in seen.indices { seen[row] = weights[row * tokens..<(row + 1) * tokens].reduce(0, +) }
        }
        let values = sums(weights, of: call.v[head], on: call.instructionSet, scratch).floats()
        func error(_ part: Int) -> Float {
            let size = queries.count * dim
            return (0..<size).reduce(Float(0)) { sum, index in
                let share = max(seen[part * queries.count + index / dim], .leastNormalMagnitude)
                let apart = values[part * size + index] / share - values[index]
                return sum + apart * apart
            } / Float(size)
        }
        return (error(1), error(2))
    }

    private func sees(_ query: Int, _ key: Int) -> Bool {
        abs(query / Self.block - key / Self.block) <= reach || key < front
    }

    /// `weights · values`, some keys at a time so that their values stay in the cache.
    private func sums(_ weights: Tensor, of v: Tensor, on set: InstructionSet, _ scratch: Scratch) -> Tensor {
        let (rows, tokens, dim, most) = (weights.shape[0], weights.columns, v.columns, 512)
        let result = scratch.tensor(.f32, [rows, dim])
        result.fill(byte: 0)
        let (part, values) = (scratch.tensor(.f32, [rows * most]), scratch.tensor(.f32, [most, dim]))
        for first in stride(from: 0, to: tokens, by: most) {
            let count = min(most, tokens - first)
            let up = part.slice(0..<rows * count).reshaped([rows, count])
            for row in 0..<rows { up[row].assign(weights[row].slice(first..<first + count)) }
            let down = values.slice(0..<count)
            down.convert(from: v.slice(first..<first + count))
            result.addProduct(up: up, down: down, set)
        }
        return result
    }
}

extension TokenLayout {
    /// So many of the video's tokens, at equal distances.
    fileprivate func spread(_ count: Int) -> [Int] {
        let count = min(count, videoTokens)
        return (0..<count).map { (2 * $0 + 1) * videoTokens / (2 * count) }
    }
}
