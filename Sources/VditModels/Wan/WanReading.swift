import VditTensor

extension FamilyReading {
    /// Wan's files without a configuration: the authors' own, ComfyUI's and GGUF.
    static let wan = FamilyReading(
        transformer: PartReading(
            names: { shapes in
                let isOriginal = shapes["head.modulation"] != nil && shapes["blocks.0.self_attn.q.weight"] != nil
                let isRenamed = shapes["condition_embedder.time_proj.weight"] != nil
                    && shapes["blocks.0.attn1.to_q.weight"] != nil
                return isOriginal || isRenamed ? WanNames.transformer : nil
            },
            specification: { shapes throws(ModelError) in try WanTransformerConfig(shapes) }),
        decoder: PartReading(
            names: WanNames.decoder, specification: { shapes throws(ModelError) in try WanVAEConfig(shapes) }),
        gguf: ("wan", WanNames.transformer),
        assumed: { transformers, decoder in WanModels.assumed(transformers.count, transformers.first, decoder) })
}

extension WanModels {
    /// - Source: the defaults of Wan2.1 and Wan2.2, `wan/configs`.
    static func assumed(
        _ count: Int, _ transformer: (any TransformerSpecification)?, _ decoder: any DecoderSpecification
    ) -> AssumedParts {
        let takesPictures = transformer?.inputChannels == 36
        let isLarge = transformer.map { $0.heads * $0.headDim == 5120 } ?? false
        // One expert of two has the shape of a 2.1 model of text; of pictures, that one has an image encoder.
        let isOneOfTwo = count == 1 && isLarge
            && (takesPictures ? transformer?.conditioning.imageWidth == nil : decoder.latentChannels == 16)
        var shift = 3.0
        if decoder.latentChannels == 48 || count > 1 && takesPictures { shift = 5 }
        if count > 1, !takesPictures { shift = 12 }
        return AssumedParts(
            scheduler: scheduler(shift: shift), pipeline: takesPictures ? "WanImageToVideoPipeline" : "WanPipeline",
            boundary: takesPictures ? 0.9 : 0.875,
            notice: isOneOfTwo
                ? (takesPictures ? "one expert of Wan 2.2's two" : "a Wan 2.1 model, or one expert of Wan 2.2's two")
                    + "; the other goes with --transformer-2" : nil)
    }

    /// What a `scheduler_config.json` of the family says.
    static func scheduler(shift: Double) -> [String: ConfigurationValue] {
        [
            "_class_name": .text("UniPCMultistepScheduler"), "flow_shift": .number(shift),
            "use_flow_sigmas": .flag(true), "prediction_type": .text("flow_prediction"),
            "num_train_timesteps": .integer(1000),
        ]
    }
}

extension WanTransformerConfig {
    /// What the shapes of its tensors say, by our names. The size of a head is in none: 128, as in every release.
    ///
    /// - Throws: `ModelError.invalid` naming a tensor, `.unsupported` for a width that heads of 128 do not divide.
    init(_ shapes: TensorShapes) throws(ModelError) {
        let width = try shapes.size("scale_shift_table", max(0, (shapes["scale_shift_table"]?.count ?? 1) - 1))
        guard width % 128 == 0 else {
            throw .invalid(
                "size of a head", found: "rows of \(width), which heads of 128 do not divide",
                expected: "a config.json beside the file that says it", kind: .badData)
        }
        // Formats of few axes have the first two as one.
        let patch = shapes["patch_embedding.weight"] ?? []
        let isMerged = patch.count == 4
        guard isMerged || patch.count == 5, patch[0] % width == 0, isMerged || patch[0] == width else {
            throw .invalid(
                "tensor patch_embedding.weight", found: "shape \(patch)",
                expected: "[\(width), channels, frames, height, width]", kind: .badData)
        }
        let extents = Array(patch.suffix(3))
        let outputs = try shapes.size("proj_out.weight", 0)
        self.init(
            layers: shapes.count("blocks."), heads: width / 128, headDim: 128,
            inChannels: isMerged ? patch[0] / width : patch[1], outChannels: outputs / max(1, extents.reduce(1, *)),
            textDim: try shapes.size("condition_embedder.text_embedder.linear_1.weight", 1),
            freqDim: try shapes.size("condition_embedder.time_embedder.linear_1.weight", 1),
            ffnDim: try shapes.size("blocks.0.ffn.net.0.proj.weight", 0), patch: extents,
            crossAttentionNorm: shapes["blocks.0.norm2.weight"] != nil,
            imageDim: shapes.extent("condition_embedder.image_embedder.ff.net.0.proj.weight", 1),
            addedKVProjDim: shapes.extent("blocks.0.attn2.add_k_proj.weight", 1),
            posEmbedSeqLen: shapes.extent("condition_embedder.image_embedder.pos_embed", 1))
    }
}

extension WanVAEConfig {
    /// What the shapes of its tensors say, by our names. What latents are normalised by is known by their channels.
    ///
    /// - Throws: `ModelError.invalid` naming a tensor, `.unsupported` for other latents than Wan's.
    init(_ shapes: TensorShapes) throws(ModelError) {
        let latents = try shapes.size("post_quant_conv.weight", 0)
        guard let released = [WanVAEConfig.wan21, .wan22].first(where: { $0.zDim == latents }) else {
            throw .unsupported("a Wan VAE", found: "\(latents) latent channels", expected: "16 or 48")
        }
        let base = try shapes.size("encoder.conv_in.weight", 0)
        let isResidual = shapes["encoder.down_blocks.0.resnets.0.conv1.weight"] != nil
        func name(_ level: Int, _ place: Int, of blocks: Int) -> String {
            isResidual ? "\(level)." + (place == blocks ? "downsampler" : "resnets.\(place)")
                : "\(level * (blocks + 1) + place)"
        }
        func has(_ level: Int, _ part: String, of blocks: Int) -> Bool {
            shapes["encoder.down_blocks.\(name(level, blocks, of: blocks)).\(part).weight"] != nil
        }
        let blocks = isResidual
            ? shapes.count("encoder.down_blocks.0.resnets.") : (1..<17).first { has(0, "resample.1", of: $0) } ?? 2
        let downsamplers = (0..<6).prefix { has($0, "resample.1", of: blocks) }.count
        var widths: [Int] = []
        for level in 0...downsamplers {
            widths.append(
                try shapes.size("encoder.down_blocks.\(name(level, 0, of: blocks)).conv1.weight", 0) / base)
        }
        let channels = try shapes.size("encoder.conv_in.weight", 1)
        self.init(
            baseDim: base, decoderBaseDim: try shapes.size("decoder.norm_out.gamma", 0), zDim: latents,
            dimMult: widths, numResBlocks: blocks,
            temporalDownsample: (0..<downsamplers).map { has($0, "time_conv", of: blocks) }, isResidual: isResidual,
            inChannels: channels, outChannels: try shapes.size("decoder.conv_out.weight", 0),
            patchSize: channels == 12 ? 2 : 1, latentsMean: released.latentsMean, latentsStd: released.latentsStd)
    }
}
