import VditAttention
import VditTensor

/// What tells one family of `CrossTransformer` from another: sizes, names of tensors, norms and positions.
public protocol CrossTransformerConfig: TransformerSpecification {
    var layers: Int { get set }
    var inChannels: Int { get }
    var outChannels: Int { get }
    var textDim: Int { get }
    var ffnDim: Int { get }
    /// Patch extents: frames, height, width.
    var patch: [Int] { get }
    /// What precedes self-attention and the feed-forward, before modulation.
    var norm: CrossTransformerNorm { get }
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
    /// - Parameter frameRate: frames per second, for models that are told.
    func rotary(_ layout: TokenLayout, frameRate: Double?) -> RotaryTable
}

public enum CrossTransformerNorm: Sendable {
    case layer, rms
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
    /// Width of the residual stream.
    public var inner: Int { heads * headDim }
    var patchSize: Int { patch.reduce(1, *) }

    public var norm: CrossTransformerNorm { .layer }
    public var queryKeyEpsilon: Double { epsilon }
    public var imageDim: Int? { nil }
    public var addedKVProjDim: Int? { nil }
    public var posEmbedSeqLen: Int? { nil }
    public var inputChannels: Int { inChannels }
    public var outputChannels: Int { outChannels }
    public var patchExtents: (frames: Int, height: Int, width: Int) { (patch[0], patch[1], patch[2]) }

    public func work(_ layout: TokenLayout, textTokens: Int) -> TransformerWork {
        let (s, d, layers) = (Double(layout.tokens), Double(inner), Double(layers))
        let t = Double(textTokens + conditioning.expectedImageTokens)
        // Four products of self-attention, two of cross-attention; cross-attention; feed-forward.
        return TransformerWork(
            selfAttention: layers * 4 * s * s * d,
            other: layers * (s * 12 * d * d + 4 * s * t * d + s * 4 * d * Double(ffnDim)),
            prompt: layers * 4 * d * d * t, crossAttention: layers * (s * 4 * d * d + 4 * s * t * d),
            gates: hasGates ? layers * 2 * s * d * d : 0)
    }

    /// Residual fp32; q, k, v and their packed copies; the output.
    public func activationBytes(_ layout: TokenLayout, operand: DType) -> Int {
        layout.tokens * inner * (4 + 7 * operand.byteCount)
    }

    public func promptBytes(textTokens: Int, operand: DType) -> Int {
        layers * (textTokens + conditioning.expectedImageTokens) * inner * 2 * operand.byteCount
    }

    /// The matrices of all blocks but the first and the last.
    public var int8ParameterCount: Int {
        let ends = [0, layers - 1].map { "\(names.blocks).\($0)." }
        return blockParameters { name, shape in
            !ends.contains(where: name.hasPrefix) && name.hasSuffix(".weight") && shape.count == 2
                && !CrossKeys.isPart(name)
        }
    }

    public var promptParameterCount: Int { blockParameters { name, _ in CrossKeys.isPart(name) } }

    private func blockParameters(_ count: (_ name: String, _ shape: [Int]) -> Bool) -> Int {
        tensors.reduce(0) { sum, tensor in
            let counts = tensor.name.hasPrefix(names.blocks + ".") && count(tensor.name, tensor.shape)
            return counts ? sum + tensor.shape.reduce(1, *) : sum
        }
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

/// Names and shapes of a checkpoint's tensors, as they are listed.
struct TensorList {
    private(set) var all: [(name: String, shape: [Int])] = []

    mutating func add(_ name: String, _ shape: [Int]) { all.append((name, shape)) }

    mutating func linear(_ name: String, _ inputs: Int, _ outputs: Int) {
        add(name + ".weight", [outputs, inputs])
        add(name + ".bias", [outputs])
    }

    mutating func affine(_ name: String, _ size: Int) {
        add(name + ".weight", [size])
        add(name + ".bias", [size])
    }

    /// Self- or cross-attention of rows of `width`, with the norm of queries and keys.
    mutating func attention(_ name: String, _ width: Int, context: Int? = nil) {
        for part in ["to_q", "to_k", "to_v", "to_out.0"] {
            linear("\(name).\(part)", part == "to_k" || part == "to_v" ? context ?? width : width, width)
        }
        add("\(name).norm_q.weight", [width])
        add("\(name).norm_k.weight", [width])
    }
}
