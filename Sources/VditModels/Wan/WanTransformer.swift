import VditAttention
import VditTensor

/// The video diffusion transformer of Wan 2.1 and 2.2 (`WanTransformer3DModel`).
///
/// Source: Wan: Open and Advanced Large-Scale Video Generative Models (arXiv 2503.20314); layout and names of
/// diffusers. Differs: with bf16 operands the residual stream, norms, rotary embedding and softmax stay fp32,
/// where diffusers rounds activations to bf16 between operations.
public final class WanTransformer: VideoModel {
    public let config: WanTransformerConfig
    let compute: ComputeContext
    let rows: RowKernels
    let patchEmbedding: Linear
    private let timeEmbedder: TimestepEmbedder
    private let timeProjection: Linear
    let textEmbedding: (Linear, Linear)
    let imageEmbedding: WanImageEmbedding?
    let blocks: [WanBlock]
    /// `[2, inner]`: shift and scale of the output's modulation.
    let table: Tensor
    let projection: Linear

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
        timeEmbedder = try TimestepEmbedder(loader, "\(embedder).time_embedder")
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

    /// Bytes of one block's packed weights.
    public var layerByteCount: Int { blocks.first?.byteCount ?? 0 }

    // MARK: the forward pass

    public func predict(
        _ latents: Tensor, conditioning: any PreparedConditioning, _ pass: ForwardPass
    ) throws -> Tensor {
        guard let context = conditioning as? WanConditioning else {
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
        guard pass.timesteps.count == 1 || pass.timesteps.count == layout.tokens else {
            throw ModelError.invalid(
                "timestep", found: "\(pass.timesteps.count) values",
                expected: "1, or \(layout.tokens), one per token", kind: .badData)
        }
        let stack = try WanPass(
            self, latents: latents, layout: layout, context: context.layers, timesteps: pass.timesteps,
            trace: pass.trace)
        try BlockLoop(compute).run(stack, pass)
        return stack.result
    }

    /// The embedding `[inner]` of one timestep and its six-fold projection `[6 · inner]`, f32.
    func time(_ timestep: Float, trace: Trace?) throws(TensorError) -> WanPass.Time {
        let scratch = Scratch()
        let (sinusoid, embedding) = try timeEmbedder(timestep, scratch)
        let activated = embedding.copy()
        silu(activated)
        let projected = Tensor(.f32, [1, 6 * config.inner])
        try timeProjection(activated.converted(to: timeProjection.operandType), into: projected, scratch)
        trace?.record("time_sinusoid", sinusoid)
        trace?.record("time_embedder.out_temb", embedding)
        trace?.record("time_proj.out_6dim", projected)
        return (embedding.reshaped([config.inner]), projected.reshaped([6 * config.inner]))
    }
}
