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
    /// Wan2.1 text-to-video, 14B parameters.
    public static let wan21T2V14B = WanTransformerConfig(layers: 40, heads: 40, headDim: 128, ffnDim: 13824)

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

    /// Width of the residual stream.
    public var inner: Int { heads * headDim }
    var patchSize: Int { patch.reduce(1, *) }

    /// The gates of video sparse attention, in checkpoints that were trained with it.
    public var optionalTensors: [(name: String, shape: [Int])] {
        (0..<layers).flatMap { block in
            [
                ("blocks.\(block).to_gate_compress.weight", [inner, inner]),
                ("blocks.\(block).to_gate_compress.bias", [inner]),
            ]
        }
    }

    /// Every tensor of the checkpoint and its shape.
    public var tensors: [(name: String, shape: [Int])] {
        let d = inner
        var all: [(String, [Int])] = []
        func linear(_ name: String, _ inputs: Int, _ outputs: Int) {
            all.append((name + ".weight", [outputs, inputs]))
            all.append((name + ".bias", [outputs]))
        }
        func affine(_ name: String, _ size: Int) {
            all.append((name + ".weight", [size]))
            all.append((name + ".bias", [size]))
        }
        all.append(("patch_embedding.weight", [d, inChannels] + patch))
        all.append(("patch_embedding.bias", [d]))
        linear("condition_embedder.time_embedder.linear_1", freqDim, d)
        linear("condition_embedder.time_embedder.linear_2", d, d)
        linear("condition_embedder.time_proj", d, 6 * d)
        linear("condition_embedder.text_embedder.linear_1", textDim, d)
        linear("condition_embedder.text_embedder.linear_2", d, d)
        if let imageDim {
            let name = "condition_embedder.image_embedder"
            affine("\(name).norm1", imageDim)
            linear("\(name).ff.net.0.proj", imageDim, imageDim)
            linear("\(name).ff.net.2", imageDim, d)
            affine("\(name).norm2", d)
            if let posEmbedSeqLen { all.append(("\(name).pos_embed", [1, posEmbedSeqLen, imageDim])) }
        }
        for i in 0..<layers {
            for attention in ["attn1", "attn2"] {
                let name = "blocks.\(i).\(attention)"
                for part in ["to_q", "to_k", "to_v", "to_out.0"] { linear("\(name).\(part)", d, d) }
                all.append(("\(name).norm_q.weight", [d]))
                all.append(("\(name).norm_k.weight", [d]))
            }
            if let addedKVProjDim {
                linear("blocks.\(i).attn2.add_k_proj", addedKVProjDim, d)
                linear("blocks.\(i).attn2.add_v_proj", addedKVProjDim, d)
                all.append(("blocks.\(i).attn2.norm_added_k.weight", [d]))
            }
            if crossAttentionNorm { affine("blocks.\(i).norm2", d) }
            linear("blocks.\(i).ffn.net.0.proj", d, ffnDim)
            linear("blocks.\(i).ffn.net.2", ffnDim, d)
            all.append(("blocks.\(i).scale_shift_table", [1, 6, d]))
        }
        all.append(("scale_shift_table", [1, 2, d]))
        linear("proj_out", d, outChannels * patchSize)
        return all
    }

}
