// Between `[channels, frames, height, width]`, what files and other modules hold, and channels-last frames.

extension Tensor {
    /// Frame `frame` of `[channels, frames, height, width]` f32 as `[height, width, channels]` f32.
    ///
    /// - Parameter normalization: scales and shifts each channel, `value · scale[c] + shift[c]`; nil copies.
    public func channelsLastFrame(
        _ frame: Int, _ normalization: (scale: [Float], shift: [Float])? = nil
    ) -> Tensor {
        let (channels, frames, height, width) = (shape[0], shape[1], shape[2], shape[3])
        let pixels = height * width
        let result = Tensor(.f32, [height, width, channels])
        let target = result.pointer(as: Float.self)
        for channel in 0..<channels {
            let source = pointer(as: Float.self) + (channel * frames + frame) * pixels
            if let (scale, shift) = normalization.map({ ($0.scale[channel], $0.shift[channel]) }) {
                for pixel in 0..<pixels { target[pixel * channels + channel] = source[pixel] * scale + shift }
            } else {
                for pixel in 0..<pixels { target[pixel * channels + channel] = source[pixel] }
            }
        }
        return result
    }

    /// Fills frame `frame` of this `[channels, frames, height, width]` f32 tensor with the first channels of
    /// a channels-last frame, each scaled and shifted as `channelsLastFrame` does.
    public func setFrame(
        _ frame: Int, channelsLast source: Tensor, _ normalization: (scale: [Float], shift: [Float])? = nil
    ) {
        let (channels, frames, height, width) = (shape[0], shape[1], shape[2], shape[3])
        let stride = source.shape[2]
        precondition(source.shape[0] == height && source.shape[1] == width && stride >= channels)
        let pixels = height * width
        let from = source.pointer(as: Float.self)
        for channel in 0..<channels {
            let target = pointer(as: Float.self) + (channel * frames + frame) * pixels
            if let (scale, shift) = normalization.map({ ($0.scale[channel], $0.shift[channel]) }) {
                for pixel in 0..<pixels { target[pixel] = from[pixel * stride + channel] * scale + shift }
            } else {
                for pixel in 0..<pixels { target[pixel] = from[pixel * stride + channel] }
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

/// A decoder's frame, each pixel a `patch × patch` square, as a picture `[height, width, 3]` f32 limited to
/// `range`; channels as `patchedFrame` folds them.
public func unpatchedFrame(
    _ frame: Tensor, patch: Int, limitedTo range: ClosedRange<Float>, compute: ComputeContext
) -> Tensor {
    let (rows, columns, folded) = (frame.shape[0], frame.shape[1], frame.shape[2])
    let channels = folded / (patch * patch)
    let (height, width) = (rows * patch, columns * patch)
    let picture = Tensor(.f32, [height, width, channels])
    compute.pool.run(height) { y, _ in
        let source = frame.pointer(as: Float.self) + y / patch * columns * folded
        let target = picture.pointer(as: Float.self) + y * width * channels
        if patch == 1 {
            for i in 0..<width * channels {
                target[i] = min(max(source[i], range.lowerBound), range.upperBound)
            }
            return
        }
        for x in 0..<width {
            for channel in 0..<channels {
                let place = (channel * patch + x % patch) * patch + y % patch
                target[x * channels + channel] = min(
                    max(source[x / patch * folded + place], range.lowerBound), range.upperBound)
            }
        }
    }
    return picture
}
