import VditTensor

/// Turns video into latents, as the sampler has them.
public protocol VideoEncoder: Sendable {
    /// Draws latents of the distribution that a video has, normalised.
    ///
    /// - Parameters:
    ///   - video: `[3, frames, height, width]` f32 in -1...1.
    ///   - noise: standard normal numbers in the latents' shape, `[channels, frames, height, width]` f32.
    /// - Throws: `ModelError` for a size that the encoder cannot make latents of.
    func encode(_ video: Tensor, noise: Tensor) throws -> Tensor
}

/// How a model's video begins with a picture.
public struct PictureStart: Sendable, Equatable {
    /// Whether the noise of the picture's latents is drawn before the start's, or after it.
    public var isDrawnFirst: Bool
    /// Noise that its latents get for each call of the model, times the square of the time in 0…1.
    public var noiseScale: Double

    public init(isDrawnFirst: Bool, noiseScale: Double) {
        self.isDrawnFirst = isDrawnFirst
        self.noiseScale = noiseScale
    }
}
