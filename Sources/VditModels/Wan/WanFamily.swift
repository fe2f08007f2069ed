import VditAttention
import VditFiles
import VditTensor

extension ModelCatalogue {
    /// Wan 2.1 and 2.2, from text and from pictures.
    static let wan = ModelFamily(
        name: "wan", pipelines: ["WanPipeline", "WanImageToVideoPipeline", "WanDMDPipeline"],
        distilled: ["WanDMDPipeline": "fastwan-3"],
        transformerClass: "WanTransformer3DModel", decoderClass: "AutoencoderKLWan", frameRate: 16,
        transformer: { (file, _) throws(FileError) in try WanTransformerConfig(file) },
        decoder: { (file) throws(FileError) in try WanVAEConfig(file) },
        defaults: { transformers, _, _ in
            WanModels.defaults(transformers.compactMap { $0 as? WanTransformerConfig })
        },
        reading: .wan,
        published: { () throws(ModelError) in
            [
                try WanModels.published([.wan21T2V1_3B]), try WanModels.published([.wan21T2V14B]),
                try WanModels.published([.wan21T2V14B, .wan21T2V14B]),
                try WanModels.published([.fastWan21T2V1_3B], name: "fastwan2.1-t2v-1.3b", pipeline: "WanDMDPipeline"),
                try WanModels.published([.wan22TI2V5B], decoder: .wan22, flowShift: 5),
                try WanModels.published([.wan21I2V14B], pipeline: WanModels.fromPictures),
                try WanModels.published([.wan21FLF2V14B], pipeline: WanModels.fromPictures, flowShift: 16),
                try WanModels.published(
                    [.wan22I2VA14B, .wan22I2VA14B], boundary: 0.9, pipeline: WanModels.fromPictures),
            ]
        })
}

/// The models of the family that are known by name.
enum WanModels {
    /// The pipeline of models that make videos from pictures alone.
    static let fromPictures = "WanImageToVideoPipeline"

    /// What is recommended, known by the shape of the transformers.
    ///
    /// - Source: samples/wan-mini/MODEL_CARD.md; github.com/Wan-Video/Wan2.1 and Wan2.2, `wan/configs`.
    static func defaults(_ transformers: [WanTransformerConfig]) -> ModelDefaults {
        var defaults = ModelDefaults(
            name: "wan", width: 832, height: 480, numFrames: 81, frameRate: 16, steps: 50, guidanceScale: 5)
        guard let config = transformers.first else { return defaults }
        defaults.textLength = config.textDim == 4096 ? 512 : nil
        defaults.pictureStart = pictureStart(config)
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
        case (40, 40, 128, 36, 4096) where transformers.count > 1:
            defaults.name = "wan2.2-i2v-a14b"
            (defaults.steps, defaults.guidanceScale, defaults.secondGuidanceScale) = (40, 3.5, 3.5)
        case (40, 40, 128, 36, 4096) where config.posEmbedSeqLen != nil:
            defaults.name = "wan2.1-flf2v-14b"
            (defaults.width, defaults.height) = (1280, 720)
        case (40, 40, 128, 36, 4096) where config.imageDim != nil:
            defaults.name = "wan2.1-i2v-14b"
            defaults.steps = 40
        case (30, 24, 128, 48, 4096):
            defaults.name = "wan2.2-ti2v-5b"
            (defaults.width, defaults.height) = (1280, 704)
            (defaults.numFrames, defaults.frameRate) = (121, 24)
        default:
            break
        }
        return defaults
    }

    /// How a video begins with a picture: by the channels a transformer takes.
    private static func pictureStart(_ config: WanTransformerConfig) -> PictureStart? {
        if config.conditionChannels > 0 {
            // An image encoder's tokens are those of one picture, unless there are positions for more.
            let last: PictureStart.Need =
                config.imageDim == nil ? .optional : config.posEmbedSeqLen == nil ? .none : .required
            return PictureStart(.none, place: .channels, last: last)
        }
        // Latents of Wan 2.2's own VAE: its model is told a time per token, 0 where the picture is.
        return config.inChannels == 48 ? PictureStart(.none) : nil
    }

    /// Two transformers are Wan 2.2's experts.
    ///
    /// - Parameters:
    ///   - boundary: of two, where the second begins to serve.
    ///   - name: where it is not that of its defaults.
    static func published(
        _ transformers: [WanTransformerConfig], boundary: Double = 0.875, decoder: WanVAEConfig = .wan21,
        name: String? = nil, pipeline: String = "WanPipeline", flowShift: Double = 3
    ) throws(ModelError) -> PublishedModel {
        var index: [String: ConfigurationValue] = [
            "_class_name": .text(pipeline),
            "vae": .texts(["diffusers", "AutoencoderKLWan"]),
            "scheduler": .texts(["diffusers", "UniPCMultistepScheduler"]),
        ]
        if transformers.contains(where: { $0.imageDim != nil }) {
            index["image_encoder"] = .texts(["transformers", "CLIPVisionModel"])
            index["image_processor"] = .texts(["transformers", "CLIPImageProcessor"])
        }
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
            scheduler: scheduler(shift: flowShift), name: name)
    }
}

extension WanTransformerConfig: CrossTransformerConfig {
    public var conditioning: ConditioningNeeds {
        ConditioningNeeds(
            promptWidth: textDim, imageWidth: imageDim, imageTokens: posEmbedSeqLen, takesTimePerToken: true)
    }

    public var summary: String {
        "\(layers) layers, \(heads) heads × \(headDim), feed-forward \(ffnDim), "
            + "text \(textDim), patch \(patch.map(String.init).joined(separator: "×"))"
    }

    public var configuration: [String: ConfigurationValue] {
        var values: [String: ConfigurationValue] = [
            "_class_name": .text("WanTransformer3DModel"), "num_layers": .integer(layers),
            "num_attention_heads": .integer(heads), "attention_head_dim": .integer(headDim),
            "in_channels": .integer(inChannels), "out_channels": .integer(outChannels),
            "text_dim": .integer(textDim), "freq_dim": .integer(freqDim), "ffn_dim": .integer(ffnDim),
            "eps": .number(epsilon), "patch_size": .integers(patch),
            "cross_attn_norm": .flag(crossAttentionNorm), "qk_norm": .text("rms_norm_across_heads"),
            "rope_max_seq_len": .integer(ropeMaxSeqLen),
        ]
        for (key, value) in [
            ("image_dim", imageDim), ("added_kv_proj_dim", addedKVProjDim), ("pos_embed_seq_len", posEmbedSeqLen),
        ] { values[key] = value.map { .integer($0) } }
        return values
    }

    /// The prompt is attended to by cross-attention alone.
    public func tokenLayout(_ latents: LatentShape, textTokens: Int) throws(ModelError) -> TokenLayout {
        let extents = try tokenExtents(latents, atMost: [ropeMaxSeqLen, ropeMaxSeqLen, ropeMaxSeqLen])
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
            "decoder_base_dim": .integer(decoderBaseDim), "patch_size": .integer(patchSize),
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
