import VditAttention
import VditTensor

/// A video diffusion transformer whose blocks are modulated by the time and read the prompt by cross-attention: Wan
/// (`WanTransformer3DModel`), LTX-Video (`LTXVideoTransformer3DModel`). What tells one from the other is its
/// `CrossTransformerConfig`.
///
/// Source: Wan: Open and Advanced Large-Scale Video Generative Models (arXiv 2503.20314); LTX-Video: Realtime Video
/// Latent Diffusion (arXiv 2501.00103); layout and names of diffusers. Differs: with bf16 operands the residual stream,
/// norms, rotary embedding and softmax stay fp32, where diffusers rounds activations to bf16 between operations.
public final class CrossTransformer: VideoModel {
    public let config: any CrossTransformerConfig
    let compute: ComputeContext
    let rows: RowKernels
    let patchEmbedding: Linear
    private let timeEmbedder: TimestepEmbedder
    private let timeProjection: Linear
    let textEmbedding: (Linear, Linear)
    let imageEmbedding: ImageEmbedding?
    let blocks: KeptLayers<CrossBlock>
    /// `[2, inner]`: shift and scale of the output's modulation.
    let table: Tensor
    let projection: Linear

    /// Packs the weights. Shapes must have been checked against `config.tensors`.
    ///
    /// - Throws: `TensorError` if a tensor is missing or oneDNN refuses a shape.
    public init(
        config: some CrossTransformerConfig, weights: any WeightSource, compute: ComputeContext
    ) throws(TensorError) {
        self.config = config
        self.compute = compute
        rows = RowKernels(compute.instructionSet)
        let loader = WeightLoader(source: weights, compute: compute)
        let names = config.names
        let operand = compute.operandType
        patchEmbedding = try loader.linear(names.patch, result: .f32)
        timeEmbedder = try TimestepEmbedder(loader, names.time)
        timeProjection = try loader.linear(names.timeProjection, result: .f32)
        textEmbedding = (
            try loader.linear("\(names.text).linear_1", result: operand, activation: .geluTanh),
            try loader.linear("\(names.text).linear_2", result: operand)
        )
        imageEmbedding = config.imageDim == nil
            ? nil : try ImageEmbedding(loader, names.image, hasPositions: config.posEmbedSeqLen != nil)
        blocks = try KeptLayers(weights, compute, count: config.layers) { (loader, index) throws(TensorError) in
            try CrossBlock(loader, config: config, index: index)
        }
        table = try loader.vector("scale_shift_table").reshaped([2, config.inner])
        projection = try loader.linear("proj_out", result: .f32)
    }

    /// Bytes of one block's packed weights; 0 where none is kept.
    public var layerByteCount: Int { blocks.packed.dropFirst(blocks.count / 2).first?.byteCount ?? 0 }

    // MARK: the forward pass

    public func predict(
        _ latents: Tensor, conditioning: any PreparedConditioning, _ pass: ForwardPass
    ) throws -> Tensor {
        guard let context = conditioning as? CrossConditioning else {
            throw ModelError.invalid(
                "conditioning", found: "\(type(of: conditioning))", expected: "one this model prepared",
                kind: .internalError)
        }
        try checkLatents(latents, channels: config.inChannels)
        let layout = try config.tokenLayout(LatentShape(latents.shape), textTokens: 0)
        try checkTimesteps(pass.timesteps, tokens: layout.tokens)
        if case .given(let outputs) = pass.crossAttention,
            outputs.count != config.layers || !outputs.allSatisfy({ $0.shape == [layout.tokens, config.inner] })
        {
            throw ModelError.invalid(
                "cross-attention", found: "\(outputs.map(\.shape))",
                expected: "[\(layout.tokens), \(config.inner)] for each of \(config.layers) blocks", kind: .badData)
        }
        let stack = try CrossPass(
            self, latents: latents, layout: layout, context: context, pass)
        try BlockLoop(compute).run(stack, pass)
        if case .kept(let keep) = pass.crossAttention { keep(stack.keptCross) }
        return stack.result
    }

    /// The embedding `[inner]` of one timestep and its six-fold projection `[6 · inner]`, f32.
    func time(_ timestep: Float, trace: Trace?) throws(TensorError) -> CrossPass.Time {
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
