import VditAttention
import VditTensor

/// What tells one family of `CrossTransformer` from another: sizes, names of tensors, norms and positions.
public protocol CrossTransformerConfig: PatchTransformerConfig {
    var layers: Int { get set }
    var textDim: Int { get }
    var ffnDim: Int { get }
    /// What precedes self-attention and the feed-forward, before modulation.
    var norm: RowNorm { get }
    var epsilon: Double { get }
    /// Of the RMS norm of queries and keys, which covers all heads together.
    var queryKeyEpsilon: Double { get }
    /// Whether cross-attention reads a layer norm of the rows, or the rows as they are.
    var crossAttentionNorm: Bool { get }
    /// Width of an image encoder's tokens, which cross-attention reads beside the prompt; nil without them.
    var imageDim: Int? { get }
    /// What their keys and values are projected from.
    var addedKVProjDim: Int? { get }
    /// Learned positions of those tokens.
    var posEmbedSeqLen: Int? { get }
    var names: CrossTransformerNames { get }

    /// The angles that queries and keys turn by.
    ///
    /// - Parameters:
    ///   - frameRate: frames per second, for models that are told.
    ///   - frameAhead: the video frame that the layout's first stands at, where that is none of the video's own.
    func rotary(_ layout: TokenLayout, frameRate: Double?, frameAhead: Int?) -> RotaryTable
}

/// What a family calls its tensors, as far as families differ.
public struct CrossTransformerNames: Sendable {
    let patch: String
    /// Of the pair `linear_1`, `linear_2`, as is `text`.
    let time: String
    let timeProjection: String
    let text: String
    var image = ""
    let blocks: String
    let feedForward: String
}

extension CrossTransformerConfig {
    public var norm: RowNorm { .layer }
    public var queryKeyEpsilon: Double { epsilon }
    public var imageDim: Int? { nil }
    public var addedKVProjDim: Int? { nil }
    public var posEmbedSeqLen: Int? { nil }
    public var blockNames: [String] { (0..<layers).map { "\(names.blocks).\($0)" } }

    public func work(_ layout: TokenLayout, textTokens: Int) -> TransformerWork {
        let (s, d, layers) = (Double(layout.tokens), Double(inner), Double(layers))
        let t = Double(textTokens + conditioning.expectedImageTokens)
        // Four products of self-attention, two of cross-attention; cross-attention; feed-forward.
        return TransformerWork(
            selfAttention: layers * 4 * s * s * d,
            other: layers * (s * 12 * d * d + 4 * s * t * d + s * 4 * d * Double(ffnDim)),
            prompt: layers * 4 * d * d * t, crossAttention: layers * (s * 4 * d * d + 4 * s * t * d),
            trained: layers * s * d * (trained.map { Double($0.operations(width: inner, headDim: headDim)) } ?? 0))
    }

    public func promptBytes(textTokens: Int, operand: DType) -> Int {
        layers * (textTokens + conditioning.expectedImageTokens) * inner * 2 * operand.byteCount
    }

    public var promptParameterCount: Int {
        tensors.reduce(0) { $0 + (CrossKeys.isPart($1.name) ? $1.shape.reduce(1, *) : 0) }
    }

    public func isKeptMatrix(_ name: String) -> Bool {
        !CrossKeys.isPart(name) && !name.hasSuffix(".\(TrainedAttention.projections.layer).weight")
    }

    public func withLayers(_ count: Int) -> Self {
        var other = self
        other.layers = count
        return other
    }

    public func load(_ weights: any WeightSource, _ compute: ComputeContext) throws -> any VideoModel {
        try CrossTransformer(config: self, weights: weights, compute: compute)
    }
}
