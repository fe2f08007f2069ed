import VditAttention
import VditModels
import VditTensor

/// Pictures that a video begins and ends with, as latent frames that sampling leaves as they are: the first one is the
/// video's own first frame, another a frame ahead of the video, which the model sees and nobody decodes.
///
/// - Source: LTXImageToVideoPipeline, LTXConditionPipeline with a picture at frame 0 and one at another, and
///   WanImageToVideoPipeline with `expand_timesteps`, diffusers 0.42.1. There the sampler works on Wan's first frame
///   too, unseen, and on a frame ahead of strength below 1, once the noise is down to what it lacks.
public struct HeldPicture: Sendable {
    /// A picture's latents.
    public struct Frame: Sendable {
        fileprivate let latents: Tensor
        fileprivate let noiseScale: Double
        fileprivate let time: Float

        /// - Parameters:
        ///   - latents: `[channels, 1, height, width]` f32, normalised.
        ///   - noiseScale: share of fresh noise that the model sees in it, times the square of the time in 0…1.
        ///   - time: what the model is told there.
        public init(_ latents: Tensor, noiseScale: Double, time: Float = 0) {
            (self.latents, self.noiseScale, self.time) = (latents, noiseScale, time)
        }
    }

    /// The video's own first frame, where it is held.
    private let first: Frame?
    private let ahead: Frame?
    private let layout: TokenLayout
    private var noise: StepNoiseSource

    /// - Parameters:
    ///   - layout: of the tokens that the model sees, each a pixel of the latents; of the frame ahead they come first.
    ///   - noise: of every call of the model, `[token, channel]`.
    public init(first: Frame?, ahead: Frame? = nil, layout: TokenLayout, noise: StepNoise) {
        (self.first, self.ahead, self.layout) = (first, ahead, layout)
        self.noise = StepNoiseSource(noise)
    }

    /// The frames that are held, as far as there are, and their numbers among those that the model sees.
    private var held: [(number: Int, frame: Frame)] {
        [ahead.map { (0, $0) }, first.map { (ahead == nil ? 0 : 1, $0) }].compactMap { $0 }
    }

    /// One time per token.
    func timesteps(_ step: Step) -> [Float] {
        var times = [Float](repeating: step.timestep, count: layout.videoTokens)
        for (number, frame) in held {
            for token in number * layout.tokensPerFrame..<(number + 1) * layout.tokensPerFrame {
                times[token] = min(frame.time, step.timestep)
            }
        }
        return times
    }

    /// What a call of the model is shown of a video: the pictures, with noise where they have it.
    mutating func shown(in video: Tensor, at step: Step) -> Tensor {
        let (channels, frames) = (video.shape[0], layout.frames)
        let result = Tensor(.f32, [channels, frames] + video.shape.dropFirst(2))
        for channel in 0..<channels {
            result[channel].slice(frames - video.shape[1]..<frames).assign(video[channel])
        }
        // Drawn where only one needs it too: the next call goes on from there.
        let drawn = held.contains { $0.frame.noiseScale > 0 }
            ? noise(step.index, at: step, [layout.videoTokens, channels]) : nil
        let time = Double(step.timestep) / 1000
        for (number, frame) in held {
            let values = frame.latents.copy()
            if let drawn, frame.noiseScale > 0 {
                add(drawn.slice(number * layout.tokensPerFrame..<(number + 1) * layout.tokensPerFrame),
                    times: Float(frame.noiseScale * time * time), to: values)
            }
            for channel in 0..<channels { result[channel].slice(number..<number + 1).assign(values[channel]) }
        }
        return result
    }

    /// Noise as it is drawn, `[token, channel]`, in a frame `[channel, 1, height, width]`.
    private func add(_ drawn: Tensor, times scale: Float, to frame: Tensor) {
        let (pixels, channels) = (drawn.shape[0], drawn.shape[1])
        frame.withMutableFloats { values in
            drawn.withFloats { drawn in
                for pixel in 0..<pixels {
                    for channel in 0..<channels {
                        values[channel * pixels + pixel] += scale * drawn[pixel * channels + channel]
                    }
                }
            }
        }
    }

    /// Of what the model was shown or predicts the video's own frames.
    func video(in shown: Tensor) -> Tensor {
        guard ahead != nil else { return shown }
        let result = Tensor(shown.dtype, [shown.shape[0], shown.shape[1] - 1] + shown.shape.dropFirst(2))
        for channel in 0..<shown.shape[0] { result[channel].assign(shown[channel].slice(1..<shown.shape[1])) }
        return result
    }

    /// The video after a step: a first frame that is held is what the model was shown.
    func kept(in video: Tensor, from before: Tensor) -> Tensor {
        if first == nil { return video }
        let result = video.copy()
        for channel in 0..<video.shape[0] {
            result[channel].slice(0..<1).assign(before[channel].slice(0..<1))
        }
        return result
    }
}
