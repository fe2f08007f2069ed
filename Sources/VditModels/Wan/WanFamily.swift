import VditAttention
import VditFiles
import VditTensor

extension ModelCatalogue {
    /// Wan 2.1 and 2.2, text to video.
    static let wan = ModelFamily(
        name: "wan", pipelines: ["WanPipeline", "WanImageToVideoPipeline", "WanDMDPipeline"],
        distilled: ["WanDMDPipeline": "fastwan-3"],
        transformerClass: "WanTransformer3DModel", decoderClass: "AutoencoderKLWan", frameRate: 16,
        transformer: { (file, _) throws(FileError) in try WanTransformerConfig(file) },
        decoder: { (file) throws(FileError) in try WanVAEConfig(file) },
        defaults: { transformers, _, _ in
            WanModels.defaults(transformers.compactMap { $0 as? WanTransformerConfig })
        },
        published: { () throws(ModelError) in
            [
                try WanModels.published([.wan21T2V1_3B]), try WanModels.published([.wan21T2V14B]),
                try WanModels.published([.wan21T2V14B, .wan21T2V14B]),
                try WanModels.published([.fastWan21T2V1_3B], name: "fastwan2.1-t2v-1.3b", pipeline: "WanDMDPipeline"),
                try WanModels.published([.wan22TI2V5B], decoder: .wan22),
            ]
        })
}

/// The models of the family that are known by name.
enum WanModels {
    /// What is recommended, known by the shape of the transformers.
    ///
    /// - Source: samples/wan-mini/MODEL_CARD.md; github.com/Wan-Video/Wan2.1 and Wan2.2, `wan/configs`.
    static func defaults(_ transformers: [WanTransformerConfig]) -> ModelDefaults {
        var defaults = ModelDefaults(
            name: "wan", width: 832, height: 480, numFrames: 81, frameRate: 16, steps: 50, guidanceScale: 5)
        guard let config = transformers.first else { return defaults }
        defaults.textLength = config.textDim == 4096 ? 512 : nil
        // Latents of Wan 2.2's own VAE: its model is told a time per token, 0 where the picture is.
        if config.inChannels == 48 { defaults.pictureStart = PictureStart(.none) }
        switch (config.layers, config.heads, config.headDim, config.inChannels, config.textDim) {
        case (8, 3, 128, 16, 384):
            defaults.name = "wan-mini"
            (defaults.width, defaults.height) = (320, 192)
            (defaults.steps, defaults.guidanceScale, defaults.textLength) = (25, 4, 32)
        case (30, 12, 128, 16, 4096):
            defaults.name = "wan2.1-t2v-1.3b"
        case (40, 40, 128, 16, 4096) where transformers.count > 1:
            defaults.name = "wan2.2-t2v-a14b"
            (defaults.steps, defaults.guidanceScale, defaults.secondGuidanceScale) = (40, 4, 3)
        case (40, 40, 128, 16, 4096):
            defaults.name = "wan2.1-t2v-14b"
        case (30, 24, 128, 48, 4096):
            defaults.name = "wan2.2-ti2v-5b"
            (defaults.width, defaults.height) = (1280, 704)
            (defaults.numFrames, defaults.frameRate) = (121, 24)
        default:
            break
        }
        return defaults
    }

    /// Text to video; two transformers are Wan 2.2's experts.
    ///
    /// - Parameter name: where it is not that of its defaults.
    static func published(
        _ transformers: [WanTransformerConfig], decoder: WanVAEConfig = .wan21, name: String? = nil,
        pipeline: String = "WanPipeline"
    ) throws(ModelError) -> PublishedModel {
        let boundary = 0.875
        var index: [String: ConfigurationValue] = [
            "_class_name": .text(pipeline),
            "vae": .texts(["diffusers", "AutoencoderKLWan"]),
            "scheduler": .texts(["diffusers", "UniPCMultistepScheduler"]),
        ]
        var parts: [ModelSpecification.Transformer] = []
        for (position, config) in transformers.enumerated() {
            let isLast = position == transformers.count - 1
            let component = position == 0 ? "transformer" : "transformer_\(position + 1)"
            index[component] = .texts(["diffusers", "WanTransformer3DModel"])
            parts.append(.init(component: component, specification: config, boundary: isLast ? 0 : boundary))
        }
        if transformers.count > 1 { index["boundary_ratio"] = .number(boundary) }
        var defaults = defaults(transformers)
        defaults.fewStep = ModelCatalogue.wan.distilled[pipeline]
        return PublishedModel(
            try ModelSpecification(
                family: "wan", transformers: parts, decoder: decoder, defaults: defaults),
            index: index,
            scheduler: [
                "_class_name": .text("UniPCMultistepScheduler"), "flow_shift": .number(decoder == .wan21 ? 3 : 5),
                "use_flow_sigmas": .flag(true), "prediction_type": .text("flow_prediction"),
                "num_train_timesteps": .integer(1000),
            ], name: name)
    }
}

extension WanTransformerConfig: CrossTransformerConfig {
    public var conditioning: ConditioningNeeds {
        ConditioningNeeds(promptWidth: textDim, imageWidth: imageDim, takesTimePerToken: true)
    }

    public var summary: String {
        "\(layers) layers, \(heads) heads × \(headDim), feed-forward \(ffnDim), "
            + "text \(textDim), patch \(patch.map(String.init).joined(separator: "×"))"
    }

    public var configuration: [String: ConfigurationValue] {
        [
            "_class_name": .text("WanTransformer3DModel"), "num_layers": .integer(layers),
            "num_attention_heads": .integer(heads), "attention_head_dim": .integer(headDim),
            "in_channels": .integer(inChannels), "out_channels": .integer(outChannels),
            "text_dim": .integer(textDim), "freq_dim": .integer(freqDim), "ffn_dim": .integer(ffnDim),
            "eps": .number(epsilon), "patch_size": .integers(patch),
            "cross_attn_norm": .flag(crossAttentionNorm), "qk_norm": .text("rms_norm_across_heads"),
            "rope_max_seq_len": .integer(ropeMaxSeqLen),
        ]
    }

    /// The prompt is attended to by cross-attention alone.
    public func tokenLayout(_ latents: LatentShape, textTokens: Int) throws(ModelError) -> TokenLayout {
        var extents: [Int] = []
        for (name, extent, patch) in [
            ("frames", latents.frames, patch[0]), ("height", latents.height, patch[1]),
            ("width", latents.width, patch[2]),
        ] {
            guard extent > 0, extent % patch == 0 else {
                throw .invalid(
                    "latent \(name)", found: "\(extent)", expected: "a positive multiple of \(patch)",
                    kind: .badData)
            }
            guard extent / patch <= ropeMaxSeqLen else {
                throw .invalid(
                    "latent \(name)", found: "\(extent)",
                    expected: "at most \(ropeMaxSeqLen * patch), the positions of the rotary embedding",
                    kind: .badData)
            }
            extents.append(extent / patch)
        }
        return TokenLayout(frames: extents[0], height: extents[1], width: extents[2])
    }
}

extension WanVAEConfig: DecoderSpecification {
    public var latentChannels: Int { zDim }

    public var summary: String {
        "\(zDim) latent channels, \(spatialCompression)× in space, \(temporalCompression)× in time"
    }

    public var configuration: [String: ConfigurationValue] {
        [
            "_class_name": .text("AutoencoderKLWan"), "base_dim": .integer(baseDim), "z_dim": .integer(zDim),
            "dim_mult": .integers(dimMult), "num_res_blocks": .integer(numResBlocks),
            "temperal_downsample": .flags(temporalDownsample), "is_residual": .flag(isResidual),
            "in_channels": .integer(inChannels), "out_channels": .integer(outChannels),
            "latents_mean": .numbers(latentsMean), "latents_std": .numbers(latentsStd),
        ]
    }

    public func load(_ weights: any WeightSource, _ compute: ComputeContext) throws -> any VideoDecoder {
        try WanVAE(config: self, weights: weights, compute: compute)
    }

    public func loadEncoder(_ weights: any WeightSource, _ compute: ComputeContext) throws -> (any VideoEncoder)? {
        try WanVAE(config: self, weights: weights, use: .encoding, compute: compute)
    }
}
