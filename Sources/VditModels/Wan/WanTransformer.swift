import VditAttention
import VditTensor

/// The video diffusion transformer of Wan 2.1 and 2.2 (`WanTransformer3DModel`).
///
/// Source: Wan: Open and Advanced Large-Scale Video Generative Models (arXiv 2503.20314); layout and names of
/// diffusers. Differs: with bf16 operands the residual stream, norms, rotary embedding and softmax stay fp32,
/// where diffusers rounds activations to bf16 between operations.
public final class WanTransformer: VideoModel {
    public let config: WanTransformerConfig
    private let compute: ComputeContext
    private let rows: RowKernels
    private let patchEmbedding: Linear
    private let timeEmbedding: (Linear, Linear)
    private let timeProjection: Linear
    private let textEmbedding: (Linear, Linear)
    private let imageEmbedding: WanImageEmbedding?
    private let blocks: [WanBlock]
    private let table: Tensor
    private let projection: Linear

    /// Packs the weights. Shapes must have been checked against `config.tensors`.
    ///
    /// - Parameter onBlock: called after each packed block with its index.
    /// - Throws: `TensorError` if a tensor is missing or oneDNN refuses a shape.
    public init(
        config: WanTransformerConfig, weights: any WeightSource, compute: ComputeContext,
        onBlock: ((Int) -> Void)? = nil
    ) throws(TensorError) {
        self.config = config
        self.compute = compute
        rows = RowKernels(compute.instructionSet)
        let loader = WeightLoader(source: weights, compute: compute)
        let embedder = "condition_embedder"
        let operand = compute.operandType
        patchEmbedding = try loader.linear("patch_embedding", result: .f32)
        // diffusers keeps the time embedder in fp32 whatever the checkpoint's type.
        timeEmbedding = (
            try loader.linear("\(embedder).time_embedder.linear_1", result: .f32, activation: .silu, isFP32: true),
            try loader.linear("\(embedder).time_embedder.linear_2", result: .f32, isFP32: true)
        )
        timeProjection = try loader.linear("\(embedder).time_proj", result: .f32)
        textEmbedding = (
            try loader.linear("\(embedder).text_embedder.linear_1", result: operand, activation: .geluTanh),
            try loader.linear("\(embedder).text_embedder.linear_2", result: operand)
        )
        imageEmbedding = config.imageDim == nil ? nil : try WanImageEmbedding(loader, config: config)
        var blocks: [WanBlock] = []
        for index in 0..<config.layers {
            blocks.append(try WanBlock(loader, config: config, index: index))
            onBlock?(index)
        }
        self.blocks = blocks
        table = try loader.vector("scale_shift_table").reshaped([2, config.inner])
        projection = try loader.linear("proj_out", result: .f32)
    }

    /// Bytes of packed weights.
    public var byteCount: Int {
        blocks.reduce(0) { $0 + $1.byteCount } + patchEmbedding.byteCount + timeProjection.byteCount
            + timeEmbedding.0.byteCount + timeEmbedding.1.byteCount + textEmbedding.0.byteCount
            + textEmbedding.1.byteCount + projection.byteCount
    }

    /// Bytes of one block's packed weights.
    public var layerByteCount: Int { blocks.first?.byteCount ?? 0 }

    // MARK: conditioning

    private struct Prepared: PreparedConditioning {
        let layers: [WanBlock.CrossContext]
        var byteCount: Int {
            layers.reduce(0) { $0 + $1.text.byteCount + ($1.image?.byteCount ?? 0) }
        }
    }

    public func prepare(_ conditioning: Conditioning) throws -> any PreparedConditioning {
        try prepare(conditioning, trace: nil)
    }

    /// As `prepare(_:)`, recording intermediates.
    public func prepare(
        _ conditioning: Conditioning, trace: Trace?
    ) throws -> any PreparedConditioning {
        let prompt = conditioning.prompt
        guard prompt.rank == 2, prompt.shape[0] > 0, prompt.shape[1] == config.textDim,
            prompt.dtype.isFloatingPoint
        else {
            throw ModelError.invalid(
                "prompt embedding", found: "\(prompt.dtype.rawValue) \(prompt.shape)",
                expected: "floating point [tokens, \(config.textDim)]", kind: .badData)
        }
        guard (conditioning.image != nil) == (imageEmbedding != nil) else {
            throw ModelError.invalid(
                "image embedding", found: conditioning.image == nil ? "none" : "one",
                expected: imageEmbedding == nil
                    ? "none: this is a text-to-video model" : "one: this is an image-to-video model",
                kind: .badData)
        }
        if let image = conditioning.image {
            guard image.rank == 2, image.shape[1] == config.imageDim, image.shape[0] > 0 else {
                throw ModelError.invalid(
                    "image embedding", found: "\(image.shape)",
                    expected: "[tokens, \(config.imageDim ?? 0)]", kind: .badData)
            }
            // Released image-to-video models split text from image tokens by this number.
            guard prompt.shape[0] == 512 else {
                throw ModelError.invalid(
                    "prompt embedding", found: "\(prompt.shape[0]) tokens",
                    expected: "512 tokens with an image embedding", kind: .badData)
            }
        }
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
        typealias Keys = (text: WanBlock.KeysValues, image: WanBlock.KeysValues?)
        let slots = ResultSlots<Keys>(count: blocks.count)
        let imageTokens = image
        try compute.pool.run(blocks.count) { index, scratch throws(TensorError) in
            slots[index] = try blocks[index].crossKeys(text: text, image: imageTokens, scratch)
        }
        let kernel = AttentionKernel(compute.instructionSet, operands: operand)
        func pack(_ keys: WanBlock.KeysValues) -> PackedKeys {
            PackedKeys(k: keys.keys, v: keys.values, kernel: kernel, pool: compute.pool)
        }
        for (name, keys) in [("attn2", slots[0]?.text), ("attn2.image", slots[0]?.image)] {
            guard let trace, let keys else { continue }
            trace.record("block0.\(name).k_after_norm", keys.keys)
            trace.record("block0.\(name).v", keys.values)
        }
        let packed = slots.all.map { keys in
            WanBlock.CrossContext(text: pack(keys.text), image: keys.image.map(pack))
        }
        return Prepared(layers: packed)
    }

    // MARK: the forward pass

    /// Rows one task takes through all row-wise work of a layer: enough for the products to run at full
    /// speed, few enough to balance. A function of the token count alone, so that results do not depend on
    /// the number of threads.
    static func chunkRows(tokens: Int) -> Int { tokens >= 4096 ? 256 : tokens >= 512 ? 128 : 64 }

    public func predict(
        _ latents: Tensor, conditioning: any PreparedConditioning, _ pass: ForwardPass
    ) throws -> Tensor {
        guard let context = conditioning as? Prepared else {
            throw ModelError.invalid(
                "conditioning", found: "\(type(of: conditioning))", expected: "one this model prepared",
                kind: .internalError)
        }
        guard latents.rank == 4, latents.shape[0] == config.inChannels, latents.dtype == .f32 else {
            throw ModelError.invalid(
                "latents", found: "\(latents.dtype.rawValue) \(latents.shape)",
                expected: "F32 [\(config.inChannels), frames, height, width]", kind: .badData)
        }
        let layout = try config.tokenLayout(LatentShape(latents.shape), textTokens: 0)
        let tokens = layout.tokens
        guard pass.timesteps.count == 1 || pass.timesteps.count == tokens else {
            throw ModelError.invalid(
                "timestep", found: "\(pass.timesteps.count) values",
                expected: "1, or \(tokens), one per token", kind: .badData)
        }
        let patch = (frames: config.patch[0], height: config.patch[1], width: config.patch[2])
        let grid = PatchGrid(
            channels: config.inChannels, frames: latents.shape[1], height: latents.shape[2],
            width: latents.shape[3], patch: patch)
        let outputGrid = PatchGrid(
            channels: config.outChannels, frames: latents.shape[1], height: latents.shape[2],
            width: latents.shape[3], patch: patch)
        let runs = TimestepRuns(pass.timesteps, tokens: tokens)
        let times = try runs.timesteps.map { try time($0, trace: pass.trace) }
        let side = 2 * (config.headDim / 6)
        let rotary = RotaryTable(
            frames: layout.frames, height: layout.height, width: layout.width,
            parts: [config.headDim - 2 * side, side, side])
        pass.trace?.record("rope.cosine", rotary.cosine)
        pass.trace?.record("rope.sine", rotary.sine)

        let operand = compute.operandType
        let x = Tensor(.f32, [tokens, config.inner])
        let shape = [config.heads, tokens, config.headDim]
        let (q, k, v) = (Tensor(operand, shape), Tensor(operand, shape), Tensor(operand, shape))
        let result = Tensor(.f32, [config.outChannels] + latents.shape.dropFirst())
        let chunk = Self.chunkRows(tokens: tokens)
        let chunks = (tokens + chunk - 1) / chunk

        /// What a layer does to one chunk before self-attention and after it, at any depth.
        @Sendable func parts(_ range: Range<Int>, _ modulations: [WanBlock.Modulation]) -> [WanBlock.Part] {
            runs.within(range).map { part in
                let start = part.tokens.lowerBound - range.lowerBound
                return (start..<start + part.tokens.count, modulations[part.index])
            }
        }
        @Sendable func note(_ layer: Int, _ range: Range<Int>, _ trace: Trace?) -> ChunkTrace? {
            guard let trace else { return nil }
            return { name, rows in
                trace.record("block\(layer).\(name)", rows: rows, at: range.lowerBound, of: tokens)
            }
        }

        var attended: Tensor?
        var modulations: [WanBlock.Modulation] = []
        for layer in 0...blocks.count {
            if layer < blocks.count { try pass.onLayer?(layer) }
            let previous = modulations
            if layer < blocks.count {
                modulations = times.map { blocks[layer].modulation($0.projected) }
            }
            let (next, values, trace) = (modulations, attended, pass.trace)
            try compute.pool.run(chunks) { index, scratch throws(TensorError) in
                let range = index * chunk..<min(tokens, (index + 1) * chunk)
                let rows = x.slice(range)
                if layer == 0 {
                    try embed(latents, grid, range, into: rows, scratch)
                    trace?.record("patch_embedding.out_tokens", rows: rows, at: range.lowerBound, of: tokens)
                } else if let values {
                    try blocks[layer - 1].afterAttention(
                        rows, attended: values.slice(range), parts(range, previous),
                        context: context.layers[layer - 1], scratch, note(layer - 1, range, trace))
                }
                if layer < blocks.count {
                    try blocks[layer].beforeAttention(
                        rows, first: range.lowerBound, parts(range, next), rotary: rotary, q: q, k: k,
                        v: v, scratch, note(layer, range, trace))
                } else {
                    try project(
                        rows, range, runs, times, outputGrid, into: result, scratch, trace)
                }
            }
            if pass.checksLayers && !x.isFinite { throw ModelError.nonFinite(layer: layer - 1) }
            if layer < blocks.count {
                pass.trace?.record("block\(layer).attn1.q_after_norm_rope", q)
                pass.trace?.record("block\(layer).attn1.k_after_norm_rope", k)
                pass.trace?.record("block\(layer).attn1.v", v)
                attended = try pass.attend(
                    AttentionCall(
                        q: q, k: k, v: v, layout: layout,
                        site: AttentionSite(layer: layer, branch: pass.branch), step: pass.step,
                        steps: pass.steps, pool: compute.pool, instructionSet: compute.instructionSet)
                ).values
            }
        }
        return result
    }

    /// The embedding of one timestep and its six-fold projection.
    private func time(
        _ timestep: Float, trace: Trace?
    ) throws(TensorError) -> (embedding: Tensor, projected: Tensor) {
        let scratch = Scratch()
        let sinusoid = timestepSinusoid(timestep, size: config.freqDim)
        let hidden = Tensor(.f32, [1, config.inner])
        let embedding = Tensor(.f32, [1, config.inner])
        try timeEmbedding.0(sinusoid, into: hidden, scratch)
        try timeEmbedding.1(hidden, into: embedding, scratch)
        let activated = embedding.copy()
        silu(activated)
        let projected = Tensor(.f32, [1, 6 * config.inner])
        try timeProjection(activated.converted(to: timeProjection.operandType), into: projected, scratch)
        trace?.record("time_sinusoid", sinusoid)
        trace?.record("time_embedder.out_temb", embedding)
        trace?.record("time_proj.out_6dim", projected)
        return (embedding.reshaped([config.inner]), projected.reshaped([6 * config.inner]))
    }

    private func embed(
        _ latents: Tensor, _ grid: PatchGrid, _ range: Range<Int>, into x: Tensor, _ scratch: Scratch
    ) throws(TensorError) {
        let patches = scratch.tensor(.f32, [range.count, grid.tokenSize])
        grid.gather(latents, first: range.lowerBound, into: patches)
        var operand = patches
        if patchEmbedding.operandType != .f32 {
            operand = scratch.tensor(patchEmbedding.operandType, patches.shape)
            operand.convert(from: patches)
        }
        try patchEmbedding(operand, into: x, scratch)
    }

    /// The output head: modulation by the time embedding itself (not by its projection), shift first.
    private func project(
        _ x: Tensor, _ range: Range<Int>, _ runs: TimestepRuns,
        _ times: [(embedding: Tensor, projected: Tensor)], _ grid: PatchGrid, into result: Tensor,
        _ scratch: Scratch, _ trace: Trace?
    ) throws(TensorError) {
        let input = scratch.tensor(projection.operandType, x.shape)
        for part in runs.within(range) {
            let modulation = table.copy()
            for row in 0..<2 { rows.gatedAdd(modulation[row], times[part.index].embedding, gate: nil) }
            modulation[1].withMutableFloats { values in
                for i in values.indices { values[i] += 1 }
            }
            let local = part.tokens.lowerBound - range.lowerBound
            let span = local..<local + part.tokens.count
            rows.layerNorm(
                x.slice(span), epsilon: Float(config.epsilon), scale: modulation[1],
                shift: modulation[0], into: input.slice(span))
        }
        trace?.record("proj_out.in_modulated", rows: input, at: range.lowerBound, of: grid.tokens)
        let values = scratch.tensor(.f32, [range.count, grid.tokenSize])
        try projection(input, into: values, scratch)
        trace?.record(
            "proj_out.out_tokens_before_unpatchify", rows: values, at: range.lowerBound, of: grid.tokens)
        grid.scatter(values, first: range.lowerBound, order: .last, into: result)
    }
}

/// The image tokens' projection of Wan 2.1 image-to-video models: norm, linear, exact GELU, linear, norm, both
/// norms affine with epsilon 1e-5; first-last-frame models add a learned position first.
struct WanImageEmbedding: Sendable {
    private let norm1: (scale: Tensor, shift: Tensor)
    private let norm2: (scale: Tensor, shift: Tensor)
    private let first: Linear
    private let second: Linear
    private let positions: Tensor?

    init(_ loader: WeightLoader, config: WanTransformerConfig) throws(TensorError) {
        let name = "condition_embedder.image_embedder"
        norm1 = (try loader.vector("\(name).norm1.weight"), try loader.vector("\(name).norm1.bias"))
        norm2 = (try loader.vector("\(name).norm2.weight"), try loader.vector("\(name).norm2.bias"))
        first = try loader.linear(
            "\(name).ff.net.0.proj", result: loader.compute.operandType, activation: .geluErf)
        second = try loader.linear("\(name).ff.net.2", result: .f32)
        positions = config.posEmbedSeqLen == nil ? nil : try loader.vector("\(name).pos_embed")
    }

    /// - Parameter tokens: `[imageTokens, imageDim]`, of all images.
    /// - Returns: `[imageTokens, inner]` of the operand type.
    func callAsFunction(
        _ tokens: Tensor, rows: RowKernels, operand: DType, _ scratch: Scratch
    ) throws -> Tensor {
        let x = tokens.converted(to: .f32)
        if let positions {
            guard positions.count == x.count else {
                throw ModelError.invalid(
                    "image embedding", found: "\(tokens.shape[0]) tokens",
                    expected: "\(positions.count / tokens.shape[1]), one per learned position",
                    kind: .badData)
            }
            rows.gatedAdd(x, positions.reshaped(x.shape), gate: nil)
        }
        let input = Tensor(operand, x.shape)
        rows.layerNorm(x, epsilon: 1e-5, scale: norm1.scale, shift: norm1.shift, into: input)
        let hidden = Tensor(operand, [x.shape[0], first.outputs])
        try first(input, into: hidden, scratch)
        let projected = Tensor(.f32, [x.shape[0], second.outputs])
        try second(hidden, into: projected, scratch)
        let result = Tensor(operand, projected.shape)
        rows.layerNorm(projected, epsilon: 1e-5, scale: norm2.scale, shift: norm2.shift, into: result)
        return result
    }
}
