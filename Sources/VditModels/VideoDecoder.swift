import VditTensor

/// Turns latents into video, frame by frame.
public protocol VideoDecoder: Sendable {
    var latentChannels: Int { get }
    /// Pixels per latent pixel, in height and in width.
    var spatialCompression: Int { get }
    /// Video frames per latent frame after the first.
    var temporalCompression: Int { get }

    /// Bytes of the packed weights.
    var weightBytes: Int { get }

    /// Decodes `[channels, frames, height, width]` f32 latents as the sampler leaves them (normalised).
    ///
    /// - Parameter onFrames: gets the next frames, each `[height, width, 3]` f32 in -1...1, R'G'B', as soon
    ///   as they are made; what it throws ends the decode.
    /// - Throws: `ModelError` when the latents do not have the decoder's channels, or what `onFrames` throws.
    func decode(_ latents: Tensor, onFrames: ([Tensor]) throws -> Void) throws

    /// Memory a decode of frames of this many pixels needs at most, beside the weights.
    func estimatedPeakBytes(height: Int, width: Int) -> Int
}

extension VideoDecoder {
    /// Frames of the video that so many latent frames give.
    public func frameCount(latentFrames: Int) -> Int {
        latentFrames <= 0 ? 0 : 1 + (latentFrames - 1) * temporalCompression
    }
}
