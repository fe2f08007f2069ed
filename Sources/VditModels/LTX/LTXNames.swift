import VditTensor

/// What LTX-Video's authors call its tensors: in their own single files, ComfyUI's and GGUF.
enum LTXNames {
    /// - Source: diffusers 0.42.1, `scripts/convert_ltx_to_diffusers.py`.
    static let transformer = NameTable(
        [
            ("patchify_proj", "proj_in"),
            ("adaln_single.emb.timestep_embedder.linear_1", "time_embed.emb.timestep_embedder.linear_1"),
            ("adaln_single.emb.timestep_embedder.linear_2", "time_embed.emb.timestep_embedder.linear_2"),
            ("adaln_single.linear", "time_embed.linear"),
            ("transformer_blocks.*.attn1.q_norm", "transformer_blocks.*.attn1.norm_q"),
            ("transformer_blocks.*.attn1.k_norm", "transformer_blocks.*.attn1.norm_k"),
            ("transformer_blocks.*.attn2.q_norm", "transformer_blocks.*.attn2.norm_q"),
            ("transformer_blocks.*.attn2.k_norm", "transformer_blocks.*.attn2.norm_k"),
        ])

    /// Our blocks of a decoder and an encoder, in the order in which the authors number them through.
    private struct Blocks {
        let decoder: [String]
        let encoder: [String]
    }

    private static let plainEncoder = [
        "down_blocks.0", "down_blocks.0.downsamplers.0", "down_blocks.0.conv_out", "down_blocks.1",
        "down_blocks.1.downsamplers.0", "down_blocks.1.conv_out", "down_blocks.2", "down_blocks.2.downsamplers.0",
        "down_blocks.3", "mid_block",
    ]
    private static let timedDecoder = [
        "mid_block", "up_blocks.0.upsamplers.0", "up_blocks.0", "up_blocks.1.upsamplers.0", "up_blocks.1",
        "up_blocks.2.upsamplers.0", "up_blocks.2", "up_blocks.3.upsamplers.0", "up_blocks.3",
    ]
    /// Of 0.9.0.
    private static let plain = Blocks(
        decoder: [
            "mid_block", "up_blocks.0", "up_blocks.1.upsamplers.0", "up_blocks.1", "up_blocks.2.conv_in",
            "up_blocks.2.upsamplers.0", "up_blocks.2", "up_blocks.3.conv_in", "up_blocks.3.upsamplers.0",
            "up_blocks.3",
        ], encoder: plainEncoder)
    /// Of 0.9.1.
    private static let timed = Blocks(decoder: timedDecoder, encoder: plainEncoder)
    /// Of 0.9.5 and later.
    private static let folded = Blocks(
        decoder: timedDecoder,
        encoder: [
            "down_blocks.0", "down_blocks.0.downsamplers.0", "down_blocks.1", "down_blocks.1.downsamplers.0",
            "down_blocks.2", "down_blocks.2.downsamplers.0", "down_blocks.3", "down_blocks.3.downsamplers.0",
            "mid_block",
        ])

    /// The names of a VAE, by its release.
    ///
    /// - Returns: nil for tensors of something else.
    static func decoder(_ shapes: TensorShapes) -> NameTable? {
        guard shapes["per_channel_statistics.mean-of-means"] != nil, shapes["decoder.conv_in.conv.weight"] != nil else {
            let isRenamed = shapes["latents_mean"] != nil && shapes["decoder.conv_in.conv.weight"] != nil
            return isRenamed ? NameTable([]) : nil
        }
        let blocks = switch release(shapes) {
        case .plain: plain
        case .timed: timed
        default: folded
        }
        var rows = [
            ("per_channel_statistics.mean-of-means", "latents_mean"),
            ("per_channel_statistics.std-of-means", "latents_std"),
            ("decoder.last_time_embedder", "decoder.time_embedder"),
            ("decoder.last_scale_shift_table", "decoder.scale_shift_table"),
        ]
        for (part, numbered, names) in [
            ("decoder", "up_blocks", blocks.decoder), ("encoder", "down_blocks", blocks.encoder),
        ] {
            for (index, name) in names.enumerated() {
                let (theirs, ours) = ("\(part).\(numbered).\(index)", "\(part).\(name)")
                rows += [(theirs, ours), ("\(theirs).res_blocks", "\(ours).resnets")]
                for (block, own) in [(theirs, ours), ("\(theirs).res_blocks.*", "\(ours).resnets.*")] {
                    rows += [
                        ("\(block).conv_shortcut", "\(own).conv_shortcut.conv"), ("\(block).norm3.norm", "\(own).norm3"),
                    ]
                }
            }
        }
        return NameTable(rows, ignored: ["per_channel_statistics."])
    }

    /// Which of the released VAEs it is.
    static func release(_ shapes: TensorShapes) -> LTXVAEConfig {
        if shapes.extent("encoder.conv_out.conv.weight", 1) == 2048 { return .folded }
        let isTimed = shapes.name(with: "last_time_embedder") ?? shapes.name(with: "decoder.time_embedder")
        return isTimed == nil ? .plain : .timed
    }
}

extension FamilyReading {
    /// LTX-Video's files without a configuration.
    static let ltx = FamilyReading(
        transformer: PartReading(
            names: { shapes in
                let first = shapes["patchify_proj.weight"] ?? shapes["proj_in.weight"]
                let isOne = first != nil && shapes["transformer_blocks.0.scale_shift_table"] != nil
                return isOne ? LTXNames.transformer : nil
            },
            specification: { shapes throws(ModelError) in try LTXTransformerConfig(shapes) }),
        decoder: PartReading(names: LTXNames.decoder, specification: { shapes in LTXNames.release(shapes) }),
        gguf: ("ltxv", LTXNames.transformer),
        assumed: { transformers, decoder in
            let isLarge = transformers.first?.layers == LTXTransformerConfig.ltx13B.layers
            return AssumedParts(
                scheduler: LTXModels.scheduler(for: decoder as? LTXVAEConfig),
                pipeline: isLarge ? LTXModels.conditioned : "LTXPipeline")
        })
}

extension LTXTransformerConfig {
    /// What the shapes of its tensors say, by our names. The number of heads is in none: 32, as in every release.
    ///
    /// - Throws: `ModelError.invalid` naming a tensor.
    init(_ shapes: TensorShapes) throws(ModelError) {
        let width = try shapes.size("proj_in.weight", 0)
        guard width % (8 * Self.ltx2B.heads) == 0 else {
            throw .invalid(
                "size of a head", found: "rows of \(width), which are no 32 heads of a multiple of 8",
                expected: "a config.json beside the file that says it", kind: .badData)
        }
        self.init(
            layers: shapes.count("transformer_blocks."), heads: Self.ltx2B.heads, headDim: width / Self.ltx2B.heads,
            inChannels: try shapes.size("proj_in.weight", 1), outChannels: try shapes.size("proj_out.weight", 0),
            textDim: try shapes.size("caption_projection.linear_1.weight", 1))
        if layers == Self.ltx13B.layers { timing = LTXModels.timing(LTXModels.conditioned) }
    }
}
