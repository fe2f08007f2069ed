import VditTensor

/// Names of an encoder's tensors: those of transformers.
struct T5WeightNames: Sendable {
    struct Layer {
        let attentionNorm, query, key, value, output, bias, feedForwardNorm, gate, up, down: String

        /// In the order they are used.
        var matrices: [String] { [query, key, value, output, gate, up, down] }
    }

    let embedding: String
    let finalNorm = "encoder.final_layer_norm.weight"

    init(embedding: String = "shared.weight") { self.embedding = embedding }

    /// Some files hold the one table under either name, some under both.
    init(in weights: WeightStore) {
        let second = "encoder.embed_tokens.weight"
        self.init(embedding: !weights.contains("shared.weight") && weights.contains(second) ? second : "shared.weight")
    }

    func layer(_ index: Int) -> Layer {
        let (first, second) = ("encoder.block.\(index).layer.0", "encoder.block.\(index).layer.1")
        return Layer(
            attentionNorm: "\(first).layer_norm.weight", query: "\(first).SelfAttention.q.weight",
            key: "\(first).SelfAttention.k.weight", value: "\(first).SelfAttention.v.weight",
            output: "\(first).SelfAttention.o.weight",
            bias: "\(first).SelfAttention.relative_attention_bias.weight",
            feedForwardNorm: "\(second).layer_norm.weight", gate: "\(second).DenseReluDense.wi_0.weight",
            up: "\(second).DenseReluDense.wi_1.weight", down: "\(second).DenseReluDense.wo.weight")
    }

    /// All tensors an encoder has, with their shapes.
    func expected(_ config: T5EncoderConfig) -> [(name: String, shape: [Int])] {
        var tensors = [(embedding, [config.vocabularySize, config.width]), (finalNorm, [config.width])]
        for index in 0..<config.layers {
            let names = layer(index)
            tensors += [
                (names.attentionNorm, [config.width]), (names.feedForwardNorm, [config.width]),
                (names.query, [config.inner, config.width]), (names.key, [config.inner, config.width]),
                (names.value, [config.inner, config.width]), (names.output, [config.width, config.inner]),
                (names.gate, [config.feedForward, config.width]), (names.up, [config.feedForward, config.width]),
                (names.down, [config.width, config.feedForward]),
            ]
            if config.hasBias(index) { tensors.append((names.bias, [config.distances.count, config.heads])) }
        }
        return tensors.map { (name: $0.0, shape: $0.1) }
    }

    /// The embedding under its second name, and the decoder's tensors of a whole T5.
    func isIgnored(_ name: String) -> Bool {
        name == "encoder.embed_tokens.weight" || name.hasPrefix("decoder.") || name == "lm_head.weight"
    }
}

extension NameTable {
    /// What an encoder's tensors are called: by transformers as here, by Wan's original release, by llama.cpp.
    static let t5 = [transformersT5, wanT5, llamaT5]

    private static let transformersT5 = NameTable([])

    private static let wanT5 = NameTable([
        ("token_embedding", "shared"), ("norm", "encoder.final_layer_norm"),
        ("blocks.*.norm1", "encoder.block.*.layer.0.layer_norm"),
        ("blocks.*.norm2", "encoder.block.*.layer.1.layer_norm"),
        ("blocks.*.attn", "encoder.block.*.layer.0.SelfAttention"),
        ("blocks.*.pos_embedding.embedding", "encoder.block.*.layer.0.SelfAttention.relative_attention_bias"),
        ("blocks.*.ffn.gate.0", "encoder.block.*.layer.1.DenseReluDense.wi_0"),
        ("blocks.*.ffn.fc1", "encoder.block.*.layer.1.DenseReluDense.wi_1"),
        ("blocks.*.ffn.fc2", "encoder.block.*.layer.1.DenseReluDense.wo"),
    ])

    private static let llamaT5 = NameTable([
        ("token_embd", "shared"), ("enc.output_norm", "encoder.final_layer_norm"),
        ("enc.blk.*.attn_norm", "encoder.block.*.layer.0.layer_norm"),
        ("enc.blk.*.ffn_norm", "encoder.block.*.layer.1.layer_norm"),
        ("enc.blk.*.attn_q", "encoder.block.*.layer.0.SelfAttention.q"),
        ("enc.blk.*.attn_k", "encoder.block.*.layer.0.SelfAttention.k"),
        ("enc.blk.*.attn_v", "encoder.block.*.layer.0.SelfAttention.v"),
        ("enc.blk.*.attn_o", "encoder.block.*.layer.0.SelfAttention.o"),
        ("enc.blk.*.attn_rel_b", "encoder.block.*.layer.0.SelfAttention.relative_attention_bias"),
        ("enc.blk.*.ffn_gate", "encoder.block.*.layer.1.DenseReluDense.wi_0"),
        ("enc.blk.*.ffn_up", "encoder.block.*.layer.1.DenseReluDense.wi_1"),
        ("enc.blk.*.ffn_down", "encoder.block.*.layer.1.DenseReluDense.wo"),
    ])
}
