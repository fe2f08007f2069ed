import VditFiles

extension ModelCatalogue {
    /// HunyuanVideo 1.0, from text.
    static let hunyuanVideo = ModelFamily(
        name: "hunyuan-video", pipelines: ["HunyuanVideoPipeline"],
        refused: [
            "HunyuanVideoImageToVideoPipeline": "HunyuanVideoPipeline: videos from pictures are not made; a transformer "
                + "of token replacement runs in 'vdit predict' alone"
        ],
        transformerClass: "HunyuanVideoTransformer3DModel", decoderClass: "AutoencoderKLHunyuanVideo", frameRate: 24,
        transformer: { (file, pipeline) throws(FileError) in
            let config = try HunyuanVideoTransformerConfig(file)
            // Another pipeline would give it the picture.
            if pipeline != nil, config.replacesTokens {
                throw FileError.malformed(
                    path: file.path, field: "image_condition_type", found: "token_replace",
                    expected: "null: models that begin with a picture run in 'vdit predict' alone")
            }
            return config
        },
        decoder: { (file) throws(FileError) in try HunyuanVideoVAEConfig(file) },
        defaults: { transformers, _, _ in
            HunyuanVideoModels.defaults(transformers[0] as? HunyuanVideoTransformerConfig)
        },
        published: { () throws(ModelError) in [try HunyuanVideoModels.published()] })
}

/// The models of the family that are known by name.
enum HunyuanVideoModels {
    /// What is recommended: no second call, but a guidance that the model is told.
    ///
    /// - Source: the model card of tencent/HunyuanVideo and HunyuanVideoPipeline, diffusers 0.42.1.
    static func defaults(_ transformer: HunyuanVideoTransformerConfig?) -> ModelDefaults {
        var defaults = ModelDefaults(
            name: "hunyuan-video", width: 1280, height: 720, numFrames: 129, frameRate: 24, steps: 50,
            guidanceScale: 1)
        defaults.spacing = .linearToZero
        defaults.embeddedGuidance = 6
        defaults.textLength = transformer?.textDim == 4096 ? 256 : nil
        return defaults
    }

    static func published() throws(ModelError) -> PublishedModel {
        let transformer = HunyuanVideoTransformerConfig.hunyuanVideo
        return PublishedModel(
            try ModelSpecification(
                family: "hunyuan-video", transformers: [.init(component: "transformer", specification: transformer)],
                decoder: HunyuanVideoVAEConfig.released, defaults: defaults(transformer)),
            index: [
                "_class_name": .text("HunyuanVideoPipeline"),
                "transformer": .texts(["diffusers", "HunyuanVideoTransformer3DModel"]),
                "vae": .texts(["diffusers", "AutoencoderKLHunyuanVideo"]),
                "scheduler": .texts(["diffusers", "FlowMatchEulerDiscreteScheduler"]),
            ],
            scheduler: [
                "_class_name": .text("FlowMatchEulerDiscreteScheduler"), "num_train_timesteps": .integer(1000),
                "shift": .number(7),
            ])
    }
}
