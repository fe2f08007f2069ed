import VditTensor

/// DDIM of a velocity model: x' = a · x + b · x0, with a the ratio of the noise levels.
///
/// - Source: Song et al., arXiv 2010.02502; CogVideoXDDIMScheduler, diffusers 0.42.1. Each step goes on to the training
///   step a fixed distance below its own, which need not be the next one listed.
public struct DDIM: VelocityScheduler {
    public private(set) var steps: [Step]

    /// - Parameter steps: length of the loop, at least 1.
    public init(_ configuration: SchedulerConfiguration, steps: Int) {
        self.steps = configuration.levels.steps(
            steps, of: configuration.trainTimesteps, shift: configuration.flowShift)
    }

    public mutating func skip(_ count: Int) { steps = steps.numbered(from: count) }

    public mutating func advance(_ latents: Tensor, prediction: Tensor, at step: Step) -> Tensor {
        let ratio = step.nextSigma / step.sigma
        let signal = (1 - step.sigma * step.sigma).squareRoot()
        let next = (1 - step.nextSigma * step.nextSigma).squareRoot()
        return combination([
            (ratio, latents), (next - signal * ratio, estimate(latents, prediction: prediction, at: step)),
        ])
    }
}
