import VditTensor

/// What makes a block's cross-attention read the conditioning. It is used once a video and then not kept, which is 15 %
/// of a transformer's weights.
struct CrossKeys: Sendable {
    private let config: any CrossTransformerConfig
    private let rows: RowKernels
    private let queryKeyEpsilon: Float
    private let crossKV: Linear
    private let crossNormK: Tensor
    private let imageKV: Linear?
    private let imageNormK: Tensor?

    init(_ loader: WeightLoader, config: any CrossTransformerConfig, index: Int) throws(TensorError) {
        self.config = config
        rows = RowKernels(loader.compute.instructionSet)
        queryKeyEpsilon = Float(config.queryKeyEpsilon)
        let attention = "\(config.names.blocks).\(index).attn2"
        crossKV = try loader.linear("\(attention).to_k", "\(attention).to_v", result: .f32)
        crossNormK = try loader.vector("\(attention).norm_k.weight")
        if config.addedKVProjDim != nil {
            imageKV = try loader.linear("\(attention).add_k_proj", "\(attention).add_v_proj", result: .f32)
            imageNormK = try loader.vector("\(attention).norm_added_k.weight")
        } else {
            imageKV = nil
            imageNormK = nil
        }
    }

    /// Whether a tensor of a block is one of these.
    static func isPart(_ name: String) -> Bool {
        ["to_k.", "to_v.", "norm_k.", "add_k_proj.", "add_v_proj.", "norm_added_k."].contains {
            name.contains(".attn2.\($0)")
        }
    }

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
    func keysAndValues(
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
                    weight: norm, epsilon: queryKeyEpsilon, rotary: nil, into: out, .headMajor(firstToken: 0))
            }
            return KeysValues(keys: keys, values: values)
        }
        let textKeys = try project(text, crossKV, crossNormK)
        guard let image, let imageKV, let imageNormK else { return (textKeys, nil) }
        return (textKeys, try project(image, imageKV, imageNormK))
    }
}
