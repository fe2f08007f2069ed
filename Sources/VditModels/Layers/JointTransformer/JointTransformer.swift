import VditAttention
import VditTensor

/// A video diffusion transformer with text inside self-attention, beside the video: CogVideoX
/// (`CogVideoXTransformer3DModel`), HunyuanVideo (`HunyuanVideoTransformer3DModel`), Mochi
/// (`MochiTransformer3DModel`). What tells one from the other is its `JointParts`.
///
/// Source: CogVideoX (arXiv 2408.06072), HunyuanVideo (arXiv 2412.03603), genmo/mochi; layout and names of diffusers
/// 0.42.1. Differs: with bf16 operands the residual streams, norms, modulation, rotary embedding and softmax stay fp32,
/// where diffusers rounds activations to bf16 between operations; text that a mask leaves out is dropped.
final class JointTransformer<Parts: JointParts>: VideoModel {
    let config: Parts.Config
    let compute: ComputeContext
    let kernels: RowKernels
    let parts: Parts
    let patchEmbedding: Linear
    let blocks: KeptLayers<JointBlock>
    let head: JointHead
    /// Of the first block: what step caches compare.
    let firstModulation: Linear

    /// Packs the weights. Shapes must have been checked against `config.tensors`.
    ///
    /// - Throws: `TensorError` if a tensor is missing or oneDNN refuses a shape.
    init(_ config: Parts.Config, _ weights: any WeightSource, _ compute: ComputeContext) throws(TensorError) {
        self.config = config
        self.compute = compute
        kernels = RowKernels(compute.instructionSet)
        let loader = WeightLoader(source: weights, compute: compute)
        parts = try Parts(config, loader, compute)
        patchEmbedding = try loader.linear(Parts.patchName, result: .f32)
        let names = config.blockNames
        blocks = try KeptLayers(weights, compute, count: config.layers) { (loader, index) throws(TensorError) in
            try Parts.block(config, index, names[index], loader)
        }
        let first = if let packed = blocks.packed.first { packed } else {
            try Parts.block(config, 0, names[0], blocks.loader(0))
        }
        firstModulation = first.modulations[0]
        head = try Parts.head(config, loader)
    }

    var layerByteCount: Int { blocks.packed.dropFirst(blocks.count / 2).first?.byteCount ?? 0 }

    func prepare(_ conditioning: Conditioning) throws -> any PreparedConditioning {
        try conditioning.check(config.conditioning)
        return try parts.prepare(conditioning)
    }

    func predict(
        _ latents: Tensor, conditioning: any PreparedConditioning, _ pass: ForwardPass
    ) throws -> Tensor {
        guard let prompt = conditioning as? Parts.Prompt else {
            throw ModelError.invalid(
                "conditioning", found: "\(type(of: conditioning))", expected: "one this model prepared",
                kind: .internalError)
        }
        try checkLatents(latents, channels: config.inChannels)
        let text = try parts.text(pass.timesteps.last ?? 0, prompt, pass.trace)
        let layout = try config.tokenLayout(LatentShape(latents.shape), textTokens: text.shape[0])
        let times = parts.times(pass.timesteps, layout)
        try checkTimesteps(times, tokens: layout.videoTokens)
        let stack = try JointPass(
            self, latents: latents, layout: layout, text: text, times: times, prompt: prompt, trace: pass.trace)
        try BlockLoop(compute).run(stack, pass)
        return stack.result
    }
}
