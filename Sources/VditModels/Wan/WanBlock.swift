import VditAttention
import VditTensor

/// One transformer block of Wan: self-attention, cross-attention to the prompt (and image), feed-forward.
///
/// Everything but self-attention works on rows alone, so it runs as two row-chunk functions that keep a
/// chunk's activations in cache: `beforeAttention` ends in q, k and v, `afterAttention` starts from the
/// attended values.
struct WanBlock: Sendable {
    private let config: WanTransformerConfig
    private let rows: RowKernels
    private let epsilon: Float

    private let qkv: Linear
    private let normQ: Tensor
    private let normK: Tensor
    private let attentionOut: Linear

    private let norm2: (scale: Tensor, shift: Tensor)?
    private let crossQ: Linear
    private let crossNormQ: Tensor
    private let crossKV: Linear
    private let crossNormK: Tensor
    private let imageKV: Linear?
    private let imageNormK: Tensor?
    private let crossOut: Linear

    private let ffnIn: Linear
    private let ffnOut: Linear
    /// `[6, inner]`: shift, scale and gate of self-attention, then of the feed-forward.
    private let table: Tensor

    init(_ loader: WeightLoader, config: WanTransformerConfig, index: Int) throws(TensorError) {
        self.config = config
        rows = RowKernels(loader.compute.instructionSet)
        epsilon = Float(config.epsilon)
        let block = "blocks.\(index)"
        let operand = loader.compute.operandType
        let (a1, a2) = ("\(block).attn1", "\(block).attn2")
        qkv = try loader.linear("\(a1).to_q", "\(a1).to_k", "\(a1).to_v", result: .f32)
        normQ = try loader.vector("\(a1).norm_q.weight")
        normK = try loader.vector("\(a1).norm_k.weight")
        attentionOut = try loader.linear("\(a1).to_out.0", result: .f32)

        norm2 = config.crossAttentionNorm
            ? (try loader.vector("\(block).norm2.weight"), try loader.vector("\(block).norm2.bias")) : nil
        crossQ = try loader.linear("\(a2).to_q", result: .f32)
        crossNormQ = try loader.vector("\(a2).norm_q.weight")
        crossKV = try loader.linear("\(a2).to_k", "\(a2).to_v", result: .f32)
        crossNormK = try loader.vector("\(a2).norm_k.weight")
        if config.addedKVProjDim != nil {
            imageKV = try loader.linear("\(a2).add_k_proj", "\(a2).add_v_proj", result: .f32)
            imageNormK = try loader.vector("\(a2).norm_added_k.weight")
        } else {
            imageKV = nil
            imageNormK = nil
        }
        crossOut = try loader.linear("\(a2).to_out.0", result: .f32)

        ffnIn = try loader.linear("\(block).ffn.net.0.proj", result: operand, activation: .geluTanh)
        ffnOut = try loader.linear("\(block).ffn.net.2", result: .f32)
        table = try loader.vector("\(block).scale_shift_table").reshaped([6, config.inner])
    }

    /// Bytes of packed weights.
    var byteCount: Int {
        [qkv, attentionOut, crossQ, crossKV, imageKV, crossOut, ffnIn, ffnOut]
            .reduce(0) { $0 + ($1?.byteCount ?? 0) }
    }

    // MARK: what does not change from step to step

    /// Keys and values of cross-attention, `[heads, tokens, headDim]` of the operand type.
    struct KeysValues: Sendable {
        let keys: Tensor
        let values: Tensor
    }

    /// Projects conditioning tokens to keys and values.
    ///
    /// - Parameters:
    ///   - text: `[tokens, inner]` projected prompt, of the operand type.
    ///   - image: `[imageTokens, inner]` projected image tokens of an image-to-video model.
    func crossKeys(
        text: Tensor, image: Tensor?, _ scratch: Scratch
    ) throws(TensorError) -> (text: KeysValues, image: KeysValues?) {
        func project(
            _ x: Tensor, _ projection: Linear, _ norm: Tensor
        ) throws(TensorError) -> KeysValues {
            let tokens = x.shape[0]
            let both = scratch.tensor(.f32, [tokens, 2 * config.inner])
            try projection(x, into: both, scratch)
            let keys = Tensor(x.dtype, [config.heads, tokens, config.headDim])
            let values = Tensor(x.dtype, [config.heads, tokens, config.headDim])
            for (index, (out, norm)) in [(keys, norm), (values, nil)].enumerated() {
                rows.splitHeads(
                    both, column: index * config.inner, heads: config.heads, headDim: config.headDim,
                    weight: norm, epsilon: epsilon, rotary: nil, into: out, .headMajor(firstToken: 0))
            }
            return KeysValues(keys: keys, values: values)
        }
        let textKeys = try project(text, crossKV, crossNormK)
        guard let image, let imageKV, let imageNormK else { return (textKeys, nil) }
        return (textKeys, try project(image, imageKV, imageNormK))
    }

    /// What a chunk's cross-attention reads: packed for the kernel, made once per video.
    struct CrossContext: Sendable {
        let text: PackedKeys
        let image: PackedKeys?
    }

    /// The block's modulation for one timestep.
    struct Modulation: Sendable {
        let attention: (shift: Tensor, scale: Tensor, gate: Tensor)
        let feedForward: (shift: Tensor, scale: Tensor, gate: Tensor)
    }

    /// - Parameter projected: `[6 · inner]` f32, `time_proj` of the timestep.
    func modulation(_ projected: Tensor) -> Modulation {
        let sum = projected.copy().reshaped([6, config.inner])
        rows.gatedAdd(sum, table, gate: nil)
        for index in [1, 4] {  // a norm is multiplied by 1 + scale
            sum[index].withMutableFloats { values in
                for i in values.indices { values[i] += 1 }
            }
        }
        return Modulation(
            attention: (sum[0], sum[1], sum[2]), feedForward: (sum[3], sum[4], sum[5]))
    }

    // MARK: one chunk of tokens

    /// Tokens that share a modulation: relative to the chunk.
    typealias Part = (rows: Range<Int>, modulation: Modulation)

    /// `LN(x) · (1 + scale) + shift` of a chunk, in the operand type.
    private func modulated(
        _ x: Tensor, _ parts: [Part], _ which: KeyPath<Modulation, (shift: Tensor, scale: Tensor, gate: Tensor)>,
        _ scratch: Scratch
    ) -> Tensor {
        let out = scratch.tensor(qkv.operandType, x.shape)
        for part in parts {
            let modulation = part.modulation[keyPath: which]
            rows.layerNorm(
                x.slice(part.rows), epsilon: epsilon, scale: modulation.scale, shift: modulation.shift,
                into: out.slice(part.rows))
        }
        return out
    }

    /// Adds `gate · y` to the residual stream.
    private func addGated(
        _ x: Tensor, _ y: Tensor, _ parts: [Part],
        _ which: KeyPath<Modulation, (shift: Tensor, scale: Tensor, gate: Tensor)>
    ) {
        for part in parts {
            rows.gatedAdd(
                x.slice(part.rows), y.slice(part.rows), gate: part.modulation[keyPath: which].gate)
        }
    }

    /// Writes q, k and v of a chunk.
    ///
    /// - Parameters:
    ///   - x: `[rows, inner]` f32, the residual stream.
    ///   - first: the chunk's first token.
    ///   - q, k, v: `[heads, tokens, headDim]`.
    func beforeAttention(
        _ x: Tensor, first: Int, _ parts: [Part], rotary: RotaryTable, q: Tensor, k: Tensor, v: Tensor,
        _ scratch: Scratch, _ note: ChunkTrace?
    ) throws(TensorError) {
        let tokens = x.shape[0]
        let input = modulated(x, parts, \.attention, scratch)
        note?("attn1.in_modulated", input)
        let all = scratch.tensor(.f32, [tokens, 3 * config.inner])
        try qkv(input, into: all, scratch)
        let turn = rotary.rows(first..<first + tokens)
        for (index, (out, norm)) in [(q, normQ), (k, normK), (v, nil)].enumerated() {
            rows.splitHeads(
                all, column: index * config.inner, heads: config.heads, headDim: config.headDim,
                weight: norm, epsilon: epsilon, rotary: norm == nil ? nil : turn, into: out,
                .headMajor(firstToken: first))
        }
    }

    /// Takes a chunk from the attended values to the block's output, in place on the residual stream.
    ///
    /// - Parameter attended: `[rows, heads, headDim]` of the operand type or f32.
    func afterAttention(
        _ x: Tensor, attended: Tensor, _ parts: [Part], context: CrossContext, _ scratch: Scratch,
        _ note: ChunkTrace?
    ) throws(TensorError) {
        let tokens = x.shape[0]
        let inner = config.inner
        let operand = attentionOut.operandType
        let y = scratch.tensor(.f32, [tokens, inner])
        let input = scratch.tensor(operand, [tokens, inner])

        note?("attn1.sdpa_out", attended)
        var values = attended.reshaped([tokens, inner])
        if values.dtype != operand {
            input.convert(from: values)
            values = input
        }
        try attentionOut(values, into: y, scratch)
        note?("attn1.out_after_to_out", y)
        addGated(x, y, parts, \.attention)
        note?("after_self_attention_residual", x)

        // Cross-attention has no modulation and no gate.
        if let norm2 {
            rows.layerNorm(x, epsilon: epsilon, scale: norm2.scale, shift: norm2.shift, into: input)
        } else {
            input.convert(from: x)
        }
        note?("norm2.out", input)
        try crossQ(input, into: y, scratch)
        let heads = [tokens, config.heads, config.headDim]
        let q = scratch.tensor(operand, heads)
        rows.splitHeads(
            y, column: 0, heads: config.heads, headDim: config.headDim, weight: crossNormQ,
            epsilon: epsilon, rotary: nil, into: q, .tokenMajor)
        note?("attn2.q_after_norm", q)
        let cross = scratch.tensor(context.image == nil ? operand : .f32, heads)
        crossAttention(q: q, keys: context.text, into: cross, scratch: scratch)
        note?("attn2.sdpa_out", cross)
        var crossed = cross.reshaped([tokens, inner])
        if let image = context.image {
            // Two softmaxes, added before the projection.
            let second = scratch.tensor(.f32, heads)
            crossAttention(q: q, keys: image, into: second, scratch: scratch)
            note?("attn2.image.sdpa_out", second)
            rows.gatedAdd(crossed, second.reshaped([tokens, inner]), gate: nil)
            if operand != .f32 {
                input.convert(from: crossed)
                crossed = input
            }
        }
        try crossOut(crossed, into: y, scratch)
        note?("attn2.out_after_to_out", y)
        rows.gatedAdd(x, y, gate: nil)
        note?("after_cross_attention_residual", x)

        let ffnInput = modulated(x, parts, \.feedForward, scratch)
        note?("ffn.in_modulated", ffnInput)
        let hidden = scratch.tensor(ffnIn.resultType, [tokens, config.ffnDim])
        try ffnIn(ffnInput, into: hidden, scratch)
        try ffnOut(hidden, into: y, scratch)
        note?("ffn.out", y)
        addGated(x, y, parts, \.feedForward)
        note?("out", x)
    }
}

/// Records the rows of a chunk under a name.
typealias ChunkTrace = @Sendable (String, Tensor) -> Void
