import VditAttention
import VditTensor

/// HunyuanVideo in front of its blocks and in them: text refined at every time, blocks of two streams and, behind them,
/// blocks of one.
struct HunyuanVideoParts: JointParts {
    static let patchName = "x_embedder.proj"

    private let config: HunyuanVideoTransformerConfig
    private let time: TimestepEmbedder
    private let guidance: TimestepEmbedder?
    private let pooled: VectorEmbedder
    private let refiner: HunyuanVideoRefiner
    private let kernels: RowKernels

    struct Prompt: PreparedConditioning {
        let text: HunyuanVideoRefiner.Prompt
        /// `[1, inner]` f32, what the pooled vector and the guidance add to the time's.
        let pooled: Tensor
        let guidance: Tensor?
        var byteCount: Int { text.byteCount }
    }

    init(
        _ config: HunyuanVideoTransformerConfig, _ loader: WeightLoader, _ compute: ComputeContext
    ) throws(TensorError) {
        self.config = config
        kernels = RowKernels(compute.instructionSet)
        time = try TimestepEmbedder(loader, "time_text_embed.timestep_embedder")
        guidance = config.hasGuidance ? try TimestepEmbedder(loader, "time_text_embed.guidance_embedder") : nil
        pooled = try VectorEmbedder(loader, "time_text_embed.text_embedder")
        refiner = try HunyuanVideoRefiner(config, loader, compute)
    }

    static func block(
        _ config: HunyuanVideoTransformerConfig, _ index: Int, _ name: String, _ loader: WeightLoader
    ) throws(TensorError) -> JointBlock {
        let plain = loader.unquantised
        let attention = "\(name).attn"
        func lane(
            _ qkv: [String], _ norms: (String, String), _ product: Int, _ rest: JointLane.Rest
        ) throws(TensorError) -> JointLane {
            var lane = JointLane(
                width: config.inner, norm: .layer, epsilon: 1e-6,
                attentionPlaces: ModulationPlaces(product: product, shift: 0, scale: 1, gate: 2),
                qkv: try loader.linear(
                    "\(attention).\(qkv[0])", "\(attention).\(qkv[1])", "\(attention).\(qkv[2])", result: .f32),
                rest: rest)
            lane.normQ = .rms(try plain.vector("\(attention).\(norms.0).weight"))
            lane.normK = .rms(try plain.vector("\(attention).\(norms.1).weight"))
            lane.feedForwardPlaces = ModulationPlaces(product: product, shift: 3, scale: 4, gate: 5)
            return lane
        }
        let own = ["to_q", "to_k", "to_v"]
        if index >= config.dualLayers {
            let rest = JointLane.Rest.beside(
                hidden: try loader.linear(
                    "\(name).proj_mlp", result: loader.compute.operandType, activation: .geluTanh),
                out: try loader.linear("\(name).proj_out", result: .f32))
            var only = try lane(own, ("norm_q", "norm_k"), 0, rest)
            only.feedForwardPlaces = ModulationPlaces()
            return JointBlock(
                heads: config.heads, headDim: config.headDim,
                modulations: [try plain.linear("\(name).norm.linear", result: .f32)], lanes: [only])
        }
        func rest(_ out: String, _ feedForward: String) throws(TensorError) -> JointLane.Rest {
            .behind(
                out: try loader.linear("\(attention).\(out)", result: .f32),
                try FeedForward(loader, "\(name).\(feedForward)", .plain(.geluTanh)))
        }
        return JointBlock(
            heads: config.heads, headDim: config.headDim,
            modulations: [
                try plain.linear("\(name).norm1.linear", result: .f32),
                try plain.linear("\(name).norm1_context.linear", result: .f32),
            ],
            lanes: [
                try lane(own, ("norm_q", "norm_k"), 0, rest("to_out.0", "ff")),
                try lane(
                    ["add_q_proj", "add_k_proj", "add_v_proj"], ("norm_added_q", "norm_added_k"), 1,
                    rest("to_add_out", "ff_context")),
            ])
    }

    static func head(
        _ config: HunyuanVideoTransformerConfig, _ loader: WeightLoader
    ) throws(TensorError) -> JointHead {
        JointHead(
            epsilon: 1e-6, modulator: try loader.linear("norm_out.linear", result: .f32), scaleIndex: 0,
            projection: try loader.linear("proj_out", result: .f32), order: .first)
    }

    func prepare(_ conditioning: Conditioning) throws -> Prompt {
        // Padding attends to token 0, and so would the valid ones if it were padding.
        guard conditioning.mask?.first == true else {
            throw ModelError.invalid(
                "prompt mask", found: "padding first", expected: "a valid token first, padding behind", kind: .badData)
        }
        guard let vector = conditioning.pooled else {
            throw ModelError.invalid("pooled prompt", found: "none", expected: "one", kind: .badData)
        }
        let scratch = Scratch()
        return Prompt(
            text: try refiner.prepare(conditioning.validPrompt),
            pooled: try pooled(vector.reshaped([1, vector.count]), scratch),
            guidance: try conditioning.guidance.flatMap { try guidance?(Float($0 * 1000), scratch).embedding })
    }

    /// The first frame is at time 0 where it is a picture.
    func times(_ timesteps: [Float], _ layout: TokenLayout) -> [Float] {
        guard config.replacesTokens, timesteps.count == 1, layout.frames > 1 else { return timesteps }
        return (0..<layout.videoTokens).map { $0 < layout.tokensPerFrame ? 0 : timesteps[0] }
    }

    /// A picture's tokens are told no guidance.
    func vector(
        _ timestep: Float, isText: Bool, _ prompt: Prompt, _ trace: Trace?
    ) throws(TensorError) -> Tensor {
        let vector = try time(timestep, Scratch()).embedding
        for part in [prompt.pooled, isText ? prompt.guidance : nil] {
            if let part { kernels.gatedAdd(vector, part, gate: nil) }
        }
        return vector
    }

    func text(_ timestep: Float, _ prompt: Prompt, _ trace: Trace?) throws -> Tensor {
        let text = try refiner(timestep, prompt.text)
        trace?.record("context_embedder.out", text)
        return text
    }

    func positions(_ layout: TokenLayout) -> JointPositions {
        JointPositions(
            turning: RotaryTable(
                frames: layout.frames, height: layout.height, width: layout.width, parts: config.rotaryParts,
                theta: config.rotaryTheta))
    }
}
