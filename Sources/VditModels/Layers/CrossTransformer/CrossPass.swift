import VditAttention
import VditTensor

/// One forward pass: a single stream, the video's tokens.
struct CrossPass: BlockStack {
    /// The embedding of a timestep, and its six-fold projection.
    typealias Time = (embedding: Tensor, projected: Tensor)

    let model: CrossTransformer
    let layout: TokenLayout
    let streams: [TokenStream]
    /// `[channels, frames, height, width]` f32.
    private let latents: Tensor
    /// `[outputChannels, frames, height, width]` f32.
    let result: Tensor
    private let context: CrossConditioning
    private let runs: TimestepRuns
    /// One for each distinct timestep of `runs`.
    private let times: [Time]
    private let rotary: RotaryTable
    /// What cross-attention adds in every block: where it is not computed, and where that is to be kept.
    private let givenCross: [Tensor]
    let keptCross: [Tensor]

    /// - Parameters:
    ///   - latents: of the layout's extents.
    ///   - context: what each block's cross-attention reads.
    init(
        _ model: CrossTransformer, latents: Tensor, layout: TokenLayout, context: CrossConditioning,
        _ pass: ForwardPass
    ) throws(TensorError) {
        let trace = pass.trace
        let config = model.config
        self.model = model
        self.layout = layout
        self.latents = latents
        self.context = context
        streams = [TokenStream("video", tokens: layout.video, width: config.inner)]
        result = Tensor(.f32, [config.outChannels] + latents.shape.dropFirst())
        runs = TimestepRuns(pass.timesteps, tokens: layout.tokens)
        times = try runs.timesteps.map { timestep throws(TensorError) in try model.time(timestep, trace: trace) }
        rotary = config.rotary(layout, frameRate: context.frameRate, frameAhead: context.frameAhead)
        switch pass.crossAttention {
        case nil: (givenCross, keptCross) = ([], [])
        case .given(let outputs): (givenCross, keptCross) = (outputs, [])
        case .kept:
            givenCross = []
            keptCross = (0..<config.layers).map { _ in
                Tensor(model.compute.operandType, [layout.tokens, config.inner])
            }
        }
        trace?.record("rope.cosine", rotary.cosine)
        trace?.record("rope.sine", rotary.sine)
    }

    var heads: Int { model.config.heads }
    var headDim: Int { model.config.headDim }
    var blockCount: Int { model.blocks.count }
    var trained: TrainedAttention? { model.config.trained }

    private func grid(channels: Int) -> PatchGrid {
        let patch = model.config.patch
        return PatchGrid(
            channels: channels, frames: latents.shape[1], height: latents.shape[2], width: latents.shape[3],
            patch: (patch[0], patch[1], patch[2]))
    }

    func embed(_ chunk: RowChunk) throws(TensorError) {
        try grid(channels: model.config.inChannels).embed(latents, chunk, model.patchEmbedding)
        chunk.record("patch_embedding.out_tokens", chunk.x)
    }

    func block(_ index: Int) throws(TensorError) -> any TransformerBlock {
        let block = try model.blocks.layer(index)
        return CrossBlock.InPass(
            block: block, modulations: times.map { block.modulation($0.projected) }, runs: runs,
            rotary: rotary, context: context.layers[index],
            givenCross: givenCross.isEmpty ? nil : givenCross[index],
            keptCross: keptCross.isEmpty ? nil : keptCross[index])
    }

    /// Of the first token's timestep.
    func signal(_ kind: CallSignal) -> Tensor? {
        switch kind {
        case .time: times.first?.embedding
        case .modulation: times.first?.projected
        }
    }

    /// Modulation by the time embedding itself (not by its projection), shift first.
    func head(_ chunk: RowChunk) throws(TensorError) {
        let x = chunk.x
        let projection = model.projection
        let input = chunk.scratch.tensor(projection.operandType, x.shape)
        for part in runs.within(chunk.rows) {
            let modulation = model.table.copy()
            for row in 0..<2 {
                model.rows.gatedAdd(modulation[row], times[part.index].embedding, gate: nil)
            }
            modulation[1].withMutableFloats { values in
                for i in values.indices { values[i] += 1 }
            }
            model.rows.layerNorm(
                x.slice(part.rows), epsilon: Float(model.config.epsilon), scale: modulation[1],
                shift: modulation[0], into: input.slice(part.rows))
        }
        chunk.record("proj_out.in_modulated", input)
        let grid = grid(channels: model.config.outChannels)
        let values = chunk.scratch.tensor(.f32, [chunk.rows.count, grid.tokenSize])
        try projection(input, into: values, chunk.scratch)
        chunk.record("proj_out.out_tokens_before_unpatchify", values)
        grid.scatter(values, first: chunk.rows.lowerBound, order: .last, into: result)
    }
}
