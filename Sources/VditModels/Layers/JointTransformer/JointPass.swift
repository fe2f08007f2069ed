import VditAttention
import VditTensor

/// One forward pass of a `JointTransformer`: the video's stream and the text's.
struct JointPass<Parts: JointParts>: BlockStack {
    let model: JointTransformer<Parts>
    let layout: TokenLayout
    let streams: [TokenStream]
    /// `[channels, frames, height, width]` f32.
    private let latents: Tensor
    /// `[outputChannels, frames, height, width]` f32.
    let result: Tensor
    /// `[tokens, textWidth]` f32.
    private let text: Tensor
    /// By stream.
    private let runs: [TimestepRuns]
    /// What modulates, one for each distinct timestep of the video: as embedded, and after SiLU.
    private let vectors: [(embedded: Tensor, activated: Tensor)]
    /// Index of the time that is the text's too.
    private let textTime: Int
    private let positions: JointPositions
    /// `[width]` f32 each, of the output's norm.
    private let output: Modulation.Part

    init(
        _ model: JointTransformer<Parts>, latents: Tensor, layout: TokenLayout, text: Tensor, times: [Float],
        prompt: Parts.Prompt, trace: Trace?
    ) throws(TensorError) {
        let config = model.config
        self.model = model
        self.layout = layout
        self.latents = latents
        self.text = text
        let behind = layout.video.upperBound..<layout.tokens
        streams = [
            TokenStream("video", tokens: layout.video, width: config.inner),
            TokenStream(
                "text", tokens: config.textPlace == .beforeVideo ? 0..<layout.textBefore : behind,
                width: config.textWidth),
        ]
        result = Tensor(.f32, [config.outChannels] + latents.shape.dropFirst())
        let video = TimestepRuns(times, tokens: layout.videoTokens)
        runs = [video, TimestepRuns([times.last ?? 0], tokens: layout.textTokens)]
        let last = video.runs.last?.index ?? 0
        textTime = last
        vectors = try video.timesteps.indices.map { index throws(TensorError) in
            let vector = try model.parts.vector(video.timesteps[index], isText: index == last, prompt, trace)
            let activated = vector.copy()
            silu(activated)
            return (vector, activated)
        }
        positions = model.parts.positions(layout)
        output = try model.head.modulation(vectors[last].activated)
        if let table = positions.turning {
            trace?.record("rope.cosine", table.cosine)
            trace?.record("rope.sine", table.sine)
        }
        trace?.record("time_embedder.out_temb", vectors[last].embedded)
    }

    var heads: Int { model.config.heads }
    var headDim: Int { model.config.headDim }
    var blockCount: Int { model.blocks.count }

    private func grid(channels: Int) -> PatchGrid {
        PatchGrid(
            channels: channels, frames: latents.shape[1], height: latents.shape[2], width: latents.shape[3],
            patch: model.config.patchExtents)
    }

    func embed(_ chunk: RowChunk) throws(TensorError) {
        if chunk.stream == 1 { return chunk.x.assign(text.slice(chunk.rows)) }
        try grid(channels: model.config.inChannels).embed(latents, chunk, model.patchEmbedding)
        if let added = positions.added {
            model.kernels.gatedAdd(chunk.x, added.slice(chunk.rows), gate: nil)
        }
        chunk.record("patch_embedding.out_tokens", chunk.x)
    }

    func block(_ index: Int) throws(TensorError) -> any TransformerBlock {
        let block = try model.blocks.layer(index)
        let all = try vectors.map { vector throws(TensorError) in
            try block.modulation(vector.activated, streams: streams.count)
        }
        return JointBlock.InPass(
            block: block, kernels: model.kernels, modulations: [all.map { $0[0] }, [all[textTime][1]]], runs: runs,
            rotary: positions.turning)
    }

    /// Of the time that is the text's too.
    func signal(_ kind: CallSignal) -> Tensor? {
        let vector = vectors[textTime]
        switch kind {
        case .time:
            return vector.embedded.reshaped([vector.embedded.count])
        case .modulation:
            return try? model.firstModulation.product(of: vector.activated)
        }
    }

    func head(_ chunk: RowChunk) throws(TensorError) {
        if chunk.stream == 1 { return }
        let (head, kernels, scratch) = (model.head, model.kernels, chunk.scratch)
        var x = chunk.x
        if let first = head.first {
            x = scratch.tensor(.f32, chunk.x.shape)
            kernels.layerNorm(
                chunk.x, epsilon: first.epsilon, scale: first.weights.scale, shift: first.weights.shift, into: x)
        }
        let input = scratch.tensor(head.projection.operandType, x.shape)
        kernels.layerNorm(x, epsilon: head.epsilon, scale: output.scale, shift: output.shift, into: input)
        chunk.record("proj_out.in_modulated", input)
        let grid = grid(channels: model.config.outChannels)
        let values = scratch.tensor(.f32, [chunk.rows.count, grid.tokenSize])
        try head.projection(input, into: values, scratch)
        chunk.record("proj_out.out_tokens_before_unpatchify", values)
        grid.scatter(values, first: chunk.rows.lowerBound, order: head.order, into: result)
    }
}
