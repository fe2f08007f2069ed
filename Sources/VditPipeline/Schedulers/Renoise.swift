import VditTensor

/// Jumps to the clean video and adds fresh noise of the next level: x' = (1 − sigma') x0 + sigma' n.
///
/// The sampler of models distilled by distribution matching or consistency. The last step has no noise: it gives x0.
/// - Source: FastVideo, `DmdDenoisingStage` and `RCMScheduler`; diffusers 0.42.1, `FlowMatchLCMScheduler`.
/// - Differs: state is fp32 and every update is summed in double, whatever the model's precision; noise is drawn in
///   the latents' own layout, and none is drawn after the last step, where references multiply it by 0.
public struct Renoise: Scheduler {
    /// Where fresh noise comes from.
    public enum Noise: Sendable {
        /// The run's seed. Draw i is what a fresh generator gives after i whole latents, draw 0 being the start: a
        /// resumed run and a preview meet the same noise.
        case seed(UInt64)
        /// One tensor for each step but the last, in the latents' shape.
        case given([Tensor])
    }

    public private(set) var steps: [Step]
    private let noise: Noise
    /// Of the seed, behind the start.
    private var drawn: NumberedNoise?

    public init(_ list: StepList, noise: Noise) {
        steps = list.steps
        self.noise = noise
    }

    /// A loop whose first level is below 1 starts from as much noise as that level has: rCM.
    public func start(_ noise: Tensor) -> Tensor {
        let level = steps.first?.sigma ?? 1
        return level < 1 ? combination([(level, noise)]) : noise
    }

    public mutating func skip(_ count: Int) { steps = steps.numbered(from: count) }

    public mutating func advance(_ latents: Tensor, prediction: Tensor, at step: Step) -> Tensor {
        let kept = 1 - step.nextSigma
        var terms: [(weight: Double, tensor: Tensor)] = [(kept, latents), (-kept * step.sigma, prediction)]
        if step.nextSigma > 0 { terms.append((step.nextSigma, draw(after: step, like: latents))) }
        return combination(terms)
    }

    /// The noise a step adds, whatever was drawn before: a restored scheduler catches up by itself.
    private mutating func draw(after step: Step, like latents: Tensor) -> Tensor {
        switch noise {
        case .given(let tensors):
            return tensors[step.index]
        case .seed(let seed):
            var draws = drawn ?? NumberedNoise(TorchRandom(seed: seed))
            defer { drawn = draws }
            return draws(step.index + 1, latents.shape)
        }
    }
}

/// Draws of one shape by number, whatever was drawn before.
struct NumberedNoise: Sendable {
    private let start: TorchRandom
    private var random: TorchRandom
    private var drawn = 0

    /// - Parameter start: the generator in front of draw 0.
    init(_ start: TorchRandom) { (self.start, random) = (start, start) }

    mutating func callAsFunction(_ number: Int, _ shape: [Int]) -> Tensor {
        if drawn > number { (random, drawn) = (start, 0) }
        while drawn < number {
            _ = random.normal(shape)
            drawn += 1
        }
        drawn += 1
        return random.normal(shape)
    }
}
