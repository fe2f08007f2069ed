import CVditKernels

/// Where the pixels of one frame go once they are computed, and in which forms.
///
/// Frames are `[height, width, channels]`. A value can be kept as it is (`stream`, f32 where residual additions read
/// it) and prepared for the convolution that comes next (`operand`).
public struct FrameTarget: Sendable {
    /// What is done to a pixel's channels on the way into `operand`.
    public enum Preparation: Sendable {
        case plain
        /// SiLU of the value as it is.
        case silu
        case normalized(Norm)
        /// SiLU of the normalised value.
        case activated(Norm)
    }

    /// `v / max(‖v‖, 1e-12) · √channels · gamma + shift` over a pixel's channels, computed in fp32.
    public struct Norm: Sendable {
        /// `[channels]` f32.
        public var gamma: Tensor
        public var shift: Tensor?
        /// Where given, `v` is divided by `√(mean square + epsilon)`.
        public var epsilon: Float?

        public init(gamma: Tensor, shift: Tensor? = nil, epsilon: Float? = nil) {
            self.gamma = gamma
            self.shift = shift
            self.epsilon = epsilon
        }
    }

    public var stream: Tensor?
    public var operand: Tensor?
    public var preparation: Preparation
    /// Whether values below 0 become 0, in both forms.
    public var isRectified = false

    public init(stream: Tensor?, operand: Tensor?, preparation: Preparation) {
        self.stream = stream
        self.operand = operand
        self.preparation = preparation
    }

    /// Fills in the fields of `finish` that concern this target, starting at element `offset` of the frame.
    func fill(_ finish: inout vdit_vae_finish, at offset: Int) {
        if let stream {
            finish.stream = stream.rawPointer + offset * stream.dtype.byteCount
            finish.stream_type = stream.rowType
        }
        if let operand {
            finish.operand = operand.rawPointer + offset * operand.dtype.byteCount
            finish.operand_type = operand.rowType
        }
        finish.relu = isRectified ? 1 : 0
        switch preparation {
        case .plain: break
        case .silu: finish.silu = 1
        case .normalized(let norm): norm.fill(&finish)
        case .activated(let norm):
            norm.fill(&finish)
            finish.silu = 1
        }
    }
}

extension FrameTarget.Norm {
    fileprivate func fill(_ finish: inout vdit_vae_finish) {
        finish.gamma = UnsafePointer(gamma.pointer(as: Float.self))
        finish.shift = shift.map { UnsafePointer($0.pointer(as: Float.self)) }
        finish.epsilon = epsilon ?? 0
    }
}

extension Tensor {
    /// The row kernels' name of this tensor's type, f32 or bf16.
    var rowType: vdit_float_type { dtype == .bf16 ? VDIT_BF16 : VDIT_F32 }
}

/// The row kernels of an instruction set.
struct FrameRows: @unchecked Sendable {  // a constant table of C functions
    let table: UnsafePointer<vdit_vae_rows>

    init(_ set: InstructionSet) { table = vdit_vae_rows_for(set.isa) }
}

/// `value + addend`, pixel by pixel, into a target. Frames are `[height, width, channels]` f32; `value` is
/// overwritten when it is the target's stream.
public func finishFrame(
    _ value: Tensor, adding addend: Tensor? = nil, to target: FrameTarget, compute: ComputeContext
) {
    let (height, width, channels) = (value.shape[0], value.shape[1], value.shape[2])
    let rows = FrameRows(compute.instructionSet)
    compute.pool.run(height) { row, scratch in
        let offset = row * width * channels
        var finish = vdit_vae_finish()
        finish.terms.0 = UnsafePointer(value.pointer(as: Float.self) + offset)
        finish.term_count = 1
        finish.residual = addend.map { UnsafePointer($0.pointer(as: Float.self) + offset) }
        finish.value = scratch.tensor(.f32, [2, channels]).pointer(as: Float.self)
        finish.pixel_stride = Int64(channels)
        target.fill(&finish, at: offset)
        rows.table.pointee.finish(&finish, Int64(width), Int64(channels))
    }
}

/// Means over `factor × factor` pixels and `frames.count` frames, folded into channels and then averaged
/// in groups: channel `q` of the fold is `((c · frames + t) · factor + row) · factor + column`.
///
/// - Parameter frames: `[height, width, channels]` f32 each; nil is a frame of zeros.
/// - Returns: `[height / factor, width / factor, outChannels]` f32 in `out`.
/// - Source: AvgDown3D of AutoencoderKLWan, diffusers.
public func averageFold(_ frames: [Tensor?], factor: Int, into out: Tensor, compute: ComputeContext) {
    guard let shape = frames.compactMap({ $0?.shape }).first else { return }
    let (width, channels) = (shape[1], shape[2])
    let (rows, columns, outChannels) = (out.shape[0], out.shape[1], out.shape[2])
    let folded = frames.count * factor * factor
    let group = channels * folded / outChannels
    compute.pool.run(rows) { row, _ in
        for column in 0..<columns {
            let target = out.pointer(as: Float.self) + (row * columns + column) * outChannels
            for channel in 0..<outChannels {
                var sum: Float = 0
                for q in channel * group..<(channel + 1) * group {
                    guard let frame = frames[q / (factor * factor) % frames.count] else { continue }
                    let y = row * factor + q / factor % factor
                    let x = column * factor + q % factor
                    sum += frame.pointer(as: Float.self)[(y * width + x) * channels + q / folded]
                }
                target[channel] = sum / Float(group)
            }
        }
    }
}
