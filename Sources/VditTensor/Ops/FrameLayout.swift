// Between `[channels, frames, height, width]`, what files and other modules hold, and channels-last frames.

extension Tensor {
    /// Frame `frame` of `[channels, frames, height, width]` f32 as `[height, width, channels]` f32, each
    /// channel scaled and shifted: `value · scale[c] + shift[c]`.
    public func channelsLastFrame(_ frame: Int, scale: [Float], shift: [Float]) -> Tensor {
        let (channels, frames, height, width) = (shape[0], shape[1], shape[2], shape[3])
        precondition(scale.count == channels && shift.count == channels)
        let pixels = height * width
        let result = Tensor(.f32, [height, width, channels])
        let target = result.pointer(as: Float.self)
        for channel in 0..<channels {
            let source = pointer(as: Float.self) + (channel * frames + frame) * pixels
            for pixel in 0..<pixels {
                target[pixel * channels + channel] = source[pixel] * scale[channel] + shift[channel]
            }
        }
        return result
    }

    /// Fills frame `frame` of this `[channels, frames, height, width]` f32 tensor with a channels-last
    /// frame: `value · scale[c] + shift[c]` of its first channels.
    public func setFrame(_ frame: Int, channelsLast source: Tensor, scale: [Float], shift: [Float]) {
        let (channels, frames, height, width) = (shape[0], shape[1], shape[2], shape[3])
        let stride = source.shape[2]
        precondition(source.shape[0] == height && source.shape[1] == width && stride >= channels)
        let pixels = height * width
        let from = source.pointer(as: Float.self)
        for channel in 0..<channels {
            let target = pointer(as: Float.self) + (channel * frames + frame) * pixels
            for pixel in 0..<pixels {
                target[pixel] = from[pixel * stride + channel] * scale[channel] + shift[channel]
            }
        }
    }

    /// A frame of `[3, frames, height, width]` f32 video as `[height / patch, width / patch,
    /// channels · patch²]`: channel `(c · patch + column) · patch + row` (the column outer).
    public func patchedFrame(_ frame: Int, patch: Int) -> Tensor {
        let (channels, frames, height, width) = (shape[0], shape[1], shape[2], shape[3])
        let folded = channels * patch * patch
        let result = Tensor(.f32, [height / patch, width / patch, folded])
        let target = result.pointer(as: Float.self)
        for channel in 0..<channels {
            let source = pointer(as: Float.self) + (channel * frames + frame) * height * width
            for y in 0..<height {
                for x in 0..<width {
                    let place = (channel * patch + x % patch) * patch + y % patch
                    target[(y / patch * (width / patch) + x / patch) * folded + place] =
                        source[y * width + x]
                }
            }
        }
        return result
    }
}

/// Channels-last frames, each pixel a `patch × patch` square, as `[channels, frames, height, width]` f32
/// limited to `range`.
public func planarVideo(
    _ frames: [Tensor], patch: Int, limitedTo range: ClosedRange<Float>, compute: ComputeContext
) -> Tensor {
    let (rows, columns, folded) = (frames[0].shape[0], frames[0].shape[1], frames[0].shape[2])
    let channels = folded / (patch * patch)
    let (height, width) = (rows * patch, columns * patch)
    let video = Tensor(.f32, [channels, frames.count, height, width])
    compute.pool.run(frames.count * height) { item, _ in
        let (frame, y) = (item / height, item % height)
        let source = frames[frame].pointer(as: Float.self) + y / patch * columns * folded
        for channel in 0..<channels {
            let target =
                video.pointer(as: Float.self) + ((channel * frames.count + frame) * height + y) * width
            if patch == 1 {
                for x in 0..<width {
                    target[x] = min(max(source[x * folded + channel], range.lowerBound), range.upperBound)
                }
            } else {
                for x in 0..<width {
                    let place = (channel * patch + x % patch) * patch + y % patch
                    target[x] = min(
                        max(source[x / patch * folded + place], range.lowerBound), range.upperBound)
                }
            }
        }
    }
    return video
}
