import VditAttention
import VditTensor

/// What tells one family of `JointTransformer` from another, as far as it is known before any weight is read.
public protocol JointTransformerConfig: PatchTransformerConfig {
    /// Width of the text's rows; that of the video's unless the text's are narrower.
    var textWidth: Int { get }
    /// Where the text stands in the joint sequence.
    var textPlace: JointTextPlace { get }
    /// Positions along each axis, where there are no more.
    var positions: [Int]? { get }
}

public enum JointTextPlace: Sendable {
    case beforeVideo, behindVideo
}

extension JointTransformerConfig {
    public var textWidth: Int { inner }
    public var textPlace: JointTextPlace { .behindVideo }
    public var positions: [Int]? { nil }

    public func tokenLayout(_ latents: LatentShape, textTokens: Int) throws(ModelError) -> TokenLayout {
        let extents = try tokenExtents(latents, atMost: positions)
        let isBefore = textPlace == .beforeVideo
        return TokenLayout(
            frames: extents[0], height: extents[1], width: extents[2], textBefore: isBefore ? textTokens : 0,
            textAfter: isBefore ? 0 : textTokens)
    }

    /// Text takes part in self-attention and in every product, by matrices of its own or by those of the video.
    public func work(_ layout: TokenLayout, textTokens: Int) -> TransformerWork {
        let (all, d, layers) = (Double(layout.tokens), Double(inner), Double(layers))
        var (video, text) = (0, 0)
        var own: [String: (video: Int, text: Int)] = [:]
        for tensor in tensors
        where tensor.shape.count == 2 && tensor.name.hasSuffix(".weight") && !tensor.name.contains(".norm") {
            guard let block = Self.block(of: tensor.name) else { continue }
            let isOfText = ["add_", "ff_context"].contains { tensor.name.contains($0) }
            let count = tensor.shape.reduce(1, *)
            own[block, default: (0, 0)].video += isOfText ? 0 : count
            own[block, default: (0, 0)].text += isOfText ? count : 0
        }
        for block in own.values {
            video += block.video
            text += block.text > 0 ? block.text : block.video
        }
        return TransformerWork(
            selfAttention: layers * 4 * all * all * d,
            other: 2 * (Double(layout.videoTokens) * Double(video) + Double(layout.textTokens) * Double(text)),
            prompt: 2 * Double(textTokens * conditioning.promptWidth * textWidth))
    }

    public func promptBytes(textTokens: Int, operand: DType) -> Int { textTokens * textWidth * 4 }
}

extension TensorList {
    /// The matrices of an attention, with or without biases.
    mutating func matrices(_ names: [String], _ inputs: Int, _ outputs: Int, bias: Bool = true) {
        for name in names {
            if bias { linear(name, inputs, outputs) } else { add(name + ".weight", [outputs, inputs]) }
        }
    }
}
