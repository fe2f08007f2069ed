import VditAttention
import VditFiles
import VditTensor

/// The shape of a `MochiTransformer3DModel`, as its `config.json` states it.
public struct MochiTransformerConfig: JointTransformerConfig, Equatable {
    public var layers: Int
    public var heads: Int
    public var headDim: Int
    public var inChannels: Int
    public var outChannels: Int
    public var pixelPatch: Int
    /// Width of the text's rows, narrower than the video's.
    public var textWidth: Int
    /// Width of the text encoder's rows.
    public var textDim: Int
    /// Of the timestep's sinusoid.
    public var timeDim: Int
    public var maxTextLength: Int
    /// Whether its last block is the model's; false for the first few by themselves.
    private var isWhole = true

    public init(
        layers: Int = 48, heads: Int = 24, headDim: Int = 128, inChannels: Int = 12, outChannels: Int = 12,
        pixelPatch: Int = 2, textWidth: Int = 1536, textDim: Int = 4096, timeDim: Int = 256, maxTextLength: Int = 256
    ) {
        (self.layers, self.heads, self.headDim) = (layers, heads, headDim)
        (self.inChannels, self.outChannels, self.pixelPatch) = (inChannels, outChannels, pixelPatch)
        (self.textWidth, self.textDim) = (textWidth, textDim)
        (self.timeDim, self.maxTextLength) = (timeDim, maxTextLength)
    }

    /// Mochi 1 preview.
    public static let mochi1 = MochiTransformerConfig()

    /// - Throws: `FileError.malformed` naming the key that is out of range or not supported.
    public init(_ file: ConfigFile) throws(FileError) {
        func fail(_ field: String, _ found: String, _ expected: String) -> FileError {
            .malformed(path: file.path, field: field, found: found, expected: expected)
        }
        _ = try file.string("_class_name", oneOf: ["MochiTransformer3DModel"])
        let inChannels = try file.integerIfPresent("in_channels", 1...4096) ?? 12
        self.init(
            layers: try file.integerIfPresent("num_layers", 1...1024) ?? 48,
            heads: try file.integerIfPresent("num_attention_heads", 1...1024) ?? 24,
            headDim: try file.integerIfPresent("attention_head_dim", 16...256) ?? 128, inChannels: inChannels,
            outChannels: try file.integerIfPresent("out_channels", 1...4096) ?? inChannels,
            pixelPatch: try file.integerIfPresent("patch_size", 1...16) ?? 2,
            textWidth: try file.integerIfPresent("pooled_projection_dim", 1...65536) ?? 1536,
            textDim: try file.integerIfPresent("text_embed_dim", 8...65536) ?? 4096,
            timeDim: try file.integerIfPresent("time_embed_dim", 2...65536) ?? 256,
            maxTextLength: try file.integerIfPresent("max_sequence_length", 1...4096) ?? 256)
        guard headDim % 8 == 0 else { throw fail("attention_head_dim", "\(headDim)", "a multiple of 8") }
        guard textDim % Self.poolHeads == 0 else {
            throw fail("text_embed_dim", "\(textDim)", "a multiple of \(Self.poolHeads)")
        }
        guard timeDim % 2 == 0 else { throw fail("time_embed_dim", "\(timeDim)", "an even number") }
        for (key, only) in [("activation_fn", "swiglu"), ("qk_norm", "rms_norm")]
        where try file.stringIfPresent(key) != nil {
            _ = try file.string(key, oneOf: [only])
        }
    }

    /// Whether a block's text is keys and values alone.
    func endsText(at index: Int) -> Bool { isWhole && index == layers - 1 }

    /// Heads of the attention that pools the text, whatever its width.
    static let poolHeads = 8

    public var patch: [Int] { [1, pixelPatch, pixelPatch] }
    public var blockNames: [String] { (0..<layers).map { "transformer_blocks.\($0)" } }

    public var tensors: [(name: String, shape: [Int])] {
        let (d, text) = (inner, textWidth)
        var list = TensorList()
        list.add("patch_embed.proj.weight", [d, inChannels, pixelPatch, pixelPatch])
        list.add("patch_embed.proj.bias", [d])
        list.linear("time_embed.timestep_embedder.linear_1", timeDim, d)
        list.linear("time_embed.timestep_embedder.linear_2", d, d)
        list.linear("time_embed.pooler.to_kv", textDim, 2 * textDim)
        list.linear("time_embed.pooler.to_q", textDim, textDim)
        list.linear("time_embed.pooler.to_out", textDim, d)
        list.linear("time_embed.caption_proj", textDim, text)
        list.add("pos_frequencies", [3, heads, headDim / 2])
        for (index, block) in blockNames.enumerated() {
            let (attention, isLast) = ("\(block).attn1", endsText(at: index))
            list.linear("\(block).norm1.linear", d, 4 * d)
            if isLast {
                list.linear("\(block).norm1_context.linear_1", d, text)
            } else {
                list.linear("\(block).norm1_context.linear", d, 4 * text)
            }
            list.matrices(["to_q", "to_k", "to_v"].map { "\(attention).\($0)" }, d, d, bias: false)
            list.matrices(
                ["add_q_proj", "add_k_proj", "add_v_proj"].map { "\(attention).\($0)" }, text, d, bias: false)
            for norm in ["norm_q", "norm_k", "norm_added_q", "norm_added_k"] {
                list.add("\(attention).\(norm).weight", [headDim])
            }
            list.linear("\(attention).to_out.0", d, d)
            if !isLast { list.linear("\(attention).to_add_out", d, text) }
            for (part, width) in [("ff", d), ("ff_context", text)] where part == "ff" || !isLast {
                let hidden = 8 * width / 3
                list.matrices(["\(block).\(part).net.0.proj"], width, 2 * hidden, bias: false)
                list.matrices(["\(block).\(part).net.2"], hidden, width, bias: false)
            }
        }
        list.linear("norm_out.linear", d, 2 * d)
        list.linear("proj_out", d, outChannels * patchSize)
        return list.all
    }

    public var conditioning: ConditioningNeeds {
        var needs = ConditioningNeeds(promptWidth: textDim, takesMask: true)
        needs.takesEmptyPrompt = true
        return needs
    }

    public var summary: String {
        "\(layers) layers, \(heads) heads × \(headDim), text \(textDim) in rows of \(textWidth)"
    }

    public var configuration: [String: ConfigurationValue] {
        [
            "_class_name": .text("MochiTransformer3DModel"), "num_layers": .integer(layers),
            "num_attention_heads": .integer(heads), "attention_head_dim": .integer(headDim),
            "in_channels": .integer(inChannels), "out_channels": .integer(outChannels),
            "patch_size": .integer(pixelPatch), "pooled_projection_dim": .integer(textWidth),
            "text_embed_dim": .integer(textDim), "time_embed_dim": .integer(timeDim),
            "max_sequence_length": .integer(maxTextLength), "activation_fn": .text("swiglu"),
            "qk_norm": .text("rms_norm"),
        ]
    }

    /// Beside what every such model holds, the angles of every pair of every token: heads differ in theirs.
    public func activationBytes(_ layout: TokenLayout, operand: DType) -> Int {
        layout.tokens * inner * (4 + 7 * operand.byteCount + 4)
    }

    public func withLayers(_ count: Int) -> Self {
        var other = self
        other.layers = count
        other.isWhole = isWhole && count >= layers
        return other
    }

    public func load(_ weights: any WeightSource, _ compute: ComputeContext) throws -> any VideoModel {
        try JointTransformer<MochiParts>(self, weights, compute)
    }
}
