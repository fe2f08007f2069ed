import VditTensor

/// A stage at work: its weights fitted to one frame size, and the frames it must remember.
protocol VAELayer: AnyObject {
    /// What it wants of its input, given what the stage after it wants.
    func demand(before next: VAEDemand) -> VAEDemand

    /// Takes the next frames and emits none, one or two groups.
    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws
}

/// Consecutive frames on their way through the stages: one or two, or all whose statistics a norm takes together.
///
/// One object for all who pass it on, so that its frames are gone once the layer that needs them last has taken them.
final class VAEGroup {
    struct Frame {
        /// `[height, width, channels]`, where the next stage asked for it.
        var stream: Tensor?
        /// The same, prepared for the next convolution, where it asked for that.
        var operand: Tensor?
    }

    /// A frame kept for a shortcut, and which of the frames made of it this one is.
    struct Remembered {
        var stream: Tensor
        var part: Int
    }

    private(set) var frames: [Frame]
    var remembered: [Remembered]
    /// Whether this is the clip's first frame, which time is neither split nor merged for.
    let isFirst: Bool
    /// Whether no frame comes after these: told where convolutions look ahead.
    let isLast: Bool

    init(frames: [Frame], remembered: [Remembered] = [], isFirst: Bool, isLast: Bool = false) {
        (self.frames, self.remembered, self.isFirst, self.isLast) = (frames, remembered, isFirst, isLast)
    }

    /// The frames, which leave the group.
    func take() -> [Frame] {
        defer { frames = [] }
        return frames
    }

    /// The remembered frames, which leave the group.
    func takeRemembered() -> [Remembered] {
        defer { remembered = [] }
        return remembered
    }
}

/// The forms a stage wants its input frames in.
struct VAEDemand {
    /// f32, or of the operands' type where values are only multiplied.
    var stream: DType?
    var operand: DType?
    var preparation: FrameTarget.Preparation = .plain
    /// All frames made of a group are wanted in one: statistics are taken of them.
    var together = false
}

/// What the stages of one encode or decode share.
final class VAESession {
    let compute: ComputeContext
    let tensors: TensorPool
    let trace: Trace?
    /// The latents that are being decoded, frames `[height, width, channels]` f32, where norms are guided by them.
    var latents: [Tensor] = []
    /// The time the decoder is told, on its own scale.
    let timestep: Float
    private var draws: NoiseDraws

    init(
        compute: ComputeContext, trace: Trace?, tensors: TensorPool = TensorPool(reclaims: true), timestep: Float = 0,
        draws: NoiseDraws = NoiseDraws(.given([]))
    ) {
        self.compute = compute
        self.tensors = tensors
        self.trace = trace
        self.timestep = timestep
        self.draws = draws
    }

    /// The next standard normal numbers.
    func draw(_ shape: [Int]) -> Tensor { draws(shape) }

    /// New tensors for one frame in the forms that are wanted. `reusing`: a stream that may be overwritten where it is of
    /// the wanted type.
    func target(
        _ height: Int, _ width: Int, _ channels: Int, for demand: VAEDemand, reusing: Tensor? = nil
    ) -> FrameTarget {
        let shape = [height, width, channels]
        return FrameTarget(
            stream: demand.stream.flatMap { reusing?.dtype == $0 ? reusing : tensors.tensor($0, shape) },
            operand: demand.operand.map { tensors.tensor($0, shape) }, preparation: demand.preparation)
    }
}

extension FrameTarget {
    var frame: VAEGroup.Frame { VAEGroup.Frame(stream: stream, operand: operand) }
}
