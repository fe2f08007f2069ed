import CVditKernels

/// A group norm of frames: channels in groups, each of which gets the mean 0 and the variance 1 over pixels and frames.
///
/// Sums are kept in f64, band by band in a fixed order: results do not depend on the number of threads.
public struct GroupNorm: Sendable {
    /// `[channels]` f32.
    public var weight: Tensor
    public var bias: Tensor
    public var groups: Int
    public var epsilon: Float

    private static let bandRows = 8

    /// - Parameter weight: its channels are a multiple of `groups`, as are those of `bias`.
    public init(weight: Tensor, bias: Tensor, groups: Int, epsilon: Float) {
        precondition(weight.count % groups == 0 && weight.count == bias.count)
        self.weight = weight
        self.bias = bias
        self.groups = groups
        self.epsilon = epsilon
    }

    /// What normalises frames of known statistics: `value · scale + shift` for each channel, `[channels]` f32.
    public struct Coefficients: Sendable {
        let scale: Tensor
        let shift: Tensor
    }

    /// Those of frames `[height, width, channels]` f32, of all of them together.
    public func coefficients(of frames: [Tensor], compute: ComputeContext) -> Coefficients {
        let channels = weight.count
        let (height, width) = (frames[0].shape[0], frames[0].shape[1])
        let bands = (height + Self.bandRows - 1) / Self.bandRows
        let rows = FrameRows(compute.instructionSet)
        let slots = ResultSlots<[Double]>(count: frames.count * bands)
        compute.pool.run(frames.count * bands) { item, _ in
            let first = item % bands * Self.bandRows
            let start = frames[item / bands].pointer(as: Float.self) + first * width * channels
            var sums = [Double](repeating: 0, count: 2 * channels)
            for row in 0..<min(Self.bandRows, height - first) {
                rows.table.pointee.moments(start + row * width * channels, Int64(width), Int64(channels), &sums)
            }
            slots[item] = sums
        }
        var sums = [Double](repeating: 0, count: 2 * channels)
        for band in slots.all {
            for index in sums.indices { sums[index] += band[index] }
        }
        return coefficients(sums, values: Double(frames.count * height * width * (channels / groups)))
    }

    /// - Parameter values: of one group.
    private func coefficients(_ sums: [Double], values: Double) -> Coefficients {
        let channels = weight.count
        let width = channels / groups
        let (weight, bias) = (weight.floats(), bias.floats())
        var (scale, shift) = (weight, bias)
        for group in 0..<groups {
            let own = group * width..<(group + 1) * width
            let mean = own.reduce(0) { $0 + sums[$1] } / values
            let square = own.reduce(0) { $0 + sums[channels + $1] } / values
            let inverse = 1 / (max(0, square - mean * mean) + Double(epsilon)).squareRoot()
            for channel in own {
                scale[channel] = Float(Double(weight[channel]) * inverse)
                shift[channel] = Float(Double(bias[channel]) - mean * Double(weight[channel]) * inverse)
            }
        }
        return Coefficients(scale: Tensor(scale), shift: Tensor(shift))
    }
}

/// A frame `[height, width, channels]` f32, normalised, as a convolution's operand.
///
/// - Parameters:
///   - guide: `[height / n, width / n, 2 · channels]` f32: what normalised values are multiplied by and what is added
///     to them then, for n × n pixels each; nil for neither.
///   - activates: whether SiLU of it is taken.
///   - operand: of the frame's shape, f32 or bf16.
public func normalizeFrame(
    _ frame: Tensor, by coefficients: GroupNorm.Coefficients, guide: Tensor?, activates: Bool, into operand: Tensor,
    compute: ComputeContext
) {
    let (height, width, channels) = (frame.shape[0], frame.shape[1], frame.shape[2])
    let rows = FrameRows(compute.instructionSet)
    compute.pool.run(height) { row, _ in
        let offset = row * width * channels
        var normalize = vdit_vae_normalize()
        normalize.pixels = UnsafePointer(frame.pointer(as: Float.self) + offset)
        normalize.scale = UnsafePointer(coefficients.scale.pointer(as: Float.self))
        normalize.shift = UnsafePointer(coefficients.shift.pointer(as: Float.self))
        if let guide {
            let guideRow = row * guide.shape[0] / height * guide.shape[1] * guide.shape[2]
            normalize.guide = UnsafePointer(guide.pointer(as: Float.self) + guideRow)
            normalize.pixels_per_guide = Int64(width / guide.shape[1])
        }
        normalize.silu = activates ? 1 : 0
        normalize.operand = operand.rawPointer + offset * operand.dtype.byteCount
        normalize.operand_type = operand.rowType
        rows.table.pointee.normalize(&normalize, Int64(width), Int64(channels))
    }
}
