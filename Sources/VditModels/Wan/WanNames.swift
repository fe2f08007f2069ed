import VditTensor

/// What Wan's authors call its tensors. ComfyUI's and GGUF files have these names too.
enum WanNames {
    /// - Source: diffusers 0.42.1, `scripts/convert_wan_to_diffusers.py`.
    static let transformer = NameTable(
        [
            ("head.head", "proj_out"), ("head.modulation", "scale_shift_table"),
            ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
            ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
            ("time_projection.1", "condition_embedder.time_proj"),
            ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
            ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
            ("img_emb.proj.0", "condition_embedder.image_embedder.norm1"),
            ("img_emb.proj.1", "condition_embedder.image_embedder.ff.net.0.proj"),
            ("img_emb.proj.3", "condition_embedder.image_embedder.ff.net.2"),
            ("img_emb.proj.4", "condition_embedder.image_embedder.norm2"),
            ("img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed"),
            ("blocks.*.self_attn.q", "blocks.*.attn1.to_q"), ("blocks.*.self_attn.k", "blocks.*.attn1.to_k"),
            ("blocks.*.self_attn.v", "blocks.*.attn1.to_v"), ("blocks.*.self_attn.o", "blocks.*.attn1.to_out.0"),
            ("blocks.*.self_attn.norm_q", "blocks.*.attn1.norm_q"),
            ("blocks.*.self_attn.norm_k", "blocks.*.attn1.norm_k"),
            ("blocks.*.self_attn.attn_op.local_attn.proj_l", "blocks.*.attn1.attn_impl.proj_l"),
            ("blocks.*.cross_attn.q", "blocks.*.attn2.to_q"), ("blocks.*.cross_attn.k", "blocks.*.attn2.to_k"),
            ("blocks.*.cross_attn.v", "blocks.*.attn2.to_v"), ("blocks.*.cross_attn.o", "blocks.*.attn2.to_out.0"),
            ("blocks.*.cross_attn.norm_q", "blocks.*.attn2.norm_q"),
            ("blocks.*.cross_attn.norm_k", "blocks.*.attn2.norm_k"),
            ("blocks.*.cross_attn.k_img", "blocks.*.attn2.add_k_proj"),
            ("blocks.*.cross_attn.v_img", "blocks.*.attn2.add_v_proj"),
            ("blocks.*.cross_attn.norm_k_img", "blocks.*.attn2.norm_added_k"),
            ("blocks.*.norm3", "blocks.*.norm2"), ("blocks.*.ffn.0", "blocks.*.ffn.net.0.proj"),
            ("blocks.*.ffn.2", "blocks.*.ffn.net.2"), ("blocks.*.modulation", "blocks.*.scale_shift_table"),
        ])

    /// Parts of a residual block, of either VAE.
    private static let residual = [
        ("residual.0", "norm1"), ("residual.2", "conv1"), ("residual.3", "norm2"), ("residual.6", "conv2"),
        ("shortcut", "conv_shortcut"),
    ]

    /// The names of a VAE. That of 2.1 numbers the decoder's blocks through, which takes knowing how many make a level.
    ///
    /// - Returns: nil for tensors of something else.
    static func decoder(_ shapes: TensorShapes) -> NameTable? {
        guard shapes["decoder.middle.0.residual.0.gamma"] != nil else {
            return shapes["decoder.mid_block.resnets.0.norm1.gamma"] == nil ? nil : NameTable([])
        }
        var rows = [
            ("conv1", "quant_conv"), ("conv2", "post_quant_conv"), ("encoder.conv1", "encoder.conv_in"),
            ("decoder.conv1", "decoder.conv_in"),
        ]
        for part in ["encoder", "decoder"] {
            rows += [("\(part).head.0", "\(part).norm_out"), ("\(part).head.2", "\(part).conv_out")]
            rows.append(("\(part).middle.1", "\(part).mid_block.attentions.0"))
            for (theirs, ours) in [(0, 0), (2, 1)] {
                rows += block("\(part).middle.\(theirs)", "\(part).mid_block.resnets.\(ours)")
            }
        }
        let levels = shapes.count("encoder.downsamples.")
        if shapes["encoder.downsamples.0.downsamples.0.residual.0.gamma"] != nil {
            let blocks = residualBlocks(shapes, "encoder.downsamples.0.downsamples.")
            for level in 0..<levels {
                let (down, up) = ("encoder.downsamples.\(level).downsamples", "decoder.upsamples.\(level).upsamples")
                rows += block("\(down).*", "encoder.down_blocks.\(level).resnets.*")
                rows.append(("\(down).\(blocks)", "encoder.down_blocks.\(level).downsampler"))
                rows += block("\(up).*", "decoder.up_blocks.\(level).resnets.*")
                rows.append(("\(up).\(blocks + 1)", "decoder.up_blocks.\(level).upsampler"))
            }
        } else {
            rows += block("encoder.downsamples.*", "encoder.down_blocks.*")
            rows.append(("encoder.downsamples", "encoder.down_blocks"))
            let blocks = residualBlocks(shapes, "encoder.downsamples.")
            for index in 0..<shapes.count("decoder.upsamples.") {
                let (level, place) = (index / (blocks + 2), index % (blocks + 2))
                let ours = "decoder.up_blocks.\(level)." + (place > blocks ? "upsamplers.0" : "resnets.\(place)")
                rows += block("decoder.upsamples.\(index)", ours)
                rows.append(("decoder.upsamples.\(index)", ours))
            }
        }
        return NameTable(rows)
    }

    private static func block(_ theirs: String, _ ours: String) -> [(String, String)] {
        residual.map { ("\(theirs).\($0.0)", "\(ours).\($0.1)") }
    }

    /// How many residual blocks stand before the first downsampler.
    private static func residualBlocks(_ shapes: TensorShapes, _ beginning: String) -> Int {
        (0..<64).first { shapes["\(beginning)\($0).resample.1.weight"] != nil } ?? 2
    }
}
