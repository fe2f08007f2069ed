import VditAttention
import VditTensor

/// What a transformer is conditioned on besides the timestep, as the prompt file gives it.
public struct Conditioning: Sendable {
    /// `[tokens, textDim]`, any floating-point type, already padded or cut to the model's length.
    public var prompt: Tensor
    /// Which of the prompt's tokens are valid, where the model takes a mask; all if nil.
    public var mask: [Bool]?
    /// `[width]` f32 of a second text encoder, where the model takes it.
    public var pooled: Tensor?
    /// `[imageTokens, imageDim]` of an image-to-video model, else nil.
    public var image: Tensor?
    /// Frames per second, for models that are told.
    public var frameRate: Double?
    /// The video frame that a latent frame ahead of the video stands at, where there is one.
    public var frameAhead: Int?
    /// Guidance that is built into the model, for models that are told.
    public var guidance: Double?

    public init(
        prompt: Tensor, mask: [Bool]? = nil, pooled: Tensor? = nil, image: Tensor? = nil, frameRate: Double? = nil
    ) {
        self.prompt = prompt
        self.mask = mask
        self.pooled = pooled
        self.image = image
        self.frameRate = frameRate
    }

    /// Tokens of the prompt that the model sees.
    public var textTokens: Int { mask?.count { $0 } ?? prompt.shape[0] }
}

/// Everything of one guidance branch that does not change from step to step (projected text, packed
/// cross-attention keys), made once per video.
public protocol PreparedConditioning: Sendable {
    /// Bytes it holds.
    var byteCount: Int { get }
}

/// Where in a run one forward pass stands, and what it calls.
public struct ForwardPass {
    /// The timestep on the model's scale (0…1000): one value, or one per video token.
    public var timesteps: [Float]
    public var branch: AttentionSite.Branch
    /// 0-based index in the sampler loop, and the loop's length.
    public var step: Int
    public var steps: Int
    /// Computes one self-attention: a run's `AttentionContext`, or dense attention.
    public var attend: (AttentionCall) throws -> AttentionOutput
    /// What calls bring for the sparse attention the model was trained with, where it has that.
    public var trained: TrainedAttention?
    /// Called before every layer that runs with its index; throws to stop the pass.
    public var onLayer: ((Int) throws -> Void)?
    /// Checks every layer's output and throws `ModelError.nonFinite` naming the layer. For finding the
    /// origin of a NaN: it costs a pass over the residual stream per layer.
    public var checksLayers = false
    /// Records intermediates where given.
    public var trace: Trace?
    /// Decides which blocks run: asked at the first block, and again where its last decision ends; all run if nil.
    public var decideBlocks: ((BlockState) throws -> BlockDecision)?
    /// What becomes of cross-attention, in families that have it apart from self-attention; computed if nil.
    public var crossAttention: CrossAttentionUse?

    public init(
        timesteps: [Float], branch: AttentionSite.Branch = .conditional, step: Int = 0, steps: Int = 1,
        attend: @escaping (AttentionCall) throws -> AttentionOutput
    ) {
        self.timesteps = timesteps
        self.branch = branch
        self.step = step
        self.steps = steps
        self.attend = attend
    }
}

/// What a pass does with what cross-attention adds to the rows of the video, block by block: `[rows, width]` each.
public enum CrossAttentionUse {
    /// Computes it, and hands it over when all blocks have run, in the operand type.
    case kept(([Tensor]) -> Void)
    /// Adds this instead.
    case given([Tensor])
}

/// A video diffusion transformer: predicts the model output (velocity, noise, …) for latents.
public protocol VideoModel: Sendable {
    /// Bytes of one block's packed weights, one in the middle.
    var layerByteCount: Int { get }

    /// Projects a prompt once for all steps.
    ///
    /// - Throws: `ModelError` when the conditioning does not have the width the model expects.
    func prepare(_ conditioning: Conditioning) throws -> any PreparedConditioning

    /// One forward pass.
    ///
    /// - Parameter latents: `[channels, frames, height, width]` f32.
    /// - Returns: `[outputChannels, frames, height, width]` f32.
    func predict(
        _ latents: Tensor, conditioning: any PreparedConditioning, _ pass: ForwardPass
    ) throws -> Tensor
}
