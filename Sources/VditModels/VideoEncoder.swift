import VditTensor

/// Turns video into latents, as the sampler has them.
public protocol VideoEncoder: Sendable {
    /// Latents of a video, normalised.
    ///
    /// - Parameters:
    ///   - video: `[3, frames, height, width]` f32 in -1...1.
    ///   - noise: standard normal numbers in the latents' shape, `[channels, frames, height, width]` f32: draws from
    ///     the distribution that the video has; nil takes its mode.
    /// - Throws: `ModelError` for a size that the encoder cannot make latents of.
    func encode(_ video: Tensor, noise: Tensor?) throws -> Tensor
}

/// How a model's video begins with a picture.
public struct PictureStart: Sendable, Equatable {
    /// What becomes of the distribution that the picture's latents have.
    public enum Draw: Sendable {
        /// They are drawn from it before the start's noise is, or after.
        case beforeStart, afterStart
        /// They are its mode.
        case none
    }

    public var draw: Draw
    /// Noise that its latents get for each call of the model, times the square of the time in 0…1.
    public var noiseScale: Double

    public init(_ draw: Draw, noiseScale: Double = 0) {
        self.draw = draw
        self.noiseScale = noiseScale
    }
}
