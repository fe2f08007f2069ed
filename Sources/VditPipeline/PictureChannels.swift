import VditTensor

/// Pictures as channels beside the latents of every call: which frames of the video are given, and the latents of a
/// video that is grey where none is.
///
/// - Source: `WanImageToVideoPipeline` of diffusers 0.42.1, `prepare_latents`.
public enum PictureChannels {
    /// The video to encode: pictures at its ends, grey between.
    ///
    /// - Parameters:
    ///   - first: `[3, 1, height, width]` f32 in -1...1, as is `last`.
    ///   - frames: of the video, more than one with `last`.
    /// - Returns: `[3, frames, height, width]` f32.
    public static func video(first: Tensor, last: Tensor?, frames: Int) -> Tensor {
        let video = Tensor(.f32, [3, frames] + first.shape.dropFirst(2))
        for colour in 0..<3 {
            video[colour].slice(0..<1).assign(first[colour])
            if let last { video[colour].slice(frames - 1..<frames).assign(last[colour]) }
        }
        return video
    }

    /// The mask of the given frames, and behind it the latents.
    ///
    /// A latent frame has a channel of the mask for each of its video frames; the first, which has one, repeats it.
    ///
    /// - Parameters:
    ///   - latents: of that video, `[channels, frames, height, width]` f32, normalised.
    ///   - compression: video frames of a latent frame.
    /// - Returns: `[compression + channels, frames, height, width]` f32.
    public static func joined(_ latents: Tensor, compression: Int, hasLast: Bool) -> Tensor {
        let (channels, frames) = (latents.shape[0], latents.shape[1])
        let result = Tensor(.f32, [compression + channels] + latents.shape.dropFirst())
        for channel in 0..<compression {
            result[channel][0].withMutableFloats { $0.update(repeating: 1) }
        }
        if hasLast { result[compression - 1][frames - 1].withMutableFloats { $0.update(repeating: 1) } }
        result.slice(compression..<compression + channels).assign(latents)
        return result
    }
}

extension Tensor {
    /// This tensor's channels, the first axis, and behind them another's of the same extents.
    func followed(by other: Tensor) -> Tensor {
        precondition(dtype == other.dtype && shape.dropFirst() == other.shape.dropFirst())
        let result = Tensor(dtype, [shape[0] + other.shape[0]] + shape.dropFirst())
        result.slice(0..<shape[0]).assign(self)
        result.slice(shape[0]..<result.shape[0]).assign(other)
        return result
    }
}
