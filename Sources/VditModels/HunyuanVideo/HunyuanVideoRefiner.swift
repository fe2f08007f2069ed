import VditAttention
import VditTensor

/// The text on its way to the blocks: a small transformer over its valid tokens, told the time and their mean.
///
/// - Source: `HunyuanVideoTokenRefiner`, diffusers 0.42.1. Its blocks have gates but no scales and shifts, and SiLU
///   between the layers of their feed-forward.
struct HunyuanVideoRefiner: Sendable {
    private let config: HunyuanVideoTransformerConfig
    private let compute: ComputeContext
    private let kernels: RowKernels
    private let projection: Linear
    private let time: TimestepEmbedder
    private let mean: VectorEmbedder
    private let blocks: [JointBlock]

    /// What of a prompt does not depend on the time.
    struct Prompt: Sendable {
        /// `[tokens, inner]` f32.
        let projected: Tensor
        /// `[1, inner]` f32, of the tokens' mean.
        let mean: Tensor
        var byteCount: Int { projected.byteCount + mean.byteCount }
    }

    init(
        _ config: HunyuanVideoTransformerConfig, _ loader: WeightLoader, _ compute: ComputeContext
    ) throws(TensorError) {
        (self.config, self.compute) = (config, compute)
        kernels = RowKernels(compute.instructionSet)
        projection = try loader.linear("context_embedder.proj_in", result: .f32)
        time = try TimestepEmbedder(loader, "context_embedder.time_text_embed.timestep_embedder")
        mean = try VectorEmbedder(loader, "context_embedder.time_text_embed.text_embedder")
        var blocks: [JointBlock] = []
        for index in 0..<config.refinerLayers {
            let name = "\(HunyuanVideoTransformerConfig.refinerName).\(index)"
            let attention = "\(name).attn"
            let lane = JointLane(
                width: config.inner, norm: .layer, epsilon: 1e-6,
                norms: (try NormWeights(loader, "\(name).norm1"), try NormWeights(loader, "\(name).norm2")),
                attentionPlaces: ModulationPlaces(gate: 0), feedForwardPlaces: ModulationPlaces(gate: 1),
                qkv: try loader.linear("\(attention).to_q", "\(attention).to_k", "\(attention).to_v", result: .f32),
                rest: .behind(
                    out: try loader.linear("\(attention).to_out.0", result: .f32),
                    try FeedForward(loader, "\(name).ff", .plain(.silu))))
            blocks.append(
                JointBlock(
                    heads: config.heads, headDim: config.headDim,
                    modulations: [try loader.linear("\(name).norm_out.linear", result: .f32)], lanes: [lane]))
        }
        self.blocks = blocks
    }

    /// - Parameter tokens: the valid ones, `[tokens, textDim]`.
    func prepare(_ tokens: Tensor) throws(TensorError) -> Prompt {
        let (count, width) = (tokens.shape[0], tokens.shape[1])
        let projected = Tensor(.f32, [count, config.inner])
        try projection(tokens.converted(to: projection.operandType), into: projected, Scratch())
        let values = tokens.floats()
        let means = (0..<width).map { column in
            (0..<count).reduce(Float(0)) { $0 + values[$1 * width + column] } / Float(count)
        }
        return Prompt(projected: projected, mean: try mean(Tensor(means, shape: [1, width]), Scratch()))
    }

    /// The text's rows at a time, `[tokens, inner]` f32.
    func callAsFunction(_ timestep: Float, _ prompt: Prompt) throws -> Tensor {
        let vector = try time(timestep, Scratch()).embedding
        kernels.gatedAdd(vector, prompt.mean, gate: nil)
        silu(vector)
        let pass = Pass(refiner: self, text: prompt.projected, activated: vector)
        try BlockLoop(compute).run(
            pass,
            ForwardPass(timesteps: [timestep]) { call in
                blockSparseAttention(call, .dense(tokens: call.tokens), values: call.q.dtype)
            })
        return pass.result
    }

    /// The text alone, as a sequence of its own.
    private struct Pass: BlockStack {
        let refiner: HunyuanVideoRefiner
        let text: Tensor
        let activated: Tensor
        let result: Tensor

        init(refiner: HunyuanVideoRefiner, text: Tensor, activated: Tensor) {
            (self.refiner, self.text, self.activated) = (refiner, text, activated)
            result = Tensor(.f32, text.shape)
        }

        var layout: TokenLayout { TokenLayout(frames: 1, height: 1, width: text.shape[0]) }
        var heads: Int { refiner.config.heads }
        var headDim: Int { refiner.config.headDim }
        var streams: [TokenStream] { [TokenStream("text", tokens: 0..<text.shape[0], width: text.shape[1])] }
        var blockCount: Int { refiner.blocks.count }

        func embed(_ chunk: RowChunk) { chunk.x.assign(text.slice(chunk.rows)) }

        func block(_ index: Int) throws(TensorError) -> any TransformerBlock {
            let block = refiner.blocks[index]
            return JointBlock.InPass(
                block: block, kernels: refiner.kernels,
                modulations: [try block.modulation(activated, streams: 1)],
                runs: [TimestepRuns([0], tokens: text.shape[0])], rotary: nil)
        }

        func head(_ chunk: RowChunk) { result.slice(chunk.rows).assign(chunk.x) }
    }
}
