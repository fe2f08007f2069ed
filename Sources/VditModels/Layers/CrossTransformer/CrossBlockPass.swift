import VditAttention
import VditTensor

extension CrossBlock {
    /// The block in one pass. Writing q, k and v ends in self-attention; cross-attention and the feed-forward
    /// come after it.
    struct InPass: TransformerBlock {
        let block: CrossBlock
        /// One for each distinct timestep of `runs`.
        let modulations: [Modulation]
        let runs: TimestepRuns
        let rotary: RotaryTable
        let context: CrossContext
        /// What cross-attention adds, where it is not computed, and where to keep what it adds: `[tokens, inner]`.
        let givenCross: Tensor?
        let keptCross: Tensor?

        var projection: Linear? { block.projection }
    }
}

extension CrossBlock.InPass {
    private func rows(_ chunk: RowChunk) -> ModulatedRows {
        ModulatedRows(chunk, runs, modulations, block.rows)
    }

    func beforeAttention(_ chunk: RowChunk, into operands: AttentionOperands) throws(TensorError) {
        let config = block.config
        let input = rows(chunk).normed(
            \.attention, config.norm, epsilon: block.epsilon, as: block.qkv.operandType)
        chunk.record("attn1.in_modulated", input)
        let all = chunk.scratch.tensor(.f32, [chunk.rows.count, 3 * config.inner])
        try block.qkv(input, into: all, chunk.scratch)
        if let gate = block.gate, let gates = operands.gate {
            try gate(input, into: gates.slice(chunk.tokens), chunk.scratch)
        }
        let turn = rotary.rows(chunk.rows)
        let outputs = [(operands.q, block.normQ), (operands.k, block.normK), (operands.v, nil)]
        for (index, (out, norm)) in outputs.enumerated() {
            block.rows.splitHeads(
                all, column: index * config.inner, heads: config.heads, headDim: config.headDim,
                weight: norm, epsilon: block.queryKeyEpsilon, rotary: norm == nil ? nil : turn, into: out,
                .headMajor(firstToken: chunk.tokens.lowerBound))
        }
    }

    func afterAttention(_ chunk: RowChunk, attended: Tensor) throws(TensorError) {
        let (x, scratch, rows) = (chunk.x, chunk.scratch, rows(chunk))
        let y = scratch.tensor(.f32, x.shape)
        let input = scratch.tensor(block.attentionOut.operandType, x.shape)

        chunk.record("attn1.sdpa_out", attended)
        var values = attended.reshaped(x.shape)
        if values.dtype != input.dtype {
            input.convert(from: values)
            values = input
        }
        try block.attentionOut(values, into: y, scratch)
        chunk.record("attn1.out_after_to_out", y)
        rows.add(y, \.attention)
        chunk.record("after_self_attention_residual", x)

        if let givenCross {
            y.convert(from: givenCross.slice(chunk.rows))
            block.rows.gatedAdd(x, y, gate: nil)
        } else {
            try crossAttend(chunk, input: input, y: y)
        }

        let ffnInput = rows.normed(
            \.feedForward, block.config.norm, epsilon: block.epsilon, as: block.feedForward.operandType)
        chunk.record("ffn.in_modulated", ffnInput)
        try block.feedForward(ffnInput, into: y, scratch)
        chunk.record("ffn.out", y)
        rows.add(y, \.feedForward)
        chunk.record("out", x)
    }

    /// Cross-attention to the prompt and the image: no modulation and no gate.
    ///
    /// - Parameters:
    ///   - input: `[rows, inner]` of the operand type, to work in.
    ///   - y: `[rows, inner]` f32, to work in.
    private func crossAttend(_ chunk: RowChunk, input: Tensor, y: Tensor) throws(TensorError) {
        let config = block.config
        let (x, scratch, operand) = (chunk.x, chunk.scratch, input.dtype)
        if let norm2 = block.norm2 {
            block.rows.layerNorm(
                x, epsilon: block.epsilon, scale: norm2.scale, shift: norm2.shift, into: input)
        } else {
            input.convert(from: x)
        }
        chunk.record("norm2.out", input)
        try block.crossQ(input, into: y, scratch)
        let heads = [x.shape[0], config.heads, config.headDim]
        let q = scratch.tensor(operand, heads)
        block.rows.splitHeads(
            y, column: 0, heads: config.heads, headDim: config.headDim, weight: block.crossNormQ,
            epsilon: block.queryKeyEpsilon, rotary: nil, into: q, .tokenMajor)
        chunk.record("attn2.q_after_norm", q)
        let cross = scratch.tensor(context.image == nil ? operand : .f32, heads)
        crossAttention(q: q, keys: context.text, into: cross, scratch: scratch)
        chunk.record("attn2.sdpa_out", cross)
        var crossed = cross.reshaped(x.shape)
        if let image = context.image {
            // Two softmaxes, added before the projection.
            let second = scratch.tensor(.f32, heads)
            crossAttention(q: q, keys: image, into: second, scratch: scratch)
            chunk.record("attn2.image.sdpa_out", second)
            block.rows.gatedAdd(crossed, second.reshaped(x.shape), gate: nil)
            if operand != .f32 {
                input.convert(from: crossed)
                crossed = input
            }
        }
        try block.crossOut(crossed, into: y, scratch)
        chunk.record("attn2.out_after_to_out", y)
        keptCross?.slice(chunk.rows).convert(from: y)
        block.rows.gatedAdd(x, y, gate: nil)
        chunk.record("after_cross_attention_residual", x)
    }
}
