import VditAttention
import VditFiles
import VditTensor

extension ModelCatalogue {
    /// LTX-Video 0.9.0 to 0.9.8.
    static let ltx = ModelFamily(
        name: "ltx", pipelines: ["LTXPipeline", "LTXImageToVideoPipeline", "LTXConditionPipeline"],
        refused: [
            "LTXLatentUpsamplePipeline": "a model that makes videos; the latent upsampler of the two-pass recipe is not "
                + "included: few-step ltx-0.9.8 is its first pass, at the size asked for"
        ],
        transformerClass: "LTXVideoTransformer3DModel", decoderClass: "AutoencoderKLLTXVideo", frameRate: 25,
        transformer: { (file, pipeline) throws(FileError) in
            var config = try LTXTransformerConfig(file)
            config.timing = LTXModels.timing(pipeline)
            return config
        },
        decoder: { (file) throws(FileError) in try LTXVAEConfig(file) },
        defaults: { LTXModels.defaults($0[0] as? LTXTransformerConfig, $1 as? LTXVAEConfig, pipeline: $2) },
        reading: .ltx,
        published: { () throws(ModelError) in
            [
                try LTXModels.published(.ltx2B, .plain, pipeline: "LTXPipeline"),
                try LTXModels.published(.ltx2B, .timed, pipeline: "LTXPipeline"),
                try LTXModels.published(.ltx2B, .folded, pipeline: "LTXPipeline"),
                try LTXModels.published(.ltx2B, .folded, pipeline: LTXModels.conditioned),
                try LTXModels.published(.ltx13B, .folded, pipeline: LTXModels.conditioned),
            ]
        })
}

/// The models of the family that are known by name.
enum LTXModels {
    /// The pipeline that 0.9.7 and 0.9.8 are published with.
    static let conditioned = "LTXConditionPipeline"

    static func timing(_ pipeline: String?) -> LTXTransformerConfig.Timing {
        pipeline == conditioned ? .firstFrame : .regular
    }

    /// What is recommended, known by the shapes of transformer and VAE and by the pipeline.
    ///
    /// - Source: the model cards of Lightricks/LTX-Video and its pipelines in diffusers 0.42.1.
    static func defaults(
        _ transformer: LTXTransformerConfig?, _ decoder: LTXVAEConfig?, pipeline: String?
    ) -> ModelDefaults {
        var defaults = ModelDefaults(
            name: "ltx-video", width: 704, height: 512, numFrames: 161, frameRate: 25, steps: 50, guidanceScale: 3)
        let isConditioned = pipeline == conditioned
        defaults.spacing = isConditioned ? .linearQuadratic(threshold: 0.025) : .linearToLast
        defaults.pictureStart = isConditioned
            ? PictureStart(.afterStart, noiseScale: 0.15, last: .optional) : PictureStart(.beforeStart)
        guard let transformer else { return defaults }
        defaults.textLength = transformer.textDim != 4096 ? nil : isConditioned ? 256 : 128
        let isSmall = transformer.layers == LTXTransformerConfig.ltx2B.layers && transformer.inner == 2048
        let isLarge = transformer.layers == LTXTransformerConfig.ltx13B.layers && transformer.inner == 4096
        if isLarge {
            defaults.name = "ltx-video-13b"
            (defaults.width, defaults.height) = (1216, 704)
            (defaults.numFrames, defaults.frameRate) = (121, 30)
        } else if isSmall, let decoder {
            let release = decoder == .plain ? "0.9.0" : decoder == .timed ? "0.9.1" : isConditioned ? "0.9.8" : "0.9.5"
            defaults.name = "ltx-video-2b-\(release)"
        }
        return defaults
    }

    /// What a `scheduler_config.json` of the family says: the shift grows with the video up to 0.9.1.
    static func scheduler(for decoder: LTXVAEConfig?) -> [String: ConfigurationValue] {
        var scheduler: [String: ConfigurationValue] = [
            "_class_name": .text("FlowMatchEulerDiscreteScheduler"), "num_train_timesteps": .integer(1000),
            "shift": .number(1),
        ]
        if decoder != .folded {
            for (key, value) in [
                ("base_shift", 0.95), ("max_shift", 2.05), ("shift_terminal", 0.1),
            ] { scheduler[key] = .number(value) }
            scheduler["use_dynamic_shifting"] = .flag(true)
            scheduler["base_image_seq_len"] = .integer(1024)
            scheduler["max_image_seq_len"] = .integer(4096)
        }
        return scheduler
    }

    static func published(
        _ transformer: LTXTransformerConfig, _ decoder: LTXVAEConfig, pipeline: String
    ) throws(ModelError) -> PublishedModel {
        var transformer = transformer
        transformer.timing = timing(pipeline)
        return PublishedModel(
            try ModelSpecification(
                family: "ltx", transformers: [.init(component: "transformer", specification: transformer)],
                decoder: decoder, defaults: defaults(transformer, decoder, pipeline: pipeline)),
            index: [
                "_class_name": .text(pipeline),
                "transformer": .texts(["diffusers", "LTXVideoTransformer3DModel"]),
                "vae": .texts(["diffusers", "AutoencoderKLLTXVideo"]),
                "scheduler": .texts(["diffusers", "FlowMatchEulerDiscreteScheduler"]),
            ],
            scheduler: scheduler(for: decoder))
    }
}

extension LTXVAEConfig: DecoderSpecification {
    static let timestepScale = "decoder.timestep_scale_multiplier"

    /// Every tensor of the checkpoint and its shape.
    public var tensors: [(name: String, shape: [Int])] {
        encoderStages.tensors + decoderStages.tensors + embedderTensors
            + (decoder.takesTime ? [(Self.timestepScale, [])] : [])
            + [("latents_mean", [latentChannels]), ("latents_std", [latentChannels])]
    }

    public var summary: String {
        "\(latentChannels) latent channels, \(spatialCompression)× in space, \(temporalCompression)× in time"
            + (decoder.takesTime ? ", told the time" : "")
    }

    public var takesConditions: Bool { decoder.takesTime }

    public var configuration: [String: ConfigurationValue] {
        let levels = encoder.downsamplers
        let isFolded = encoder.widensInDownsampler
        return [
            "_class_name": .text("AutoencoderKLLTXVideo"), "in_channels": .integer(3), "out_channels": .integer(3),
            "latent_channels": .integer(latentChannels), "patch_size": .integer(patchSize), "patch_size_t": .integer(1),
            "block_out_channels": .integers(encoder.channels), "layers_per_block": .integers(encoder.layers),
            "down_block_types": .texts(
                levels.map { _ in isFolded ? "LTXVideo095DownBlock3D" : "LTXVideoDownBlock3D" }),
            "downsample_type": .texts(levels.map { $0 == .none ? (isFolded ? "spatial" : "conv") : $0.rawValue }),
            "spatio_temporal_scaling": .flags(levels.map { $0 != .none }),
            "decoder_block_out_channels": .integers(
                zip(decoder.channels.dropFirst(), decoder.factors).map { $0 * $1 }.reversed()),
            "decoder_layers_per_block": .integers(decoder.layers.reversed()),
            "decoder_inject_noise": .flags(decoder.injectsNoise.reversed()),
            "decoder_spatio_temporal_scaling": .flags(decoder.doubles.reversed()),
            "upsample_residual": .flags(decoder.addsInput.reversed()),
            "upsample_factor": .integers(decoder.factors.reversed()),
            "timestep_conditioning": .flag(decoder.takesTime), "scaling_factor": .number(1),
            "spatial_compression_ratio": .integer(spatialCompression),
            "temporal_compression_ratio": .integer(temporalCompression),
        ]
    }

    public func decodeFLOPs(height: Int, width: Int, frames: Int) -> Double {
        decoderStages.flops(
            VAEClip(frames: frames, height: height / spatialCompression, width: width / spatialCompression))
    }

    public func decodeBytes(height: Int, width: Int, operandBytes: Int) -> Int {
        let latent = VAEClip(frames: 1, height: height / spatialCompression, width: width / spatialCompression)
        return decoderStages.bytes(latent, operandBytes: operandBytes) + 2 * 3 * height * width * 4
    }

    public func load(_ weights: any WeightSource, _ compute: ComputeContext) throws -> any VideoDecoder {
        try LTXVAE(config: self, weights: weights, compute: compute)
    }

    public func loadEncoder(_ weights: any WeightSource, _ compute: ComputeContext) throws -> (any VideoEncoder)? {
        try LTXVAE(config: self, weights: weights, use: .encoding, compute: compute)
    }
}
