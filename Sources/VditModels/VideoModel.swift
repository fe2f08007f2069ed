import VditAttention
import VditTensor

/// What a transformer is conditioned on besides the timestep, as the prompt file gives it.
public struct Conditioning: Sendable {
    /// `[tokens, textDim]`, any floating-point type, already padded or cut to the model's length.
    public var prompt: Tensor
    /// `[imageTokens, imageDim]` of an image-to-video model, else nil.
    public var image: Tensor?

    public init(prompt: Tensor, image: Tensor? = nil) {
        self.prompt = prompt
        self.image = image
    }
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
    /// Called before every layer with its index; throws to stop the pass.
    public var onLayer: ((Int) throws -> Void)?
    /// Checks every layer's output and throws `ModelError.nonFinite` naming the layer. For finding the
    /// origin of a NaN: it costs a pass over the residual stream per layer.
    public var checksLayers = false
    /// Records intermediates where given.
    public var trace: Trace?

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

/// A video diffusion transformer: predicts the model output (velocity, noise, …) for latents.
public protocol VideoModel: Sendable {
    /// Channels of the latents it takes and of those it predicts.
    var inputChannels: Int { get }
    var outputChannels: Int { get }
    var layers: Int { get }
    /// Self-attention heads and the size of each.
    var heads: Int { get }
    var headDim: Int { get }

    /// How the tokens of latents `[channels, frames, height, width]` lie in self-attention.
    ///
    /// - Throws: `ModelError` when the extents do not divide by the patch size or exceed the positions.
    func tokenLayout(frames: Int, height: Int, width: Int) throws(ModelError) -> TokenLayout

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
