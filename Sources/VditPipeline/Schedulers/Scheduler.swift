import Glibc
import VditTensor

/// One place in the sampler's loop.
public struct Step: Sendable, Hashable {
    /// 0-based, and the length of the loop.
    public let index: Int
    public let count: Int
    /// The time as the model sees it, on the 0…1000 scale.
    public let timestep: Float
    /// Noise level before this step and after it, 1 = noise only.
    public let sigma: Double
    public let nextSigma: Double

    public init(index: Int, count: Int, timestep: Float, sigma: Double, nextSigma: Double) {
        self.index = index
        self.count = count
        self.timestep = timestep
        self.sigma = sigma
        self.nextSigma = nextSigma
    }
}

/// What a multistep scheduler remembers between steps: a part of every checkpoint.
public struct SchedulerHistory: Sendable {
    public var tensors: [String: Tensor] = [:]
    public var numbers: [String: Int] = [:]

    public init() {}
}

/// Moves latents from noise to a video, one model output at a time.
///
/// A value: a copy is an independent run. Scalars are double, latents fp32.
public protocol Scheduler: Sendable {
    /// The loop, in order.
    var steps: [Step] { get }

    /// Leaves out so many of the first steps: the rest is a loop of its own. Before the first `advance` only.
    mutating func skip(_ count: Int)

    /// The latents to start from.
    ///
    /// - Parameter noise: standard normal, fp32.
    func start(_ noise: Tensor) -> Tensor

    /// The same of a video's latents: as much noise is mixed into them as the first step has.
    func start(_ noise: Tensor, from video: Tensor) -> Tensor

    /// Extents of the latents after so many steps of a run that starts with these.
    func extents(_ start: [Int], after completed: Int) -> [Int]

    /// What must be kept to continue after a step. Setting it back continues bit for bit.
    var history: SchedulerHistory { get }
    /// - Throws: `PipelineError.invalid` when something is missing or has another shape than `latents`.
    mutating func restore(_ history: SchedulerHistory, like latents: Tensor) throws(PipelineError)

    /// The latents after `step`, from those before it and the model's output there (same shape, fp32).
    ///
    /// Called once per step, in order.
    mutating func advance(_ latents: Tensor, prediction: Tensor, at step: Step) -> Tensor

    /// The clean video the model's output at `step` points to: what a preview shows.
    func estimate(_ latents: Tensor, prediction: Tensor, at step: Step) -> Tensor
}

extension Scheduler {
    public var history: SchedulerHistory { SchedulerHistory() }
    public mutating func restore(
        _ history: SchedulerHistory, like latents: Tensor
    ) throws(PipelineError) {}

    public func start(_ noise: Tensor) -> Tensor { noise }
    public func extents(_ start: [Int], after completed: Int) -> [Int] { start }

    public func start(_ noise: Tensor, from video: Tensor) -> Tensor {
        let level = steps.first?.sigma ?? 1
        return combination([(1 - level, video), (level, noise)])
    }

    /// Flow prediction: x0 = x − sigma · v.
    public func estimate(_ latents: Tensor, prediction: Tensor, at step: Step) -> Tensor {
        combination([(1, latents), (-step.sigma, prediction)])
    }
}

extension [Step] {
    /// The steps from one on, numbered anew.
    func numbered(from first: Int) -> [Step] {
        dropFirst(first).enumerated().map { index, step in
            Step(
                index: index, count: count - first, timestep: step.timestep, sigma: step.sigma,
                nextSigma: step.nextSigma)
        }
    }
}

/// A loop over sigmas (one more than steps), with the timesteps the model sees.
func schedule(sigmas: [Float], timesteps: [Float]) -> [Step] {
    timesteps.indices.map { index in
        Step(
            index: index, count: timesteps.count, timestep: timesteps[index],
            sigma: Double(sigmas[index]), nextSigma: Double(sigmas[index + 1]))
    }
}

/// `count` values from `first` to `last`, as NumPy's linspace rounds them.
func evenlySpaced<Real: BinaryFloatingPoint>(
    _ first: Real, _ last: Real, _ count: Int
) -> [Real] {
    guard count > 1 else { return [first] }
    let spacing = (last - first) / Real(count - 1)
    return (0..<count).map { $0 == count - 1 ? last : Real($0) * spacing + first }
}

/// Moves noise levels towards 1: `shift · x / (1 + (shift − 1) · x)`.
func shifted<Real: BinaryFloatingPoint>(_ sigmas: [Real], by shift: Real) -> [Real] {
    sigmas.map { shift * $0 / (1 + (shift - 1) * $0) }
}

/// Stretches the schedule so that its last noise level is `terminal`.
func stretched<Real: BinaryFloatingPoint>(_ sigmas: [Real], to terminal: Real?) -> [Real] {
    guard let terminal, let last = sigmas.last, last < 1 else { return sigmas }
    let factor = (1 - last) / (1 - terminal)
    return sigmas.map { 1 - (1 - $0) / factor }
}

/// Half the logarithm of the signal-to-noise ratio of a flow: ln(1 − sigma) − ln(sigma); +∞ at sigma 0.
func logSignalToNoise(_ sigma: Double) -> Double {
    log(1 - sigma) - log(sigma)
}
