import Glibc
import VditTensor

/// Rotary position embedding over a frames × height × width grid of tokens.
///
/// The head is split into a part per axis; part `p` of an axis turns the interleaved pair `(2i, 2i+1)` by
/// `position · theta^(−2i / p)`. Angles are computed in fp64 and stored as fp32 cosines and sines, one per
/// pair: `[tokens, headDim / 2]`. Source: Wan2.1 (RoPE of the video transformer).
public struct RotaryTable: Sendable {
    public let cosine: Tensor
    public let sine: Tensor

    /// - Parameter parts: even sizes for time, height and width that add up to the head's.
    public init(frames: Int, height: Int, width: Int, parts: [Int], theta: Double = 10_000) {
        let pairs = parts.reduce(0, +) / 2
        cosine = Tensor(.f32, [frames * height * width, pairs])
        sine = Tensor(.f32, [frames * height * width, pairs])
        let axes = zip([frames, height, width], parts).map { extent, part in
            (0..<extent).map { position in
                (0..<part / 2).map { pair in
                    let angle = Double(position) * pow(theta, -2 * Double(pair) / Double(part))
                    return (cosine: Float(cos(angle)), sine: Float(sin(angle)))
                }
            }
        }
        cosine.withMutableFloats { cosines in
            sine.withMutableFloats { sines in
                var index = 0
                for frame in axes[0] {
                    for row in axes[1] {
                        for column in axes[2] {
                            for part in [frame, row, column] {
                                for value in part {
                                    cosines[index] = value.cosine
                                    sines[index] = value.sine
                                    index += 1
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    public func rows(_ range: Range<Int>) -> (cosine: Tensor, sine: Tensor) {
        (cosine.slice(range), sine.slice(range))
    }
}
