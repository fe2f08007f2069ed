import VditAttention
import VditTensor

extension JointBlock {
    /// The block in one pass.
    struct InPass: TransformerBlock {
        let block: JointBlock
        let kernels: RowKernels
        /// By stream, then by timestep of its `runs`.
        let modulations: [[Modulation]]
        /// By stream.
        let runs: [TimestepRuns]
        /// Of the first stream's queries and keys; nil where none turn.
        let rotary: RotaryTable?
    }
}

extension JointBlock.InPass {
    private func rows(_ chunk: RowChunk) -> ModulatedRows {
        ModulatedRows(chunk, runs[chunk.stream], modulations[chunk.stream], kernels)
    }

    func beforeAttention(_ chunk: RowChunk, into operands: AttentionOperands) throws(TensorError) {
        let (lane, scratch) = (block.lane(chunk.stream), chunk.scratch)
        let input = rows(chunk).normed(\.attention, lane.norm, epsilon: lane.epsilon, as: lane.qkv.operandType)
        chunk.record("attn1.in_modulated", input)
        let inner = block.heads * block.headDim
        let all = scratch.tensor(.f32, [chunk.rows.count, 3 * inner])
        try lane.qkv(input, into: all, scratch)
        let turn = chunk.stream == 0 ? rotary?.rows(chunk.rows) : nil
        let outputs = [(operands.q, lane.normQ, turn), (operands.k, lane.normK, turn), (operands.v, nil, nil)]
        for (index, (out, norm, turn)) in outputs.enumerated() {
            var (source, column, weight) = (all, index * inner, Tensor?.none)
            switch norm {
            case .rms(let own): weight = own
            case .layer(let own):
                (source, column) = (layerNormed(all, index, own, lane.queryKeyEpsilon, scratch), 0)
            case nil: break
            }
            kernels.splitHeads(
                source, column: column, heads: block.heads, headDim: block.headDim, weight: weight,
                epsilon: lane.queryKeyEpsilon, rotary: turn, into: out,
                .headMajor(firstToken: chunk.tokens.lowerBound))
        }
    }

    /// Queries or keys after a layer norm of each head.
    ///
    /// - Parameters:
    ///   - all: `[rows, 3 · inner]` f32, queries, keys and values side by side.
    ///   - index: 0 for queries, 1 for keys.
    /// - Returns: `[rows, inner]` f32.
    private func layerNormed(
        _ all: Tensor, _ index: Int, _ norm: NormWeights, _ epsilon: Float, _ scratch: Scratch
    ) -> Tensor {
        let (rows, heads) = (all.shape[0], [block.heads, block.headDim])
        let source = all.reshaped([3 * rows] + heads)
        let result = scratch.tensor(.f32, [rows] + heads)
        for row in 0..<rows {
            kernels.layerNorm(
                source[3 * row + index], epsilon: epsilon, scale: norm.scale, shift: norm.shift, into: result[row])
        }
        return result.reshaped([rows, block.heads * block.headDim])
    }

    func afterAttention(_ chunk: RowChunk, attended: Tensor) throws(TensorError) {
        let (lane, scratch) = (block.lane(chunk.stream), chunk.scratch)
        let (x, rows) = (chunk.x, rows(chunk))
        let y = scratch.tensor(.f32, x.shape)
        chunk.record("attn1.sdpa_out", attended)
        let values = attended.reshaped([x.shape[0], block.heads * block.headDim])
        switch lane.rest {
        case .behind(let out, let feedForward):
            try out(values.as(out.operandType, scratch), into: y, scratch)
            chunk.record("attn1.out_after_to_out", y)
            add(y, \.attention, lane, rows)
            let input = rows.normed(
                \.feedForward, lane.norm, epsilon: lane.epsilon, as: feedForward.operandType)
            chunk.record("ffn.in_modulated", input)
            try feedForward(input, into: y, scratch)
            add(y, \.feedForward, lane, rows)
        case .beside(let layer, let out):
            let input = rows.normed(\.attention, lane.norm, epsilon: lane.epsilon, as: layer.operandType)
            let hidden = scratch.tensor(layer.resultType, [x.shape[0], layer.outputs])
            try layer(input, into: hidden, scratch)
            let both = values.as(out.operandType, scratch).beside(hidden.as(out.operandType, scratch), scratch)
            try out(both, into: y, scratch)
            add(y, \.attention, lane, rows)
        case .nothing:
            break
        }
        chunk.record("out", x)
    }

    private func add(
        _ y: Tensor, _ which: KeyPath<Modulation, Modulation.Part>, _ lane: JointLane, _ rows: ModulatedRows
    ) {
        switch lane.gate {
        case .plain: rows.add(y, which)
        case .normed: rows.addNormed(y, which, epsilon: lane.epsilon)
        }
    }
}

extension Tensor {
    /// The columns of this matrix, and behind them another's, in scratch.
    fileprivate func beside(_ other: Tensor, _ scratch: Scratch) -> Tensor {
        let (own, all) = (columns, columns + other.columns)
        let result = scratch.tensor(dtype, [shape[0], all])
        for row in 0..<shape[0] {
            result[row].slice(0..<own).assign(self[row])
            result[row].slice(own..<all).assign(other[row])
        }
        return result
    }
}
