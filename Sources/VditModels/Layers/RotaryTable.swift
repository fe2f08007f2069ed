import Glibc
import VditTensor

/// Rotary position embedding over a frames × height × width grid of tokens.
///
/// Cosines and sines in fp32, one for each interleaved pair `(2i, 2i+1)`: `[tokens, headDim / 2]`, or
/// `[tokens, heads · headDim / 2]` where every head has angles of its own.
public struct RotaryTable: Sendable {
    public let cosine: Tensor
    public let sine: Tensor

    /// Which pairs an axis turns.
    public enum Order: Sendable {
        /// First those of time, then those of height, then those of width.
        case byAxis
        /// For each frequency one pair of time, one of height and one of width, behind pairs that never turn.
        case byFrequency(still: Int)
    }

    /// - Parameters:
    ///   - cosine: f32 as above, as is `sine`.
    init(cosine: Tensor, sine: Tensor) { (self.cosine, self.sine) = (cosine, sine) }

    /// Splits the head into a part per axis; part `p` of an axis turns pair `i` by `position · theta^(−2i / p)`. Angles
    /// are computed in fp64. Source: Wan2.1 (RoPE of the video transformer).
    ///
    /// - Parameter parts: even sizes for time, height and width that add up to the head's.
    public init(frames: Int, height: Int, width: Int, parts: [Int], theta: Double = 10_000) {
        let angles = zip([frames, height, width], parts).map { extent, part in
            (0..<extent).map { position in
                (0..<part / 2).map { Double(position) * pow(theta, -2 * Double($0) / Double(part)) }
            }
        }
        self.init(angles: angles, order: .byAxis)
    }

    /// - Parameter angles: in radians, by axis (time, height, width), position and frequency.
    public init(angles: [[[Double]]], order: Order) {
        let still = if case .byFrequency(let still) = order { still } else { 0 }
        let shape = [angles.reduce(1) { $0 * $1.count }, angles.reduce(still) { $0 + $1[0].count }]
        let tables = angles.map { axis in axis.map { $0.map { (cosine: Float(cos($0)), sine: Float(sin($0))) } } }
        let (cosine, sine) = (Tensor(.f32, shape), Tensor(.f32, shape))
        cosine.withMutableFloats { cosines in
            sine.withMutableFloats { sines in
                var start = 0
                func put(_ values: [(cosine: Float, sine: Float)], at first: Int, apart step: Int) {
                    for (index, value) in values.enumerated() {
                        cosines[first + index * step] = value.cosine
                        sines[first + index * step] = value.sine
                    }
                }
                for frame in tables[0] {
                    for row in tables[1] {
                        for column in tables[2] {
                            switch order {
                            case .byAxis:
                                put(frame, at: start, apart: 1)
                                put(row, at: start + frame.count, apart: 1)
                                put(column, at: start + frame.count + row.count, apart: 1)
                            case .byFrequency:
                                for pair in start..<start + still { cosines[pair] = 1 }
                                put(frame, at: start + still, apart: 3)
                                put(row, at: start + still + 1, apart: 3)
                                put(column, at: start + still + 2, apart: 3)
                            }
                            start += shape[1]
                        }
                    }
                }
            }
        }
        self.cosine = cosine
        self.sine = sine
    }

    public func rows(_ range: Range<Int>) -> (cosine: Tensor, sine: Tensor) {
        (cosine.slice(range), sine.slice(range))
    }
}
