import VditAttention
import VditModels
import VditTensor

/// The picture a video begins with: its latents are the first frame, the model is told time 0 there, and sampling
/// leaves them as they are.
///
/// - Source: LTXImageToVideoPipeline, LTXConditionPipeline with a condition of strength 1 at frame 0, and
///   WanImageToVideoPipeline with `expand_timesteps`, diffusers 0.42.1. There the sampler works on Wan's first frame
///   too, unseen.
public struct HeldPicture: Sendable {
    /// `[channels, 1, height, width]` f32, normalised.
    private let latents: Tensor
    private let layout: TokenLayout
    /// Share of fresh noise that the model sees in it, times the square of the time in 0…1.
    private let noiseScale: Double
    private var noise: NumberedNoise

    /// - Parameters:
    ///   - latents: `[channels, 1, height, width]` f32, normalised.
    ///   - layout: of the video's tokens, each one frame of the latents.
    ///   - random: the generator in front of the first call's noise.
    public init(latents: Tensor, layout: TokenLayout, noiseScale: Double, random: TorchRandom) {
        self.latents = latents
        self.layout = layout
        self.noiseScale = noiseScale
        noise = NumberedNoise(random)
    }

    /// One time per token.
    func timesteps(_ step: Step) -> [Float] {
        (0..<layout.videoTokens).map { $0 < layout.tokensPerFrame ? 0 : step.timestep }
    }

    /// The video before a call of the model: the picture in its first frame, with the noise it is shown in.
    mutating func shown(in video: Tensor, at step: Step) -> Tensor {
        let result = video.copy()
        put(latents, into: result)
        guard noiseScale > 0 else { return result }
        let time = Double(step.timestep) / 1000
        // Drawn in the model's order, `[token, channel]`.
        let channels = latents.shape[0]
        let drawn = noise(step.index, [layout.videoTokens, channels])
        let scale = Float(noiseScale * time * time)
        let frame = latents.copy()
        let pixels = frame.count / channels
        frame.withMutableFloats { values in
            drawn.withFloats { drawn in
                for pixel in 0..<pixels {
                    for channel in 0..<channels {
                        values[channel * pixels + pixel] += scale * drawn[pixel * channels + channel]
                    }
                }
            }
        }
        put(frame, into: result)
        return result
    }

    /// The video after a step: its first frame is what the model was shown.
    func kept(in video: Tensor, from shown: Tensor) -> Tensor {
        let result = video.copy()
        for channel in 0..<latents.shape[0] {
            result[channel].slice(0..<1).assign(shown[channel].slice(0..<1))
        }
        return result
    }

    private func put(_ frame: Tensor, into video: Tensor) {
        for channel in 0..<latents.shape[0] { video[channel].slice(0..<1).assign(frame[channel]) }
    }
}
