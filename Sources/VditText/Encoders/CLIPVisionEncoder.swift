import VditFiles
import VditTensor

/// CLIP's encoder of pictures, as Wan 2.1 reads it beside the prompt.
///
/// What it gives are the hidden states before the last layer: that layer, the norm behind it and the projection are
/// never read. Residual stream, norms and softmax are fp32 whatever the precision.
/// - Source: transformers 5.23, `CLIPVisionModel`, `hidden_states[-2]`.
public struct CLIPVisionEncoder: Sendable {
    public let config: CLIPVisionConfig
    private let store: WeightStore
    private let weights: EncoderWeights

    /// Opens a folder with `config.json` and weights.
    ///
    /// - Throws: `FileError` naming file and key; `TensorError.weights` when the weights are not those the
    ///   configuration describes.
    public init(folder: String) throws {
        try self.init(
            config: CLIPVisionConfig(ConfigFile(path: "\(folder)/config.json")),
            weights: WeightStore(TextModelFolder.weights(in: folder)))
    }

    private init(config: CLIPVisionConfig, weights store: WeightStore) throws(TensorError) {
        let prefix = store.contains("vision_model.embeddings.class_embedding") ? "vision_model." : ""
        let last = "\(prefix)encoder.layers.\(config.layers - 1)."
        try store.check(config.tensors.map { (name: prefix + $0.name, shape: $0.shape) }) { name in
            name.hasPrefix(last) || name.hasPrefix("\(prefix)post_layernorm.") || name.hasPrefix("visual_projection.")
                || name == "\(prefix)embeddings.position_ids"
        }
        (self.config, self.store) = (config, store)
        weights = EncoderWeights(store, prefix: prefix)
    }

    /// The files, for records.
    public var files: [WeightStore.FileIdentity] { store.files }

    /// - Throws: `FileError` when a file of weights is not the one that was opened.
    public func verifyUnchanged() throws(FileError) { try store.verifyUnchanged() }

    /// The tokens of some pictures; a picture's do not depend on the others, nor on the number of threads.
    ///
    /// - Parameter pictures: each `[3, side, side]` f32, normalised as the encoder was trained.
    /// - Returns: `[tokens, width]` f32 for each: first the class token, then patches row by row.
    public func encode(_ pictures: [Tensor], compute: ComputeContext) throws(TensorError) -> [Tensor] {
        precondition(pictures.allSatisfy { $0.shape == [3, config.side, config.side] && $0.dtype == .f32 })
        let run = try EncoderRun(
            pictures.map { _ in config.tokens }, heads: config.heads, headDim: config.headDim, compute)
        let x = try embedded(pictures, run)
        let operand = compute.operandType
        let normed = run.tensor(operand, config.width)
        let qkv = run.tensor(.f32, 3 * config.width)
        let hidden = run.tensor(operand, config.intermediate)
        let y = run.tensor(.f32, config.width)
        func add() { run.forEachBlock { rows, _ in run.rows.gatedAdd(x.slice(rows), y.slice(rows), gate: nil) } }
        for layer in 0..<config.layers - 1 {
            let block = "encoder.layers.\(layer)"
            try weights.norm(x, "\(block).layer_norm1", epsilon: config.epsilon, run, into: normed)
            let projections = ["q", "k", "v"].map { "\(block).self_attn.\($0)_proj" }
            try run.apply(weights.linear(projections, compute), to: normed, into: qkv)
            try run.attend(qkv, scale: 1 / Float(config.headDim).squareRoot(), bias: nil, into: normed)
            try run.apply(weights.linear(["\(block).self_attn.out_proj"], compute), to: normed, into: y)
            add()
            try weights.norm(x, "\(block).layer_norm2", epsilon: config.epsilon, run, into: normed)
            let up = try weights.linear(["\(block).mlp.fc1"], compute, result: operand, activation: .geluErf)
            try run.apply(up, to: normed, into: hidden)
            try run.apply(weights.linear(["\(block).mlp.fc2"], compute), to: hidden, into: y)
            add()
        }
        return run.results(x)
    }

    /// Patches, the class token in front of each picture's, positions and the first norm: `[rows, width]` f32.
    private func embedded(_ pictures: [Tensor], _ run: EncoderRun) throws(TensorError) -> Tensor {
        let grid = PatchGrid(
            channels: 3, frames: 1, height: config.side, width: config.side, patch: (1, config.patch, config.patch))
        let patches = run.tensor(run.compute.operandType, grid.tokenSize)
        for (picture, rows) in zip(pictures, run.stack.ranges) {
            let gathered = Tensor(.f32, [grid.tokens, grid.tokenSize])
            grid.gather(picture.reshaped([3, 1, config.side, config.side]), first: 0, into: gathered)
            patches.slice(rows.dropFirst()).convert(from: gathered)
        }
        let x = run.tensor(.f32, config.width)
        try run.apply(weights.linear(["embeddings.patch_embedding"], run.compute), to: patches, into: x)
        let first = try weights.vector("embeddings.class_embedding")
        let positions = try weights.vector("embeddings.position_embedding.weight")
        for rows in run.stack.ranges {
            x[rows.lowerBound].assign(first)
            run.rows.gatedAdd(x.slice(rows), positions, gate: nil)
        }
        let normed = run.tensor(.f32, config.width)
        // As the checkpoints spell it.
        try weights.norm(x, "pre_layrnorm", epsilon: config.epsilon, run, into: normed)
        return normed
    }
}

/// Sizes of CLIP's encoder of pictures.
public struct CLIPVisionConfig: Sendable, Equatable {
    public let width, layers, heads, intermediate: Int
    /// Pixels of a picture's side, and of a patch's.
    public let side, patch: Int
    let epsilon: Float

    var headDim: Int { width / heads }
    /// Of a picture.
    public var tokens: Int { (side / patch) * (side / patch) + 1 }

    /// - Throws: `FileError.malformed` naming the key.
    public init(_ file: ConfigFile) throws(FileError) {
        _ = try file.string("model_type", oneOf: ["clip_vision_model"])
        _ = try file.string("hidden_act", oneOf: ["gelu"])
        width = try file.integer("hidden_size", 1...1 << 16)
        layers = try file.integer("num_hidden_layers", 2...1024)
        heads = try file.integer("num_attention_heads", 1...1024)
        intermediate = try file.integer("intermediate_size", 1...1 << 18)
        side = try file.integer("image_size", 1...4096)
        patch = try file.integer("patch_size", 1...1024)
        epsilon = Float(try file.numberIfPresent("layer_norm_eps", 0...1) ?? 1e-5)
        if width % heads != 0 || width / heads > 256 {
            throw .malformed(
                path: file.path, field: "num_attention_heads", found: "\(heads)",
                expected: "a divisor of hidden_size, \(width), with heads of at most 256")
        }
        if side % patch != 0 || side / patch > 64 {
            throw .malformed(
                path: file.path, field: "patch_size", found: "\(patch)",
                expected: "a divisor of image_size, \(side), with at most 64 patches a side")
        }
        if let channels = try file.integerIfPresent("num_channels", 1...1 << 16), channels != 3 {
            throw .malformed(path: file.path, field: "num_channels", found: "\(channels)", expected: "3")
        }
    }

    /// What is read of a checkpoint.
    public var tensors: [(name: String, shape: [Int])] {
        var tensors: [(name: String, shape: [Int])] = [
            ("embeddings.class_embedding", [width]),
            ("embeddings.patch_embedding.weight", [width, 3, patch, patch]),
            ("embeddings.position_embedding.weight", [tokens, width]),
        ]
        func linear(_ name: String, _ outputs: Int, _ inputs: Int) {
            tensors += [("\(name).weight", [outputs, inputs]), ("\(name).bias", [outputs])]
        }
        func norm(_ name: String) { tensors += [("\(name).weight", [width]), ("\(name).bias", [width])] }
        norm("pre_layrnorm")
        for layer in 0..<layers - 1 {
            let block = "encoder.layers.\(layer)"
            norm("\(block).layer_norm1")
            for name in ["q", "k", "v", "out"] { linear("\(block).self_attn.\(name)_proj", width, width) }
            norm("\(block).layer_norm2")
            linear("\(block).mlp.fc1", intermediate, width)
            linear("\(block).mlp.fc2", width, intermediate)
        }
        return tensors
    }

    /// `config.json` of the encoder that Wan 2.1 is published with, ViT-H/14.
    public static let viTH = """
        {"model_type": "clip_vision_model", "hidden_act": "gelu", "hidden_size": 1280, "intermediate_size": 5120, \
        "num_hidden_layers": 32, "num_attention_heads": 16, "image_size": 224, "patch_size": 14, \
        "layer_norm_eps": 1e-05}

        """
}
