import VditFiles
import VditTensor

/// BERT, as MiniLM has it: the sample model's text encoder.
///
/// Hidden states of all tokens after the last layer: no pooling, no normalisation.
/// - Source: transformers, `BertModel`.
public struct BERTEncoder: TextEncoder {
    private let config: BERTEncoderConfig
    private let store: WeightStore
    private let weights: EncoderWeights

    public var width: Int { config.width }
    public var vocabularySize: Int { config.vocabularySize }
    public var endID: Int? { nil }
    public var maxTokens: Int? { config.maxTokens }
    public var name: String { "bert" }

    /// - Throws: `TensorError.weights` when the weights are not those the configuration describes.
    init(config: BERTEncoderConfig, weights store: WeightStore) throws(TensorError) {
        self.config = config
        self.store = store
        // Files of models with a head have it in front.
        let prefix = store.contains("bert.embeddings.LayerNorm.weight") ? "bert." : ""
        weights = EncoderWeights(store, prefix: prefix)
        try store.check(config.tensors.map { (name: prefix + $0.name, shape: $0.shape) }) { name in
            name == "\(prefix)embeddings.position_ids" || name.hasPrefix("\(prefix)pooler.") || name.hasPrefix("cls.")
        }
    }

    public func verifyUnchanged() throws(FileError) { try store.verifyUnchanged() }

    public func encode(
        _ sequences: [[Int32]], compute: ComputeContext, progress: (_ done: Int, _ layers: Int) -> Void
    ) throws(TensorError) -> [Tensor] {
        var results: [Tensor] = []
        for group in StackedSequences.groups(sequences.map(\.count)) {
            results += try encode(Array(sequences[group]), compute)
        }
        progress(config.layers, config.layers)
        return results
    }

    private func encode(_ sequences: [[Int32]], _ compute: ComputeContext) throws(TensorError) -> [Tensor] {
        let run = try EncoderRun(sequences.map(\.count), heads: config.heads, headDim: config.headDim, compute)
        let x = run.tensor(.f32, config.width)
        func table(_ name: String) -> String { "embeddings.\(name)_embeddings.weight" }
        let position = try weights.vector(table("position")), type = try weights.vector(table("token_type"))
        for (ids, rows) in zip(sequences, run.stack.ranges) {
            try weights.read(rows: ids, of: table("word"), into: x.slice(rows))
            run.rows.gatedAdd(x.slice(rows), position.slice(0..<rows.count), gate: nil)
            for row in rows { run.rows.gatedAdd(x.slice(row..<row + 1), type.slice(0..<1), gate: nil) }
        }
        let normed = run.tensor(.f32, config.width)
        func norm(_ name: String) throws(TensorError) {
            try weights.norm(x, "\(name).LayerNorm", epsilon: config.epsilon, run, into: normed)
        }
        try norm("embeddings")
        let operand = compute.operandType
        let input = run.tensor(operand, config.width)
        let qkv = run.tensor(.f32, 3 * config.width)
        let hidden = run.tensor(operand, config.intermediate)
        for layer in 0..<config.layers {
            let block = "encoder.layer.\(layer)"
            input.convert(from: normed)
            let projections = ["query", "key", "value"].map { "\(block).attention.self.\($0)" }
            try run.apply(weights.linear(projections, compute), to: input, into: qkv)
            try run.attend(qkv, scale: 1 / Float(config.headDim).squareRoot(), bias: nil, into: input)
            try run.apply(weights.linear(["\(block).attention.output.dense"], compute), to: input, into: x)
            run.forEachBlock { rows, _ in run.rows.gatedAdd(x.slice(rows), normed.slice(rows), gate: nil) }
            try norm("\(block).attention.output")
            input.convert(from: normed)
            let up = try weights.linear(["\(block).intermediate.dense"], compute, result: operand, activation: .geluErf)
            try run.apply(up, to: input, into: hidden)
            try run.apply(weights.linear(["\(block).output.dense"], compute), to: hidden, into: x)
            run.forEachBlock { rows, _ in run.rows.gatedAdd(x.slice(rows), normed.slice(rows), gate: nil) }
            try norm("\(block).output")
        }
        return run.results(normed)
    }
}

/// Sizes of a BERT encoder.
struct BERTEncoderConfig: Sendable {
    let vocabularySize, width, layers, heads, intermediate, maxTokens, types: Int
    let epsilon: Float

    var headDim: Int { width / heads }

    /// - Throws: `FileError.malformed` naming the key.
    init(_ file: ConfigFile) throws(FileError) {
        _ = try file.string("model_type", oneOf: ["bert"])
        _ = try file.string("hidden_act", oneOf: ["gelu"])
        vocabularySize = try file.integer("vocab_size", 1...1 << 24)
        width = try file.integer("hidden_size", 1...1 << 16)
        layers = try file.integer("num_hidden_layers", 1...1024)
        heads = try file.integer("num_attention_heads", 1...1024)
        intermediate = try file.integer("intermediate_size", 1...1 << 18)
        maxTokens = try file.integer("max_position_embeddings", 2...1 << 20)
        types = try file.integer("type_vocab_size", 1...1024)
        epsilon = Float(try file.numberIfPresent("layer_norm_eps", 0...1) ?? 1e-12)
        if width % heads != 0 || width / heads > 256 {
            throw .malformed(
                path: file.path, field: "num_attention_heads", found: "\(heads)",
                expected: "a divisor of hidden_size, \(width), with heads of at most 256")
        }
        if let position = try file.stringIfPresent("position_embedding_type"), position != "absolute" {
            throw .malformed(
                path: file.path, field: "position_embedding_type", found: "\"\(position)\"", expected: "\"absolute\"")
        }
    }

    var tensors: [(name: String, shape: [Int])] {
        var tensors: [(name: String, shape: [Int])] = [
            ("embeddings.word_embeddings.weight", [vocabularySize, width]),
            ("embeddings.position_embeddings.weight", [maxTokens, width]),
            ("embeddings.token_type_embeddings.weight", [types, width]),
        ]
        func linear(_ name: String, _ outputs: Int, _ inputs: Int) {
            tensors += [("\(name).weight", [outputs, inputs]), ("\(name).bias", [outputs])]
        }
        func norm(_ name: String) { tensors += [("\(name).weight", [width]), ("\(name).bias", [width])] }
        norm("embeddings.LayerNorm")
        for layer in 0..<layers {
            let block = "encoder.layer.\(layer)"
            for name in ["query", "key", "value"] { linear("\(block).attention.self.\(name)", width, width) }
            linear("\(block).attention.output.dense", width, width)
            norm("\(block).attention.output.LayerNorm")
            linear("\(block).intermediate.dense", intermediate, width)
            linear("\(block).output.dense", width, intermediate)
            norm("\(block).output.LayerNorm")
        }
        return tensors
    }
}
