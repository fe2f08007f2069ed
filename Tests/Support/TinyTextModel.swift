import Foundation
import VDiT

/// A checkpoint's `text_encoder/` and `tokenizer/` with seeded weights: the tokenizers of the fixtures, encoders as
/// small as they can be.
public struct TinyTextModel: Sendable {
    public enum Kind: String, Sendable, CaseIterable { case umt5, t5, bert }

    public let folder: TemporaryDirectory
    public var path: String { folder.path }
    public static let width = 24

    /// - Parameters:
    ///   - pipeline: class name for `model_index.json`; nil for no such file.
    ///   - width: of the hidden states of a T5.
    public init(_ kind: Kind, pipeline: String? = nil, width: Int = width) throws {
        folder = try TemporaryDirectory()
        let golden = Golden.path("text-encoders")
        let config: [String: Any]
        var tensors: [String: [Int]] = [:]
        switch kind {
        case .bert:
            config = [
                "model_type": "bert", "hidden_act": "gelu", "vocab_size": 30522, "hidden_size": Self.width,
                "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
                "max_position_embeddings": 40, "type_vocab_size": 2,
            ]
            tensors = Self.bert
        case .umt5, .t5:
            let vocabulary = kind == .umt5 ? 930 : 800
            config = [
                "model_type": kind.rawValue, "feed_forward_proj": "gated-gelu", "vocab_size": vocabulary,
                "d_model": width, "d_kv": 8, "num_heads": 2, "d_ff": 40, "num_layers": 2, "eos_token_id": 1,
            ]
            tensors = Self.t5(vocabulary, width, biases: kind == .umt5 ? 2 : 1)
        }
        var random = SeededGenerator(seed: 11)
        let weights = tensors.sorted { $0.key < $1.key }.map { name, shape in
            (name, Tensor((0..<shape.reduce(1, *)).map { _ in Float.random(in: -0.5...0.5, using: &random) }, shape: shape))
        }
        try folder.write("", "text_encoder/.keep")
        try folder.write(
            Array(JSONSerialization.data(withJSONObject: config, options: .sortedKeys)), "text_encoder/config.json")
        try SafetensorsWriter.write(
            Dictionary(uniqueKeysWithValues: weights), to: folder.path("text_encoder/model.safetensors"),
            existing: .refuse)
        let files = switch kind {
        case .umt5: ["tokenizer.json", "spiece.model", "tokenizer_config.json"].map { "tokenizer-umt5-like/\($0)" }
        case .t5: ["tokenizer-t5-like/spiece.model"]
        case .bert: ["wordpiece-minilm/vocab.txt"]
        }
        try FileManager.default.createDirectory(atPath: folder.path("tokenizer"), withIntermediateDirectories: true)
        for file in files {
            let name = (file as NSString).lastPathComponent
            try FileManager.default.copyItem(atPath: "\(golden)/\(file)", toPath: folder.path("tokenizer/\(name)"))
        }
        if let pipeline { try folder.write("{\"_class_name\": \"\(pipeline)\"}", "model_index.json") }
    }

    private static func t5(_ vocabulary: Int, _ width: Int, biases: Int) -> [String: [Int]] {
        var tensors = ["shared.weight": [vocabulary, width], "encoder.final_layer_norm.weight": [width]]
        for layer in 0..<2 {
            let (first, second) = ("encoder.block.\(layer).layer.0", "encoder.block.\(layer).layer.1")
            for name in ["q", "k", "v"] { tensors["\(first).SelfAttention.\(name).weight"] = [16, width] }
            tensors["\(first).SelfAttention.o.weight"] = [width, 16]
            if layer < biases { tensors["\(first).SelfAttention.relative_attention_bias.weight"] = [32, 2] }
            for name in ["wi_0", "wi_1"] { tensors["\(second).DenseReluDense.\(name).weight"] = [40, width] }
            tensors["\(second).DenseReluDense.wo.weight"] = [width, 40]
            for name in [first, second] { tensors["\(name).layer_norm.weight"] = [width] }
        }
        return tensors
    }

    private static let bert: [String: [Int]] = {
        var tensors = [
            "embeddings.word_embeddings.weight": [30522, width], "embeddings.position_embeddings.weight": [40, width],
            "embeddings.token_type_embeddings.weight": [2, width],
        ]
        func linear(_ name: String, _ outputs: Int, _ inputs: Int) {
            tensors["\(name).weight"] = [outputs, inputs]
            tensors["\(name).bias"] = [outputs]
        }
        func norm(_ name: String) {
            tensors["\(name).weight"] = [width]
            tensors["\(name).bias"] = [width]
        }
        let block = "encoder.layer.0"
        norm("embeddings.LayerNorm")
        for name in ["self.query", "self.key", "self.value", "output.dense"] {
            linear("\(block).attention.\(name)", width, width)
        }
        norm("\(block).attention.output.LayerNorm")
        linear("\(block).intermediate.dense", 32, width)
        linear("\(block).output.dense", width, 32)
        norm("\(block).output.LayerNorm")
        return tensors
    }()
}
