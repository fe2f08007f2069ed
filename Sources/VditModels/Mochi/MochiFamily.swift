import VditFiles

extension ModelCatalogue {
    /// Mochi 1 preview.
    static let mochi = ModelFamily(
        name: "mochi", pipelines: ["MochiPipeline"], transformerClass: "MochiTransformer3DModel",
        decoderClass: "AutoencoderKLMochi", frameRate: 30,
        transformer: { (file, _) throws(FileError) in try MochiTransformerConfig(file) },
        decoder: { (file) throws(FileError) in try MochiVAEConfig(file) },
        defaults: { transformers, _, _ in MochiModels.defaults(transformers[0] as? MochiTransformerConfig) },
        published: { () throws(ModelError) in [try MochiModels.published()] })
}

/// The models of the family that are known by name.
enum MochiModels {
    /// What is recommended; the pipeline's own default is 19 frames.
    ///
    /// - Source: the model card of genmo/mochi-1-preview and MochiPipeline, diffusers 0.42.1.
    static func defaults(_ transformer: MochiTransformerConfig?) -> ModelDefaults {
        var defaults = ModelDefaults(
            name: "mochi", width: 848, height: 480, numFrames: 163, frameRate: 30, steps: 64, guidanceScale: 4.5)
        defaults.spacing = .linearQuadratic(threshold: 0.025)
        defaults.textLength = transformer?.textDim == 4096 ? 256 : nil
        return defaults
    }

    static func published() throws(ModelError) -> PublishedModel {
        let transformer = MochiTransformerConfig.mochi1
        return PublishedModel(
            try ModelSpecification(
                family: "mochi", transformers: [.init(component: "transformer", specification: transformer)],
                decoder: MochiVAEConfig.released, defaults: defaults(transformer)),
            index: [
                "_class_name": .text("MochiPipeline"),
                "transformer": .texts(["diffusers", "MochiTransformer3DModel"]),
                "vae": .texts(["diffusers", "AutoencoderKLMochi"]),
                "scheduler": .texts(["diffusers", "FlowMatchEulerDiscreteScheduler"]),
                "force_zeros_for_empty_prompt": .flag(true),
            ],
            scheduler: [
                "_class_name": .text("FlowMatchEulerDiscreteScheduler"), "num_train_timesteps": .integer(1000),
                "shift": .number(1), "invert_sigmas": .flag(true),
            ])
    }
}
