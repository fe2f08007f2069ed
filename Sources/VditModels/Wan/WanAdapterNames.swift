extension WanTransformerConfig {
    /// Wan's own names beside those of diffusers, and the modules only image-to-video models have.
    ///
    /// - Source: diffusers 0.42.1, `_convert_non_diffusers_wan_lora_to_diffusers`.
    public var adapterNames: AdapterNames {
        var aliases = [
            ("patch_embedding", "patch_embedding"), ("head.head", "proj_out"), ("head", ""),
            ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
            ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
            ("time_projection.1", "condition_embedder.time_proj"),
            ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
            ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
            ("img_emb.proj.0", "condition_embedder.image_embedder.norm1"),
            ("img_emb.proj.1", "condition_embedder.image_embedder.ff.net.0.proj"),
            ("img_emb.proj.3", "condition_embedder.image_embedder.ff.net.2"),
            ("img_emb.proj.4", "condition_embedder.image_embedder.norm2"),
        ]
        let parts = [
            ("self_attn.q", "attn1.to_q"), ("self_attn.k", "attn1.to_k"), ("self_attn.v", "attn1.to_v"),
            ("self_attn.o", "attn1.to_out.0"), ("self_attn.norm_q", "attn1.norm_q"),
            ("self_attn.norm_k", "attn1.norm_k"),
            ("cross_attn.q", "attn2.to_q"), ("cross_attn.k", "attn2.to_k"), ("cross_attn.v", "attn2.to_v"),
            ("cross_attn.o", "attn2.to_out.0"), ("cross_attn.norm_q", "attn2.norm_q"),
            ("cross_attn.norm_k", "attn2.norm_k"), ("cross_attn.k_img", "attn2.add_k_proj"),
            ("cross_attn.v_img", "attn2.add_v_proj"), ("cross_attn.norm_k_img", "attn2.norm_added_k"),
            ("norm3", "norm2"), ("ffn.0", "ffn.net.0.proj"), ("ffn.2", "ffn.net.2"),
        ]
        for block in 0..<layers {
            aliases += parts.map { ("blocks.\(block).\($0.0)", "blocks.\(block).\($0.1)") }
        }
        return AdapterNames(
            tensors: tensors, aliases: aliases, sizes: [1536: "1.3B", 3072: "5B", 5120: "14B"])
    }
}
