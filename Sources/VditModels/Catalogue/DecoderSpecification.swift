import VditFiles
import VditTensor

/// A VAE as its configuration states it: everything that is known before any weight is read.
public protocol DecoderSpecification: Sendable {
    var latentChannels: Int { get }
    /// Pixels per latent pixel, in height and in width.
    var spatialCompression: Int { get }
    /// Video frames per latent frame after the first.
    var temporalCompression: Int { get }
    /// Clips have 1 more frame than a multiple of this.
    var frameStep: Int { get }
    /// Whether it is told a time and has noise mixed into its latents.
    var takesConditions: Bool { get }
    /// Whether there is an encoder beside it, which pictures and videos to begin from need.
    var hasEncoder: Bool { get }
    /// Every tensor of the checkpoint and its shape.
    var tensors: [(name: String, shape: [Int])] { get }
    /// The shape in words, for a person.
    var summary: String { get }
    /// What its `config.json` says.
    var configuration: [String: ConfigurationValue] { get }

    /// Latents of a video of a size the decoder can make.
    func latentShape(width: Int, height: Int, numFrames: Int) -> LatentShape

    /// The video that latents give.
    func videoSize(of latents: LatentShape) -> (width: Int, height: Int, numFrames: Int)

    /// Operations of a decode, a multiply-add being two.
    ///
    /// - Parameters:
    ///   - height: pixels, as is `width`.
    ///   - frames: latent frames.
    func decodeFLOPs(height: Int, width: Int, frames: Int) -> Double

    /// Memory a decode of frames of this many pixels needs at most, beside the weights.
    func decodeBytes(height: Int, width: Int, operandBytes: Int) -> Int

    /// Packs the decoder's weights. Shapes must have been checked against `tensors`.
    ///
    /// - Throws: `TensorError` if a tensor is missing or a library refuses a shape.
    func load(_ weights: any WeightSource, _ compute: ComputeContext) throws -> any VideoDecoder

    /// The same of the encoder; nil where there is none to draw latents from.
    func loadEncoder(_ weights: any WeightSource, _ compute: ComputeContext) throws -> (any VideoEncoder)?
}

extension DecoderSpecification {
    public var frameStep: Int { temporalCompression }

    public var takesConditions: Bool { false }

    public var hasEncoder: Bool { true }

    public func loadEncoder(_ weights: any WeightSource, _ compute: ComputeContext) throws -> (any VideoEncoder)? {
        nil
    }

    /// Parameters in all.
    public var parameterCount: Int { tensors.reduce(0) { $0 + $1.shape.reduce(1, *) } }

    public func latentShape(width: Int, height: Int, numFrames: Int) -> LatentShape {
        LatentShape(
            channels: latentChannels, frames: (numFrames - 1) / temporalCompression + 1,
            height: height / spatialCompression, width: width / spatialCompression)
    }

    public func videoSize(of latents: LatentShape) -> (width: Int, height: Int, numFrames: Int) {
        (
            latents.width * spatialCompression, latents.height * spatialCompression,
            1 + (latents.frames - 1) * temporalCompression
        )
    }
}
