import VditFiles

extension ModelCatalogue {
    /// CogVideoX 2B and 5B, CogVideoX 1.5 5B.
    static let cogVideoX = ModelFamily(
        name: "cogvideox", pipelines: ["CogVideoXPipeline"],
        refused: [
            "CogVideoXImageToVideoPipeline": "CogVideoXPipeline: videos from pictures are not made, those of text are"
        ],
        transformerClass: "CogVideoXTransformer3DModel", decoderClass: "AutoencoderKLCogVideoX", frameRate: 8,
        prediction: .velocity,
        transformer: { (file, _) throws(FileError) in try CogVideoXTransformerConfig(file) },
        decoder: { (file) throws(FileError) in try CogVideoXVAEConfig(file) },
        defaults: { transformers, _, _ in CogVideoXModels.defaults(transformers[0] as? CogVideoXTransformerConfig) },
        published: { () throws(ModelError) in
            [
                try CogVideoXModels.published(.cogVideoX2B, .small, scheduler: "CogVideoXDDIMScheduler", shift: 3),
                try CogVideoXModels.published(.cogVideoX5B, .large, scheduler: "CogVideoXDPMScheduler", shift: 1),
                try CogVideoXModels.published(.cogVideoX15_5B, .large, scheduler: "CogVideoXDPMScheduler", shift: 1),
            ]
        })
}

/// The models of the family that are known by name.
enum CogVideoXModels {
    /// What is recommended, known by the shape of the transformer.
    ///
    /// - Source: the model cards of THUDM/CogVideoX-2b, -5b and 1.5-5B, and their pipeline in diffusers 0.42.1, which
    ///   pads prompts to 226 tokens whatever the configuration says.
    static func defaults(_ transformer: CogVideoXTransformerConfig?) -> ModelDefaults {
        var defaults = ModelDefaults(
            name: "cogvideox", width: 720, height: 480, numFrames: 49, frameRate: 8, steps: 50, guidanceScale: 6)
        defaults.drawOrder = .framesFirst
        guard let transformer else { return defaults }
        defaults.textLength = transformer.textDim == 4096 ? 226 : nil
        // Guidance swings along the loop of the sampler that the rotary models are published with.
        defaults.guidanceSchedule = transformer.isRotary ? .cosine : .constant
        if transformer.framePatch > 1 {
            (defaults.width, defaults.height) = (1360, 768)
            (defaults.numFrames, defaults.frameRate) = (81, 16)
        }
        switch (transformer.layers, transformer.heads, transformer.framePatch) {
        case (30, 30, 1): defaults.name = "cogvideox-2b"
        case (42, 48, 1): defaults.name = "cogvideox-5b"
        case (42, 48, 2): defaults.name = "cogvideox1.5-5b"
        default: break
        }
        return defaults
    }

    static func published(
        _ transformer: CogVideoXTransformerConfig, _ decoder: CogVideoXVAEConfig, scheduler: String, shift: Double
    ) throws(ModelError) -> PublishedModel {
        PublishedModel(
            try ModelSpecification(
                family: "cogvideox", transformers: [.init(component: "transformer", specification: transformer)],
                decoder: decoder, defaults: defaults(transformer), prediction: .velocity),
            index: [
                "_class_name": .text("CogVideoXPipeline"),
                "transformer": .texts(["diffusers", "CogVideoXTransformer3DModel"]),
                "vae": .texts(["diffusers", "AutoencoderKLCogVideoX"]),
                "scheduler": .texts(["diffusers", scheduler]),
            ],
            scheduler: [
                "_class_name": .text(scheduler), "num_train_timesteps": .integer(1000),
                "beta_start": .number(0.00085), "beta_end": .number(0.012), "beta_schedule": .text("scaled_linear"),
                "prediction_type": .text("v_prediction"), "timestep_spacing": .text("trailing"),
                "rescale_betas_zero_snr": .flag(true), "snr_shift_scale": .number(shift),
                "set_alpha_to_one": .flag(true), "clip_sample": .flag(false),
            ])
    }
}
