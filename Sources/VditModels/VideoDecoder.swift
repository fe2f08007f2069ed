import VditTensor

/// Turns latents into video, frame by frame. Sizes, work and memory are its `DecoderSpecification`'s to tell.
public protocol VideoDecoder: Sendable {
    /// Bytes of the packed weights.
    var weightBytes: Int { get }

    /// Decodes `[channels, frames, height, width]` f32 latents as the sampler leaves them (normalised).
    ///
    /// - Parameter onFrames: gets the next frames, each `[height, width, 3]` f32 in -1...1, R'G'B', as soon
    ///   as they are made; what it throws ends the decode.
    /// - Throws: `ModelError` when the latents do not have the decoder's channels, or what `onFrames` throws.
    func decode(_ latents: Tensor, onFrames: ([Tensor]) throws -> Void) throws
}
