import VditTensor

extension VideoBlocks {
    /// `[query blocks, key blocks]` f32: products of the means of a head's video queries and keys.
    func meanScores(
        _ call: AttentionCall, head: Int, _ kernels: PlanningKernels, _ scratch: Scratch
    ) throws(AttentionError) -> Tensor {
        try pairwiseScores(
            means(of: call.q[head], queries, kernels, scratch), means(of: call.k[head], keys, kernels, scratch),
            on: call.instructionSet, scratch)
    }

    /// `[positions, columns]` f32: the rows of tokens at some positions, in scratch memory.
    func rows(of x: Tensor, _ positions: Range<Int32>, _ scratch: Scratch) -> Tensor {
        let rows = scratch.tensor(.f32, [positions.count, x.columns])
        var first = 0
        for run in runs(positions) {
            rows.slice(first..<first + run.count).convert(from: x.slice(run))
            first += run.count
        }
        return rows
    }

    /// `[blocks, columns]` f32: means of the rows of each video block, in scratch memory.
    func means(of x: Tensor, _ blocks: TokenBlocks, _ kernels: PlanningKernels, _ scratch: Scratch) -> Tensor {
        let means = scratch.tensor(.f32, [blocks.video.count, x.columns])
        kernels.blockMeans(x, order: order, offsets: blocks.videoOffsets, into: means)
        return means
    }
}

/// Judges by attention between the means of blocks.
struct MeanScorer: BlockScorer {
    let blocks: VideoBlocks

    func scores(
        _ call: AttentionCall, head: Int, _ kernels: PlanningKernels, _ scratch: Scratch
    ) throws(AttentionError) -> BlockScores {
        let map = try blocks.meanScores(call, head: head, kernels, scratch)
        kernels.softmax(map, scale: call.scale)
        return BlockScores(masses: map.floats())
    }
}

extension Tensor {
    /// Copies the columns of another, of two axes, as rows; both f32.
    func assign(transposing other: Tensor) {
        let (rows, columns) = (other.shape[0], other.columns)
        precondition(shape == [columns, rows])
        other.withFloats { other in
            withMutableFloats { own in
                for column in 0..<columns {
                    for row in 0..<rows { own[column * rows + row] = other[row * columns + column] }
                }
            }
        }
    }
}

/// Rows of a sample of each video block, or of groups of its tokens: what stands for it where scores of all tokens cost
/// too much.
struct SampledRows: Sendable {
    /// Tokens row by row, each of `width`; −1 is a token of zeros.
    private let tokens: [Int32]
    private let width: Int
    /// Rows of each block.
    let offsets: [Int]

    /// - Parameter rows: of the tokens of a block, in the block's order: rows of `width` tokens each.
    init(_ blocks: VideoBlocks, _ cut: TokenBlocks, width: Int, rows: ([Int32]) -> [[Int32]]) {
        self.width = width
        var (tokens, offsets): ([Int32], [Int]) = ([], [0])
        for block in cut.video {
            for row in rows(blocks.tokens(cut.offsets[block]..<cut.offsets[block + 1])) { tokens += row }
            offsets.append(tokens.count / width)
        }
        (self.tokens, self.offsets) = (tokens, offsets)
    }

    /// `[rows, width · columns]` f32, a row's tokens side by side, in scratch memory: not every instruction set
    /// multiplies bf16, and plans are those of fp32 on all.
    func gathered(_ x: Tensor, _ scratch: Scratch) -> Tensor {
        let rows = scratch.tensor(.f32, [tokens.count, x.columns])
        for (index, token) in tokens.enumerated() {
            let row = rows[index]
            if token < 0 { row.fill(byte: 0) } else { row.convert(from: x[Int(token)]) }
        }
        return rows.reshaped([tokens.count / width, width * x.columns])
    }

    /// Scores of sampled queries of one block after another against all sampled keys: `body` sees
    /// `[the block's rows, keys' rows]` f32, which it may change.
    static func forEachBlock(
        queries: SampledRows, _ q: Tensor, keys: SampledRows, _ k: Tensor, on set: InstructionSet, _ scratch: Scratch,
        body: (Tensor) -> Void
    ) throws(AttentionError) {
        let (q, k) = (queries.gathered(q, scratch), keys.gathered(k, scratch))
        let most = zip(queries.offsets, queries.offsets.dropFirst()).map { $1 - $0 }.max() ?? 0
        // Rows past a block's are computed and not read: one product serves every size.
        let rows = scratch.tensor(.f32, [most, q.columns])
        rows.fill(byte: 0)
        let scores = scratch.tensor(.f32, [most, k.shape[0]])
        try tensorWork { () throws(TensorError) in
            let product = try Linear(weights: [k], biases: [], operand: .f32, result: .f32, on: set)
            for block in 0..<queries.offsets.count - 1 {
                let part = queries.offsets[block]..<queries.offsets[block + 1]
                rows.slice(0..<part.count).assign(q.slice(part))
                try product(rows, into: scores, scratch)
                body(scores.slice(0..<part.count))
            }
        }
    }
}
