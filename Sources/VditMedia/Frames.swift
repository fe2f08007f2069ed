import VditTensor

/// Bits of one colour sample.
public enum SampleDepth: Int, Sendable, Codable {
    case eight = 8
    case sixteen = 16

    public var dtype: DType { self == .eight ? .u8 : .u16 }
    /// The largest sample: white.
    public var peak: Double { self == .eight ? 255 : 65535 }
}

/// One picture of full-range R'G'B' samples.
public struct VideoFrame: Sendable {
    /// u8 or u16 `[height, width, 3]`.
    public let pixels: Tensor

    public var height: Int { pixels.shape[0] }
    public var width: Int { pixels.shape[1] }
    public var depth: SampleDepth { pixels.dtype == .u8 ? .eight : .sixteen }

    /// Takes u8 or u16 samples `[height, width, 3]`; they are shared, not copied.
    public init(pixels: Tensor) {
        precondition(pixels.rank == 3 && pixels.shape[2] == 3 && pixels.count > 0)
        precondition(pixels.dtype == .u8 || pixels.dtype == .u16)
        self.pixels = pixels
    }

    /// A black picture.
    public init(height: Int, width: Int, depth: SampleDepth = .eight) {
        self.init(pixels: Tensor(depth.dtype, [height, width, 3]))
    }
}

extension VideoFrame {
    /// Rounds a decoder's picture to integers: `roundHalfEven(peak * clamp(x / 2 + 1/2, 0, 1))` in fp32.
    ///
    /// - Parameters:
    ///   - picture: f32 `[height, width, 3]` in [-1, 1], R'G'B'.
    ///   - number: of the frame in its clip, for the error.
    /// - Throws: `MediaError.invalid` if a value is not finite.
    /// - Source: diffusers `VideoProcessor.postprocess_video` to PIL images; `export_to_video` truncates instead.
    public init(
        rounding picture: Tensor, number: Int = 0, depth: SampleDepth = .eight, pool: WorkPool? = nil
    ) throws(MediaError) {
        precondition(picture.dtype == .f32 && picture.rank == 3 && picture.shape[2] == 3)
        self.init(height: picture.shape[0], width: picture.shape[1], depth: depth)
        let pixels = pixels
        try forEachItem(height, pool) { (row: Int) throws(MediaError) in
            let target = pixels[row]
            let isFinite = picture[row].withFloats { source in
                switch depth {
                case .eight: quantize(source, to: target.pointer(as: UInt8.self))
                case .sixteen: quantize(source, to: target.pointer(as: UInt16.self))
                }
            }
            if !isFinite {
                throw .invalid(
                    "frame \(number) of the decoded video, row \(row)", found: "NaN or infinity",
                    expected: "finite values", kind: .internalError)
            }
        }
    }
}

/// Values in [-1, 1] to integers over their whole range. Returns whether all values were finite.
private func quantize<Sample: FixedWidthInteger>(
    _ values: UnsafeBufferPointer<Float>, to target: UnsafeMutablePointer<Sample>
) -> Bool {
    // Adding 1.5 * 2^23 leaves the integer nearest to the value, ties to even, in the low mantissa bits.
    let magic: Float = 12_582_912
    let peak = Float(Sample.max)
    var worst: UInt32 = 0
    for index in values.indices {
        let unit = values[index] * 0.5 + 0.5
        let clamped = unit < 0 ? 0 : (unit > 1 ? 1 : unit)
        target[index] = Sample(truncatingIfNeeded: (clamped * peak + magic).bitPattern)
        worst = max(worst, values[index].bitPattern & 0x7fff_ffff)
    }
    return worst < 0x7f80_0000
}

/// Runs items on a pool, or in order on this thread when there is none.
func forEachItem<E: Error>(
    _ items: Int, _ pool: WorkPool?, _ body: @Sendable (Int) throws(E) -> Void
) throws(E) {
    if let pool {
        try pool.run(items) { (item, _) throws(E) in try body(item) }
    } else {
        for item in 0..<items { try body(item) }
    }
}
