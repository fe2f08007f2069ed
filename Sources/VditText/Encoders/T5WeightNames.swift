import VditTensor

/// Names of an encoder's tensors: those of transformers, or of Wan's original release.
struct T5WeightNames: Sendable {
    struct Layer {
        let attentionNorm, query, key, value, output, bias, feedForwardNorm, gate, up, down: String

        /// In the order they are used.
        var matrices: [String] { [query, key, value, output, gate, up, down] }
    }

    private let isOriginal: Bool
    let embedding: String
    var finalNorm: String { isOriginal ? "norm.weight" : "encoder.final_layer_norm.weight" }

    /// Those of transformers.
    init() { (isOriginal, embedding) = (false, "shared.weight") }

    init(in weights: WeightStore) {
        isOriginal = weights.contains("token_embedding.weight")
        let second = "encoder.embed_tokens.weight"
        // Some files hold the one table under either name, some under both.
        embedding = isOriginal
            ? "token_embedding.weight"
            : !weights.contains("shared.weight") && weights.contains(second) ? second : "shared.weight"
    }

    func layer(_ index: Int) -> Layer {
        if isOriginal {
            let block = "blocks.\(index)"
            return Layer(
                attentionNorm: "\(block).norm1.weight", query: "\(block).attn.q.weight", key: "\(block).attn.k.weight",
                value: "\(block).attn.v.weight", output: "\(block).attn.o.weight",
                bias: "\(block).pos_embedding.embedding.weight", feedForwardNorm: "\(block).norm2.weight",
                gate: "\(block).ffn.gate.0.weight", up: "\(block).ffn.fc1.weight", down: "\(block).ffn.fc2.weight")
        }
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
