import Glibc
import VditModels
import VditTensor

/// DPM-Solver++ 2M with fresh noise at every step, of a velocity model.
///
/// - Source: Lu et al., arXiv 2211.01095; CogVideoXDPMScheduler, diffusers 0.42.1. There every step draws noise, and
///   one that uses two estimates draws a second time and uses only that; so are the draws numbered here.
public struct StochasticDPM: VelocityScheduler {
    public private(set) var steps: [Step]
    private var noise: StepNoiseSource
    /// x0 of the step before.
    private var earlier: Tensor?

    /// - Parameter steps: length of the loop, at least 1.
    public init(_ configuration: SchedulerConfiguration, steps: Int, noise: StepNoise) {
        self.steps = configuration.levels.steps(
            steps, of: configuration.trainTimesteps, shift: configuration.flowShift)
        self.noise = StepNoiseSource(noise)
    }

    public mutating func skip(_ count: Int) { steps = steps.numbered(from: count) }

    public mutating func advance(_ latents: Tensor, prediction: Tensor, at step: Step) -> Tensor {
        let clean = estimate(latents, prediction: prediction, at: step)
        defer { earlier = clean }
        // The last step ends at the estimate.
        if step.nextSigma == 0 { return clean }
        let level = Self.level(step.sigma)
        let distance = Self.level(step.nextSigma) - level
        let next = (1 - step.nextSigma * step.nextSigma).squareRoot()
        let weight = -expm1(-2 * distance) * next
        var terms: [(weight: Double, tensor: Tensor)] = [
            (step.nextSigma / step.sigma * exp(-distance), latents), (weight, clean),
        ]
        if let earlier {
            // 0 where the step before began at noise alone.
            let half = distance / (2 * (level - Self.level(steps[step.index - 1].sigma)))
            terms[1].weight = weight * (1 + half)
            terms.append((-weight * half, earlier))
        }
        let number = step.index == 0 ? 1 : 2 * step.index + 1
        terms.append((step.nextSigma * (-expm1(-2 * distance)).squareRoot(), noise(number, at: step, latents.shape)))
        return combination(terms)
    }

    /// Half the logarithm of the signal-to-noise ratio; −∞ for noise alone.
    private static func level(_ sigma: Double) -> Double {
        log((1 - sigma * sigma).squareRoot() / sigma)
    }

    public var history: SchedulerHistory {
        var history = SchedulerHistory()
        if let earlier { history.tensors["x0"] = earlier }
        history.numbers = ["outputs": earlier == nil ? 0 : 1]
        return history
    }

    public mutating func restore(
        _ history: SchedulerHistory, like latents: Tensor
    ) throws(PipelineError) {
        earlier = try history.number("outputs", in: 0...1) == 0 ? nil : history.tensor("x0", like: latents)
    }
}
