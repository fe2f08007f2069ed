import VditAttention
import VditFiles
import VditTensor

/// The shape of a `CogVideoXTransformer3DModel`, as its `config.json` states it.
public struct CogVideoXTransformerConfig: JointTransformerConfig, Equatable {
    public var layers: Int
    public var heads: Int
    public var headDim: Int
    public var inChannels: Int
    public var outChannels: Int
    /// Width of the vector that modulates.
    public var timeDim: Int
    /// Width of the text encoder's rows.
    public var textDim: Int
    public var maxTextLength: Int
    /// Frames of a patch: 2 in version 1.5, whose positions are plain too.
    public var framePatch: Int
    public var pixelPatch: Int
    /// Width of a second embedding, of 2.0 always: 1.5 from pictures.
    public var ofsDim: Int?
    public var isRotary: Bool
    /// Latent pixels and video frames that the positions were made for.
    public var sample: Sample
    public var epsilon: Double
    public var spatialScale: Double
    public var temporalScale: Double

    public struct Sample: Sendable, Equatable {
        public var height: Int
        public var width: Int
        public var frames: Int

        public init(height: Int, width: Int, frames: Int) {
            (self.height, self.width, self.frames) = (height, width, frames)
        }
    }

    public init(
        layers: Int, heads: Int, headDim: Int = 64, inChannels: Int = 16, outChannels: Int = 16, timeDim: Int = 512,
        textDim: Int = 4096, maxTextLength: Int = 226, framePatch: Int = 1, pixelPatch: Int = 2, ofsDim: Int? = nil,
        isRotary: Bool, sample: Sample = Sample(height: 60, width: 90, frames: 49), epsilon: Double = 1e-5,
        spatialScale: Double = 1.875, temporalScale: Double = 1
    ) {
        (self.layers, self.heads, self.headDim) = (layers, heads, headDim)
        (self.inChannels, self.outChannels) = (inChannels, outChannels)
        (self.timeDim, self.textDim, self.maxTextLength) = (timeDim, textDim, maxTextLength)
        (self.framePatch, self.pixelPatch, self.ofsDim) = (framePatch, pixelPatch, ofsDim)
        (self.isRotary, self.sample, self.epsilon) = (isRotary, sample, epsilon)
        (self.spatialScale, self.temporalScale) = (spatialScale, temporalScale)
    }

    public static let cogVideoX2B = CogVideoXTransformerConfig(layers: 30, heads: 30, isRotary: false)
    public static let cogVideoX5B = CogVideoXTransformerConfig(layers: 42, heads: 48, isRotary: true)
    public static let cogVideoX15_5B = CogVideoXTransformerConfig(
        layers: 42, heads: 48, maxTextLength: 224, framePatch: 2, isRotary: true,
        sample: Sample(height: 300, width: 300, frames: 81))

    /// - Throws: `FileError.malformed` naming the key that is out of range or not supported.
    public init(_ file: ConfigFile) throws(FileError) {
        func fail(_ field: String, _ found: String, _ expected: String) -> FileError {
            .malformed(path: file.path, field: field, found: found, expected: expected)
        }
        _ = try file.string("_class_name", oneOf: ["CogVideoXTransformer3DModel"])
        let isNew = try file.integerIfPresent("patch_size_t", 1...16) != nil
        self.init(
            layers: try file.integerIfPresent("num_layers", 1...1024) ?? 30,
            heads: try file.integerIfPresent("num_attention_heads", 1...1024) ?? 30,
            headDim: try file.integerIfPresent("attention_head_dim", 16...256) ?? 64,
            inChannels: try file.integerIfPresent("in_channels", 1...4096) ?? 16,
            outChannels: try file.integerIfPresent("out_channels", 1...4096) ?? 16,
            timeDim: try file.integerIfPresent("time_embed_dim", 1...65536) ?? 512,
            textDim: try file.integerIfPresent("text_embed_dim", 1...65536) ?? 4096,
            maxTextLength: try file.integerIfPresent("max_text_seq_length", 1...4096) ?? 226,
            framePatch: try file.integerIfPresent("patch_size_t", 1...16) ?? 1,
            pixelPatch: try file.integerIfPresent("patch_size", 1...16) ?? 2,
            ofsDim: try file.integerIfPresent("ofs_embed_dim", 2...65536),
            isRotary: try file.boolIfPresent("use_rotary_positional_embeddings") ?? false,
            sample: Sample(
                height: try file.integerIfPresent("sample_height", 1...65536) ?? 60,
                width: try file.integerIfPresent("sample_width", 1...65536) ?? 90,
                frames: try file.integerIfPresent("sample_frames", 1...65536) ?? 49),
            epsilon: try file.numberIfPresent("norm_eps", 1e-12...1) ?? 1e-5,
            spatialScale: try file.numberIfPresent("spatial_interpolation_scale", 1e-3...1e3) ?? 1.875,
            temporalScale: try file.numberIfPresent("temporal_interpolation_scale", 1e-3...1e3) ?? 1)
        guard headDim % 16 == 0 else { throw fail("attention_head_dim", "\(headDim)", "a multiple of 16") }
        if let ofsDim, ofsDim != timeDim { throw fail("ofs_embed_dim", "\(ofsDim)", "\(timeDim), as time_embed_dim") }
        guard isRotary || framePatch == 1 else {
            throw fail("use_rotary_positional_embeddings", "false", "true with a patch_size_t")
        }
        for (key, only) in [
            ("use_learned_positional_embeddings", false), ("attention_bias", true), ("flip_sin_to_cos", true),
            ("norm_elementwise_affine", true), ("patch_bias", true),
        ] where key != "patch_bias" || !isNew {
            guard let found = try file.boolIfPresent(key), found != only else { continue }
            throw fail(key, "\(found)", "\(only)")
        }
        for (key, only) in [("activation_fn", "gelu-approximate"), ("timestep_activation_fn", "silu")]
        where try file.stringIfPresent(key) != nil {
            _ = try file.string(key, oneOf: [only])
        }
        if let shift = try file.numberIfPresent("freq_shift", -1e3...1e3), shift != 0 {
            throw fail("freq_shift", "\(shift)", "0")
        }
    }

    public var patch: [Int] { [framePatch, pixelPatch, pixelPatch] }
    public var textPlace: JointTextPlace { .beforeVideo }
    public var blockNames: [String] { (0..<layers).map { "transformer_blocks.\($0)" } }

    /// Tokens of the native height and width.
    var nativeGrid: (height: Int, width: Int) { (sample.height / pixelPatch, sample.width / pixelPatch) }

    public var positions: [Int]? {
        isRotary && framePatch > 1 ? [.max, nativeGrid.height, nativeGrid.width] : nil
    }

    public var tensors: [(name: String, shape: [Int])] {
        let (d, time) = (inner, timeDim)
        var list = TensorList()
        list.add(
            "patch_embed.proj.weight",
            framePatch > 1 ? [d, inChannels * patchSize] : [d, inChannels, pixelPatch, pixelPatch])
        list.add("patch_embed.proj.bias", [d])
        list.linear("patch_embed.text_proj", textDim, d)
        list.linear("time_embedding.linear_1", d, time)
        list.linear("time_embedding.linear_2", time, time)
        if let ofsDim {
            list.linear("ofs_embedding.linear_1", ofsDim, ofsDim)
            list.linear("ofs_embedding.linear_2", ofsDim, ofsDim)
        }
        for block in blockNames {
            for norm in ["norm1", "norm2"] {
                list.linear("\(block).\(norm).linear", time, 6 * d)
                list.affine("\(block).\(norm).norm", d)
            }
            list.matrices(["to_q", "to_k", "to_v", "to_out.0"].map { "\(block).attn1.\($0)" }, d, d)
            list.affine("\(block).attn1.norm_q", headDim)
            list.affine("\(block).attn1.norm_k", headDim)
            list.linear("\(block).ff.net.0.proj", d, 4 * d)
            list.linear("\(block).ff.net.2", 4 * d, d)
        }
        list.affine("norm_final", d)
        list.linear("norm_out.linear", time, 2 * d)
        list.affine("norm_out.norm", d)
        list.linear("proj_out", d, outChannels * patchSize)
        return list.all
    }

    public var conditioning: ConditioningNeeds { ConditioningNeeds(promptWidth: textDim) }

    public var summary: String {
        "\(layers) layers, \(heads) heads × \(headDim), text \(textDim), "
            + "patch \(patch.map(String.init).joined(separator: "×")), "
            + (isRotary ? "rotary positions" : "sin-cos positions")
    }

    public var configuration: [String: ConfigurationValue] {
        var values: [String: ConfigurationValue] = [
            "_class_name": .text("CogVideoXTransformer3DModel"), "num_layers": .integer(layers),
            "num_attention_heads": .integer(heads), "attention_head_dim": .integer(headDim),
            "in_channels": .integer(inChannels), "out_channels": .integer(outChannels),
            "time_embed_dim": .integer(timeDim), "text_embed_dim": .integer(textDim),
            "max_text_seq_length": .integer(maxTextLength), "patch_size": .integer(pixelPatch),
            "sample_height": .integer(sample.height), "sample_width": .integer(sample.width),
            "sample_frames": .integer(sample.frames), "norm_eps": .number(epsilon),
            "spatial_interpolation_scale": .number(spatialScale),
            "temporal_interpolation_scale": .number(temporalScale),
            "use_rotary_positional_embeddings": .flag(isRotary), "patch_bias": .flag(framePatch == 1),
            "use_learned_positional_embeddings": .flag(false), "activation_fn": .text("gelu-approximate"),
            "timestep_activation_fn": .text("silu"), "attention_bias": .flag(true),
        ]
        if framePatch > 1 { values["patch_size_t"] = .integer(framePatch) }
        values["ofs_embed_dim"] = ofsDim.map { .integer($0) }
        return values
    }

    public func withLayers(_ count: Int) -> Self {
        var other = self
        other.layers = count
        return other
    }

    public func load(_ weights: any WeightSource, _ compute: ComputeContext) throws -> any VideoModel {
        try JointTransformer<CogVideoXParts>(self, weights, compute)
    }
}
