import VditAttention
import VditFiles
import VditTensor

/// Extents of latents, `[channels, frames, height, width]`.
public struct LatentShape: Sendable, Hashable {
    public var channels: Int
    public var frames: Int
    public var height: Int
    public var width: Int

    public init(channels: Int, frames: Int, height: Int, width: Int) {
        self.channels = channels
        self.frames = frames
        self.height = height
        self.width = width
    }

    /// - Parameter shape: four extents, as a tensor of latents has them.
    public init(_ shape: [Int]) {
        precondition(shape.count == 4)
        self.init(channels: shape[0], frames: shape[1], height: shape[2], width: shape[3])
    }

    public var extents: [Int] { [channels, frames, height, width] }
    public var count: Int { channels * frames * height * width }
}

/// What a transformer is conditioned on, beside the latents and the time.
public struct ConditioningNeeds: Sendable, Equatable {
    /// Width of a prompt embedding's tokens.
    public var promptWidth: Int
    /// Whether padding tokens of the prompt are marked by a mask.
    public var takesMask: Bool
    /// Whether the mask may leave no token at all: what an empty prompt is to Mochi.
    public var takesEmptyPrompt = false
    /// Whether the model is told a guidance that it was trained with, in place of a second call.
    public var takesGuidance = false
    /// Width of the vector a second text encoder pools, where the model takes one.
    public var pooledWidth: Int?
    /// Width of an image encoder's tokens, where the model takes them.
    public var imageWidth: Int?
    /// How many of them, of all its pictures together, where it has a place for each.
    public var imageTokens: Int?
    /// Whether the time may differ from token to token.
    public var takesTimePerToken: Bool
    /// Whether the model is told the frame rate.
    public var takesFrameRate: Bool

    public init(
        promptWidth: Int, takesMask: Bool = false, pooledWidth: Int? = nil, imageWidth: Int? = nil,
        imageTokens: Int? = nil, takesTimePerToken: Bool = false, takesFrameRate: Bool = false
    ) {
        self.promptWidth = promptWidth
        self.takesMask = takesMask
        self.pooledWidth = pooledWidth
        self.imageWidth = imageWidth
        self.imageTokens = imageTokens
        self.takesTimePerToken = takesTimePerToken
        self.takesFrameRate = takesFrameRate
    }

    /// Tokens of an image encoder to reckon with: else those of one picture by CLIP's ViT-H/14.
    public var expectedImageTokens: Int { imageWidth == nil ? 0 : imageTokens ?? 257 }
}

/// Operations of a transformer, a multiply-add being two, self-attention dense.
public struct TransformerWork: Sendable, Equatable {
    /// Of one call: scores and values of all layers' self-attention.
    public var selfAttention: Double
    /// Of one call: everything else.
    public var other: Double
    /// Of one prompt, once per video: what `VideoModel.prepare` does.
    public var prompt: Double
    /// Of `other`: cross-attention with its projections of the video's rows, where blocks have it.
    public var crossAttention: Double
    /// Of one call: what a sparse attention the model was trained with adds, where that runs.
    public var trained: Double

    public init(
        selfAttention: Double, other: Double, prompt: Double, crossAttention: Double = 0, trained: Double = 0
    ) {
        self.selfAttention = selfAttention
        self.other = other
        self.prompt = prompt
        self.crossAttention = crossAttention
        self.trained = trained
    }
}

/// A transformer as its configuration states it: everything that is known before any weight is read.
public protocol TransformerSpecification: Sendable {
    /// Transformer blocks with self-attention.
    var layers: Int { get }
    /// Self-attention heads and the size of each.
    var heads: Int { get }
    var headDim: Int { get }
    /// Channels of what it takes, `conditionChannels` behind those of the latents, and of the latents it predicts.
    var inputChannels: Int { get }
    var outputChannels: Int { get }
    var conditioning: ConditioningNeeds { get }
    /// Every tensor of the checkpoint and its shape.
    var tensors: [(name: String, shape: [Int])] { get }
    /// What its self-attention has for the sparse attention it was trained with.
    var trained: TrainedAttention? { get }
    /// Parameters that precision int8 keeps as whole numbers.
    var int8ParameterCount: Int { get }
    /// Parameters that only prompts need, which are not kept.
    var promptParameterCount: Int { get }
    /// The same with what its configuration does not tell and the names of the tensors do.
    func matching(_ weights: any WeightSource) -> Self
    /// The names an adapter may call its modules by.
    var adapterNames: AdapterNames { get }
    /// The shape in words, for a person.
    var summary: String { get }
    /// What its `config.json` says.
    var configuration: [String: ConfigurationValue] { get }

    /// Latent pixels that frames, height and width must be multiples of.
    var patchExtents: (frames: Int, height: Int, width: Int) { get }

    /// How the tokens of latents lie in self-attention.
    ///
    /// - Parameter textTokens: of the branch's prompt, as far as they are valid; not all models have them in
    ///   self-attention.
    /// - Throws: `ModelError` when the extents do not divide by the patch or exceed the positions.
    func tokenLayout(_ latents: LatentShape, textTokens: Int) throws(ModelError) -> TokenLayout

    /// - Parameter textTokens: of a prompt embedding.
    func work(_ layout: TokenLayout, textTokens: Int) -> TransformerWork

    /// Memory a call needs beside the weights: the residual stream, queries, keys, values and their packed copies.
    func activationBytes(_ layout: TokenLayout, operand: DType) -> Int

    /// Memory a prepared prompt holds.
    func promptBytes(textTokens: Int, operand: DType) -> Int

    /// The same with fewer or more blocks: for timing one of them.
    func withLayers(_ count: Int) -> Self

    /// Packs the weights. Shapes must have been checked against `tensors`.
    ///
    /// - Throws: `TensorError` if a tensor is missing or a library refuses a shape.
    func load(_ weights: any WeightSource, _ compute: ComputeContext) throws -> any VideoModel
}

extension TransformerSpecification {
    /// Checks that the weights are the checkpoint's.
    ///
    /// - Throws: `TensorError.weights` with everything that is wrong.
    public func check(_ weights: WeightStore) throws(TensorError) {
        try weights.check(tensors)
    }

    /// Parameters in all.
    public var parameterCount: Int { tensors.reduce(0) { $0 + $1.shape.reduce(1, *) } }

    /// Channels of every call beside the latents: those of its pictures.
    public var conditionChannels: Int { inputChannels - outputChannels }

    public var trained: TrainedAttention? { nil }
    public var int8ParameterCount: Int { 0 }
    public var promptParameterCount: Int { 0 }
    public func matching(_ weights: any WeightSource) -> Self { self }

    /// Memory of its weights in a precision, as they are kept. Where blocks are made anew, three of them are there at a
    /// time: the one at work, the one before it, and the next. The mapped file's own pages are the system's to take back.
    public func weightBytes(_ precision: Precision, _ keeping: LayerKeeping = .packed) -> Int {
        let bytes = precision.dtype.byteCount
        let kept = parameterCount - promptParameterCount
        if keeping == .packed { return kept * bytes - (precision == .int8 ? int8ParameterCount * (bytes - 1) : 0) }
        // In the mean: not every family's blocks are of one size.
        let block = (parameterCount - withLayers(0).parameterCount) / max(1, layers)
        let working = block - promptParameterCount / max(1, layers)
        return (kept - (layers - min(3, layers)) * working) * bytes + (keeping.type?.byteCount([layers, block]) ?? 0)
    }

    /// The checkpoint's own names and no others.
    public var adapterNames: AdapterNames { AdapterNames(tensors: tensors, aliases: []) }
}
