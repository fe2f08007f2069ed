import VditFiles
import VditTensor

/// What becomes of a number of frames the model cannot make.
public enum FrameRounding: String, Sendable, CaseIterable {
    /// It is an error that names both neighbours.
    case error
    case down, up
}

/// Sizes of videos a model can make.
extension ModelSpecification {
    private static let largestSide = 1 << 14
    private static let mostFrames = 1 << 16

    /// - Throws: `ModelError.setting` naming what cannot be and the nearest that can, on both sides.
    public func check(width: Int, height: Int, numFrames: Int) throws(ModelError) {
        try check("width", width)
        try check("height", height)
        let step = decoder.frameStep
        if (1...Self.mostFrames).contains(numFrames), (numFrames - 1) % step == 0 { return }
        let rule = step == 1 ? "at least 1" : "\(step)k+1"
        var expected = "\(rule), from 1 to \(Self.mostFrames + 1 - step)"
        if (1...Self.mostFrames).contains(numFrames) {
            let below = (numFrames - 1) / step * step + 1
            expected = "\(rule); use \(below) or \(below + step)"
        }
        throw .setting("num_frames", found: "\(numFrames)", expected: expected)
    }

    private func check(_ name: String, _ value: Int) throws(ModelError) {
        let multiple = pixelMultiple
        if (multiple...Self.largestSide).contains(value), value % multiple == 0 { return }
        var expected = "a multiple of \(multiple) from \(multiple) to \(Self.largestSide)"
        if (multiple...Self.largestSide).contains(value) {
            let below = value / multiple * multiple
            expected = "a multiple of \(multiple); use \(below) or \(below + multiple)"
        }
        throw .setting(name, found: "\(value)", expected: expected)
    }

    /// The neighbour that can be made; numbers out of range stay as they are.
    public func rounded(frames: Int, _ rounding: FrameRounding) -> Int {
        guard (1...Self.mostFrames).contains(frames), rounding != .error else { return frames }
        let step = decoder.frameStep
        let excess = (frames - 1) % step
        return excess == 0 ? frames : rounding == .down ? frames - excess : frames - excess + step
    }

    /// Latents of a video as the transformer takes them: where its patches are longer than a frame, with frames in
    /// front that fill up the first, see `video(in:numFrames:)`.
    public func latentShape(width: Int, height: Int, numFrames: Int) -> LatentShape {
        var shape = decoder.latentShape(width: width, height: height, numFrames: numFrames)
        let patch = transformer.patchExtents.frames
        shape.frames = (shape.frames + patch - 1) / patch * patch
        return shape
    }

    /// The latents that are decoded: without the frames that filled up the first patch.
    ///
    /// - Source: `CogVideoXPipeline` of diffusers 0.42.1, `additional_frames`.
    public func video(in latents: Tensor, numFrames: Int) -> Tensor {
        let shape = LatentShape(latents.shape)
        let frames = decoder.latentShape(width: shape.width, height: shape.height, numFrames: numFrames).frames
        if frames == shape.frames { return latents }
        let result = Tensor(latents.dtype, [shape.channels, frames, shape.height, shape.width])
        for channel in 0..<shape.channels {
            result[channel].assign(latents[channel].slice(shape.frames - frames..<shape.frames))
        }
        return result
    }
}
