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
    /// - Parameter planes: fp32 `[3, height, width]` in [-1, 1], R'G'B' order.
    /// - Throws: `MediaError.invalid` if a value is not finite.
    /// - Source: diffusers `VideoProcessor.postprocess_video` to PIL images; `export_to_video` truncates instead.
    public init(planes: Tensor, depth: SampleDepth = .eight) throws(MediaError) {
        precondition(planes.rank == 3 && planes.shape[0] == 3)
        self = try Self.frames(
            of: planes.reshaped([3, 1] + planes.shape.dropFirst()), depth: depth, pool: nil)[0]
    }

    /// The frames of a decoded clip or of a chunk of one, rounded as `init(planes:depth:)` does.
    ///
    /// - Parameter video: fp32 `[3, frames, height, width]` in [-1, 1].
    /// - Throws: `MediaError.invalid` if a value is not finite; the message names the frame.
    public static func frames(
        of video: Tensor, depth: SampleDepth = .eight, pool: WorkPool? = nil
    ) throws(MediaError) -> [VideoFrame] {
        precondition(video.dtype == .f32 && video.rank == 4 && video.shape[0] == 3)
        let (count, height, width) = (video.shape[1], video.shape[2], video.shape[3])
        let frames = (0..<count).map { _ in VideoFrame(height: height, width: width, depth: depth) }
        try forEachItem(count * height, pool) { (item: Int) throws(MediaError) in
            let (frame, row) = (item / height, item % height)
            let finite = video.withFloats { values in
                let start = values.baseAddress! + (frame * height + row) * width
                let plane = count * height * width
                let target = frames[frame].pixels[row]
                return switch depth {
                case .eight:
                    quantize(start, plane: plane, width, target.pointer(as: UInt8.self))
                case .sixteen:
                    quantize(start, plane: plane, width, target.pointer(as: UInt16.self))
                }
            }
            if !finite {
                throw .invalid(
                    "frame \(frame) of the decoded video, row \(row)", found: "NaN or infinity",
                    expected: "finite values", kind: .internalError)
            }
        }
        return frames
    }
}

/// One row of three planes to interleaved integers. Returns whether all values were finite.
private func quantize<Sample: FixedWidthInteger>(
    _ row: UnsafePointer<Float>, plane: Int, _ width: Int, _ target: UnsafeMutablePointer<Sample>
) -> Bool {
    // Adding 1.5 * 2^23 leaves the integer nearest to the value, ties to even, in the low mantissa bits.
    let magic: Float = 12_582_912
    let peak = Float(Sample.max)
    var worst: UInt32 = 0
    for column in 0..<width {
        for channel in 0..<3 {
            let value = row[channel * plane + column]
            let unit = value * 0.5 + 0.5
            let clamped = unit < 0 ? 0 : (unit > 1 ? 1 : unit)
            target[3 * column + channel] = Sample(
                truncatingIfNeeded: (clamped * peak + magic).bitPattern)
            worst = max(worst, value.bitPattern & 0x7fff_ffff)
        }
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
