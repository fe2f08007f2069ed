import VditAttention
import VditFiles
import VditTensor

/// The shape of a `WanTransformer3DModel`, as its `config.json` states it.
public struct WanTransformerConfig: Sendable, Equatable {
    public var layers: Int
    public var heads: Int
    public var headDim: Int
    public var inChannels: Int
    public var outChannels: Int
    public var textDim: Int
    public var freqDim: Int
    public var ffnDim: Int
    public var epsilon: Double
    /// Patch extents: frames, height, width.
    public var patch: [Int]
    public var crossAttentionNorm: Bool
    public var ropeMaxSeqLen: Int
    /// Width of the image encoder's tokens, in image-to-video models.
    public var imageDim: Int?
    public var addedKVProjDim: Int?
    /// Positions of the learned embedding of image tokens, in first-last-frame models.
    public var posEmbedSeqLen: Int?
    /// What every block has for a sparse attention it was trained with. No configuration says so: the weights do.
    public var trained: TrainedAttention?

    public init(
        layers: Int, heads: Int, headDim: Int, inChannels: Int = 16, outChannels: Int = 16,
        textDim: Int = 4096, freqDim: Int = 256, ffnDim: Int, epsilon: Double = 1e-6,
        patch: [Int] = [1, 2, 2], crossAttentionNorm: Bool = true, ropeMaxSeqLen: Int = 1024,
        imageDim: Int? = nil, addedKVProjDim: Int? = nil, posEmbedSeqLen: Int? = nil
    ) {
        self.layers = layers
        self.heads = heads
        self.headDim = headDim
        self.inChannels = inChannels
        self.outChannels = outChannels
        self.textDim = textDim
        self.freqDim = freqDim
        self.ffnDim = ffnDim
        self.epsilon = epsilon
        self.patch = patch
        self.crossAttentionNorm = crossAttentionNorm
        self.ropeMaxSeqLen = ropeMaxSeqLen
        self.imageDim = imageDim
        self.addedKVProjDim = addedKVProjDim
        self.posEmbedSeqLen = posEmbedSeqLen
    }

    /// Wan2.1 text-to-video, 1.3B parameters.
    public static let wan21T2V1_3B = WanTransformerConfig(layers: 30, heads: 12, headDim: 128, ffnDim: 8960)
    /// FastWan2.1 text-to-video, 1.3B parameters: the same, distilled with video sparse attention.
    public static let fastWan21T2V1_3B = {
        var config = wan21T2V1_3B
        config.trained = .gates
        return config
    }()
    /// Wan2.1 text-to-video, 14B parameters.
    public static let wan21T2V14B = WanTransformerConfig(layers: 40, heads: 40, headDim: 128, ffnDim: 13824)

    /// Wan2.2 text and picture to video, 5B parameters.
    public static let wan22TI2V5B = WanTransformerConfig(
        layers: 30, heads: 24, headDim: 128, inChannels: 48, outChannels: 48, ffnDim: 14336)

    /// Wan2.1 image-to-video, 14B parameters: the picture as channels and as an image encoder's tokens.
    public static let wan21I2V14B = {
        var config = wan21T2V14B
        (config.inChannels, config.imageDim, config.addedKVProjDim) = (36, 1280, 5120)
        return config
    }()
    /// Wan2.1 first-last-frame-to-video, 14B parameters: positions for the tokens of two pictures.
    public static let wan21FLF2V14B = {
        var config = wan21I2V14B
        config.posEmbedSeqLen = 514
        return config
    }()
    /// Each expert of Wan2.2 image-to-video A14B: channels alone.
    public static let wan22I2VA14B = {
        var config = wan21T2V14B
        config.inChannels = 36
        return config
    }()

    /// - Throws: `FileError.malformed` naming the key that is missing, out of range or not supported.
    public init(_ file: ConfigFile) throws(FileError) {
        if try file.stringIfPresent("_class_name") != nil {
            _ = try file.string("_class_name", oneOf: ["WanTransformer3DModel"])
        }
        layers = try file.integer("num_layers", 1...1024)
        heads = try file.integer("num_attention_heads", 1...1024)
        headDim = try file.integer("attention_head_dim", 16...256)
        guard headDim % 8 == 0 else {
            throw .malformed(
                path: file.path, field: "attention_head_dim", found: "\(headDim)",
                expected: "a multiple of 8")
        }
        inChannels = try file.integer("in_channels", 1...4096)
        outChannels = try file.integerIfPresent("out_channels", 1...4096) ?? inChannels
        textDim = try file.integer("text_dim", 1...65536)
        freqDim = try file.integer("freq_dim", 2...65536)
        ffnDim = try file.integer("ffn_dim", 1...1_048_576)
        epsilon = try file.numberIfPresent("eps", 1e-12...1) ?? 1e-6
        patch = try file.integers("patch_size", count: 3, 1...16)
        crossAttentionNorm = try file.boolIfPresent("cross_attn_norm") ?? true
        ropeMaxSeqLen = try file.integerIfPresent("rope_max_seq_len", 1...1_048_576) ?? 1024
        imageDim = try file.integerIfPresent("image_dim", 1...65536)
        addedKVProjDim = try file.integerIfPresent("added_kv_proj_dim", 1...65536)
        posEmbedSeqLen = try file.integerIfPresent("pos_embed_seq_len", 1...1_048_576)
        if try file.stringIfPresent("qk_norm") != nil {
            _ = try file.string("qk_norm", oneOf: ["rms_norm_across_heads"])
        } else {
            throw .malformed(
                path: file.path, field: "qk_norm", found: "nothing",
                expected: "\"rms_norm_across_heads\"")
        }
    }

    /// The layers of a sparse attention are beside the other tensors in checkpoints that were trained with it.
    public func matching(_ weights: any WeightSource) -> WanTransformerConfig {
        var config = self
        config.trained = TrainedAttention.allCases.first { kind in
            (0..<layers).contains { weights.contains("blocks.\($0).\(kind.layer).weight") }
        }
        return config
    }

    /// Every tensor of the checkpoint and its shape.
    public var tensors: [(name: String, shape: [Int])] {
        let d = inner
        var list = TensorList()
        let (embedder, image) = ("condition_embedder", names.image)
        list.add("patch_embedding.weight", [d, inChannels] + patch)
        list.add("patch_embedding.bias", [d])
        list.linear("\(embedder).time_embedder.linear_1", freqDim, d)
        list.linear("\(embedder).time_embedder.linear_2", d, d)
        list.linear("\(embedder).time_proj", d, 6 * d)
        list.linear("\(embedder).text_embedder.linear_1", textDim, d)
        list.linear("\(embedder).text_embedder.linear_2", d, d)
        if let imageDim {
            list.affine("\(image).norm1", imageDim)
            list.linear("\(image).ff.net.0.proj", imageDim, imageDim)
            list.linear("\(image).ff.net.2", imageDim, d)
            list.affine("\(image).norm2", d)
            if let posEmbedSeqLen { list.add("\(image).pos_embed", [1, posEmbedSeqLen, imageDim]) }
        }
        for i in 0..<layers {
            for attention in ["attn1", "attn2"] { list.attention("blocks.\(i).\(attention)", d) }
            if let addedKVProjDim {
                list.linear("blocks.\(i).attn2.add_k_proj", addedKVProjDim, d)
                list.linear("blocks.\(i).attn2.add_v_proj", addedKVProjDim, d)
                list.add("blocks.\(i).attn2.norm_added_k.weight", [d])
            }
            if let trained {
                let width = trained == .gates ? d : headDim
                list.linear("blocks.\(i).\(trained.layer)", width, width)
            }
            if crossAttentionNorm { list.affine("blocks.\(i).norm2", d) }
            list.linear("blocks.\(i).ffn.net.0.proj", d, ffnDim)
            list.linear("blocks.\(i).ffn.net.2", ffnDim, d)
            list.add("blocks.\(i).scale_shift_table", [1, 6, d])
        }
        list.add("scale_shift_table", [1, 2, d])
        list.linear("proj_out", d, outChannels * patchSize)
        return list.all
    }

    public var names: CrossTransformerNames {
        CrossTransformerNames(
            patch: "patch_embedding", time: "condition_embedder.time_embedder",
            timeProjection: "condition_embedder.time_proj", text: "condition_embedder.text_embedder",
            image: "condition_embedder.image_embedder", blocks: "blocks", feedForward: "ffn")
    }

    /// A third of the head each for time, height and width; what does not divide goes to time.
    public func rotary(_ layout: TokenLayout, frameRate: Double?, frameAhead: Int?) -> RotaryTable {
        let side = 2 * (headDim / 6)
        return RotaryTable(
            frames: layout.frames, height: layout.height, width: layout.width,
            parts: [headDim - 2 * side, side, side])
    }
}
