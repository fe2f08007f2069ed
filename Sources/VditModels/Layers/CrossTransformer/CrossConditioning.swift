import VditAttention
import VditTensor

/// What each block's cross-attention reads of one guidance branch.
struct CrossConditioning: PreparedConditioning {
    let layers: [CrossBlock.CrossContext]
    /// Frames per second, for models that are told.
    let frameRate: Double?
    /// The video frame that a latent frame ahead of the video stands at, where there is one.
    let frameAhead: Int?

    var byteCount: Int {
        layers.reduce(0) { $0 + $1.text.byteCount + ($1.image?.byteCount ?? 0) }
    }
}

extension CrossTransformer {
    public func prepare(_ conditioning: Conditioning) throws -> any PreparedConditioning {
        try prepare(conditioning, trace: nil)
    }

    /// As `prepare(_:)`, recording intermediates.
    public func prepare(
        _ conditioning: Conditioning, trace: Trace?
    ) throws -> any PreparedConditioning {
        try check(conditioning)
        let prompt = conditioning.validPrompt
        let operand = compute.operandType
        let tokens = prompt.shape[0]
        let hidden = Tensor(operand, [tokens, config.inner])
        let text = Tensor(operand, [tokens, config.inner])
        let scratch = Scratch()
        try textEmbedding.0(prompt.converted(to: operand), into: hidden, scratch)
        try textEmbedding.1(hidden, into: text, scratch)
        trace?.record("text_embedder.out", text)
        var image: Tensor?
        if let imageEmbedding, let tokens = conditioning.image {
            image = try imageEmbedding(tokens, rows: rows, operand: operand, scratch)
            if let image { trace?.record("image_embedder.out", image) }
        }
        typealias Keys = (text: CrossKeys.KeysValues, image: CrossKeys.KeysValues?)
        let slots = ResultSlots<Keys>(count: blocks.count)
        let imageTokens = image
        try compute.pool.run(blocks.count) { index, scratch throws(TensorError) in
            slots[index] = try CrossKeys(blocks.loader(index), config: config, index: index)
                .keysAndValues(text: text, image: imageTokens, scratch)
        }
        let kernel = AttentionKernel(compute.instructionSet, operands: operand)
        func pack(_ keys: CrossKeys.KeysValues) -> PackedKeys {
            PackedKeys(k: keys.keys, v: keys.values, kernel: kernel, pool: compute.pool)
        }
        for (name, keys) in [("attn2", slots[0]?.text), ("attn2.image", slots[0]?.image)] {
            guard let trace, let keys else { continue }
            trace.record("block0.\(name).k_after_norm", keys.keys)
            trace.record("block0.\(name).v", keys.values)
        }
        return CrossConditioning(
            layers: slots.all.map { keys in
                CrossBlock.CrossContext(text: pack(keys.text), image: keys.image.map(pack))
            }, frameRate: conditioning.frameRate, frameAhead: conditioning.frameAhead)
    }

    /// - Throws: `ModelError` unless the conditioning is what this model takes.
    private func check(_ conditioning: Conditioning) throws(ModelError) {
        try conditioning.check(config.conditioning)
        guard (conditioning.image != nil) == (imageEmbedding != nil) else {
            throw .invalid(
                "image embedding", found: conditioning.image == nil ? "none" : "one",
                expected: imageEmbedding == nil
                    ? "none: this is a text-to-video model" : "one: this is an image-to-video model",
                kind: .badData)
        }
        if let image = conditioning.image {
            guard image.rank == 2, image.shape[1] == config.imageDim, image.shape[0] > 0 else {
                throw .invalid(
                    "image embedding", found: "\(image.shape)",
                    expected: "[tokens, \(config.imageDim ?? 0)]", kind: .badData)
            }
            // Released image-to-video models split text from image tokens by this number.
            guard conditioning.prompt.shape[0] == 512 else {
                throw .invalid(
                    "prompt embedding", found: "\(conditioning.prompt.shape[0]) tokens",
                    expected: "512 tokens with an image embedding", kind: .badData)
            }
        }
    }
}
