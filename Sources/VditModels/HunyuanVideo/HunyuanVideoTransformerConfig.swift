import VditAttention
import VditFiles
import VditTensor

/// The shape of a `HunyuanVideoTransformer3DModel`, as its `config.json` states it.
public struct HunyuanVideoTransformerConfig: JointTransformerConfig, Equatable {
    /// Blocks with weights of its own for each stream, and those behind them whose weights all tokens share.
    public var dualLayers: Int
    public var singleLayers: Int
    public var refinerLayers: Int
    public var heads: Int
    public var headDim: Int
    public var inChannels: Int
    public var outChannels: Int
    public var framePatch: Int
    public var pixelPatch: Int
    public var mlpRatio: Double
    /// Width of the text encoder's rows, and of the second encoder's vector.
    public var textDim: Int
    public var pooledDim: Int
    /// Parts of the head that turn by frame, row and column.
    public var rotaryParts: [Int]
    public var rotaryTheta: Double
    public var hasGuidance: Bool
    /// Whether the first frame's tokens are a picture's: image to video by token replacement.
    public var replacesTokens: Bool

    public init(
        dualLayers: Int = 20, singleLayers: Int = 40, refinerLayers: Int = 2, heads: Int = 24, headDim: Int = 128,
        inChannels: Int = 16, outChannels: Int = 16, framePatch: Int = 1, pixelPatch: Int = 2, mlpRatio: Double = 4,
        textDim: Int = 4096, pooledDim: Int = 768, rotaryParts: [Int] = [16, 56, 56], rotaryTheta: Double = 256,
        hasGuidance: Bool = true, replacesTokens: Bool = false
    ) {
        (self.dualLayers, self.singleLayers, self.refinerLayers) = (dualLayers, singleLayers, refinerLayers)
        (self.heads, self.headDim) = (heads, headDim)
        (self.inChannels, self.outChannels) = (inChannels, outChannels)
        (self.framePatch, self.pixelPatch, self.mlpRatio) = (framePatch, pixelPatch, mlpRatio)
        (self.textDim, self.pooledDim) = (textDim, pooledDim)
        (self.rotaryParts, self.rotaryTheta) = (rotaryParts, rotaryTheta)
        (self.hasGuidance, self.replacesTokens) = (hasGuidance, replacesTokens)
    }

    /// HYVideo-T/2-cfgdistill, text to video.
    public static let hunyuanVideo = HunyuanVideoTransformerConfig()

    /// - Throws: `FileError.malformed` naming the key that is out of range or not supported.
    public init(_ file: ConfigFile) throws(FileError) {
        func fail(_ field: String, _ found: String, _ expected: String) -> FileError {
            .malformed(path: file.path, field: field, found: found, expected: expected)
        }
        _ = try file.string("_class_name", oneOf: ["HunyuanVideoTransformer3DModel"])
        let heads = try file.integerIfPresent("num_attention_heads", 1...1024) ?? 24
        let headDim = try file.integerIfPresent("attention_head_dim", 16...256) ?? 128
        guard headDim % 8 == 0 else { throw fail("attention_head_dim", "\(headDim)", "a multiple of 8") }
        let parts = try file.integers("rope_axes_dim", count: 3, 2...256)
        guard parts.reduce(0, +) == headDim, parts.allSatisfy({ $0 % 2 == 0 }) else {
            throw fail("rope_axes_dim", "\(parts)", "three even numbers that add up to \(headDim)")
        }
        let pictures = try file.stringIfPresent("image_condition_type")
        if let pictures, pictures != "token_replace" {
            throw fail("image_condition_type", pictures, "null or token_replace")
        }
        self.init(
            dualLayers: try file.integerIfPresent("num_layers", 0...1024) ?? 20,
            singleLayers: try file.integerIfPresent("num_single_layers", 0...1024) ?? 40,
            refinerLayers: try file.integerIfPresent("num_refiner_layers", 0...64) ?? 2,
            heads: heads, headDim: headDim, inChannels: try file.integerIfPresent("in_channels", 1...4096) ?? 16,
            outChannels: try file.integerIfPresent("out_channels", 1...4096) ?? 16,
            framePatch: try file.integerIfPresent("patch_size_t", 1...16) ?? 1,
            pixelPatch: try file.integerIfPresent("patch_size", 1...16) ?? 2,
            mlpRatio: try file.numberIfPresent("mlp_ratio", 0.125...64) ?? 4,
            textDim: try file.integerIfPresent("text_embed_dim", 1...65536) ?? 4096,
            pooledDim: try file.integerIfPresent("pooled_projection_dim", 1...65536) ?? 768, rotaryParts: parts,
            rotaryTheta: try file.numberIfPresent("rope_theta", 1...1e9) ?? 256,
            hasGuidance: try file.boolIfPresent("guidance_embeds") ?? true, replacesTokens: pictures != nil)
        guard layers > 0 else { throw fail("num_layers", "0 of both kinds", "at least one block") }
        if try file.stringIfPresent("qk_norm") != nil { _ = try file.string("qk_norm", oneOf: ["rms_norm"]) }
    }

    public var layers: Int { dualLayers + singleLayers }
    public var patch: [Int] { [framePatch, pixelPatch, pixelPatch] }
    /// Width between the feed-forward's two layers.
    var hidden: Int { Int(Double(inner) * mlpRatio) }

    public var blockNames: [String] {
        (0..<dualLayers).map { "transformer_blocks.\($0)" }
            + (0..<singleLayers).map { "single_transformer_blocks.\($0)" }
    }

    static let refinerName = "context_embedder.token_refiner.refiner_blocks"

    public var tensors: [(name: String, shape: [Int])] {
        let d = inner
        var list = TensorList()
        list.add("x_embedder.proj.weight", [d, inChannels] + patch)
        list.add("x_embedder.proj.bias", [d])
        func embedder(_ name: String, _ inputs: Int) {
            list.linear("\(name).linear_1", inputs, d)
            list.linear("\(name).linear_2", d, d)
        }
        list.linear("context_embedder.proj_in", textDim, d)
        embedder("context_embedder.time_text_embed.timestep_embedder", 256)
        embedder("context_embedder.time_text_embed.text_embedder", textDim)
        for index in 0..<refinerLayers {
            let block = "\(Self.refinerName).\(index)"
            list.affine("\(block).norm1", d)
            list.affine("\(block).norm2", d)
            list.matrices(["to_q", "to_k", "to_v", "to_out.0"].map { "\(block).attn.\($0)" }, d, d)
            list.linear("\(block).ff.net.0.proj", d, 4 * d)
            list.linear("\(block).ff.net.2", 4 * d, d)
            list.linear("\(block).norm_out.linear", d, 2 * d)
        }
        embedder("time_text_embed.timestep_embedder", 256)
        if hasGuidance { embedder("time_text_embed.guidance_embedder", 256) }
        embedder("time_text_embed.text_embedder", pooledDim)
        for (index, block) in blockNames.enumerated() {
            list.matrices(["to_q", "to_k", "to_v"].map { "\(block).attn.\($0)" }, d, d)
            list.add("\(block).attn.norm_q.weight", [headDim])
            list.add("\(block).attn.norm_k.weight", [headDim])
            guard index < dualLayers else {
                list.linear("\(block).norm.linear", d, 3 * d)
                list.linear("\(block).proj_mlp", d, hidden)
                list.linear("\(block).proj_out", d + hidden, d)
                continue
            }
            list.linear("\(block).norm1.linear", d, 6 * d)
            list.linear("\(block).norm1_context.linear", d, 6 * d)
            list.matrices(
                ["to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"].map { "\(block).attn.\($0)" }, d,
                d)
            list.add("\(block).attn.norm_added_q.weight", [headDim])
            list.add("\(block).attn.norm_added_k.weight", [headDim])
            for part in ["ff", "ff_context"] {
                list.linear("\(block).\(part).net.0.proj", d, hidden)
                list.linear("\(block).\(part).net.2", hidden, d)
            }
        }
        list.linear("norm_out.linear", d, 2 * d)
        list.linear("proj_out", d, outChannels * patchSize)
        return list.all
    }

    public var conditioning: ConditioningNeeds {
        var needs = ConditioningNeeds(
            promptWidth: textDim, takesMask: true, pooledWidth: pooledDim, takesTimePerToken: replacesTokens)
        needs.takesGuidance = hasGuidance
        return needs
    }

    public var summary: String {
        "\(dualLayers) dual and \(singleLayers) single layers, \(heads) heads × \(headDim), text \(textDim), "
            + "pooled \(pooledDim)" + (hasGuidance ? ", told its guidance" : "")
            + (replacesTokens ? ", first frame a picture" : "")
    }

    public var configuration: [String: ConfigurationValue] {
        var values: [String: ConfigurationValue] = [
            "_class_name": .text("HunyuanVideoTransformer3DModel"), "num_layers": .integer(dualLayers),
            "num_single_layers": .integer(singleLayers), "num_refiner_layers": .integer(refinerLayers),
            "num_attention_heads": .integer(heads), "attention_head_dim": .integer(headDim),
            "in_channels": .integer(inChannels), "out_channels": .integer(outChannels),
            "patch_size": .integer(pixelPatch), "patch_size_t": .integer(framePatch), "mlp_ratio": .number(mlpRatio),
            "text_embed_dim": .integer(textDim), "pooled_projection_dim": .integer(pooledDim),
            "rope_axes_dim": .integers(rotaryParts), "rope_theta": .number(rotaryTheta),
            "guidance_embeds": .flag(hasGuidance), "qk_norm": .text("rms_norm"),
        ]
        if replacesTokens { values["image_condition_type"] = .text("token_replace") }
        return values
    }

    /// Blocks of both kinds cost the same: those with two streams come first.
    public func withLayers(_ count: Int) -> Self {
        var other = self
        other.dualLayers = min(count, dualLayers)
        other.singleLayers = count - other.dualLayers
        return other
    }

    public func load(_ weights: any WeightSource, _ compute: ComputeContext) throws -> any VideoModel {
        try JointTransformer<HunyuanVideoParts>(self, weights, compute)
    }
}
