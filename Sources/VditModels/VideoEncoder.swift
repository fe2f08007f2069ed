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

/// How a model's video begins with a picture, and whether it ends with one.
public struct PictureStart: Sendable, Equatable {
    /// How the model is shown its pictures.
    public enum Place: Sendable {
        /// The first one is the first latent frame, at time 0, the last one a latent frame ahead of the video.
        case firstFrame
        /// As channels beside the latents: which frames are given, and the latents of a video that is grey elsewhere.
        case channels
    }

    /// Whether a model takes a picture.
    public enum Need: Sendable {
        case none, optional, required
    }

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
    public var place: Place
    /// Of a picture that the video ends with.
    public var last: Need

    public init(_ draw: Draw, noiseScale: Double = 0, place: Place = .firstFrame, last: Need = .none) {
        self.draw = draw
        self.noiseScale = noiseScale
        self.place = place
        self.last = last
    }

    /// Of the picture that the video begins with: channels that a model was trained with cannot stay empty.
    public var first: Need { place == .channels ? .required : .optional }
}
