extension WanTransformerConfig {
    /// Wan's own names beside those of diffusers, and the modules only image-to-video models have.
    ///
    /// - Source: diffusers 0.42.1, `_convert_non_diffusers_wan_lora_to_diffusers`.
    public var adapterNames: AdapterNames {
        AdapterNames(
            tensors: tensors,
            aliases: [("patch_embedding", "patch_embedding"), ("head", "")]
                + WanNames.transformer.rows(numbered: layers),
            sizes: [1536: "1.3B", 3072: "5B", 5120: "14B"])
    }
}
