import VditTensor

/// Jumps to the clean video and adds fresh noise of the next level: x' = (1 − sigma') x0 + sigma' n.
///
/// The sampler of models distilled by distribution matching or consistency. The last step has no noise: it gives x0.
/// - Source: FastVideo, `DmdDenoisingStage` and `RCMScheduler`; diffusers 0.42.1, `FlowMatchLCMScheduler`.
/// - Differs: state is fp32 and every update is summed in double, whatever the model's precision; noise is drawn in
///   the latents' own layout, and none is drawn after the last step, where references multiply it by 0.
public struct Renoise: Scheduler {
    public private(set) var steps: [Step]
    private var noise: StepNoiseSource

    public init(_ list: StepList, noise: StepNoise) {
        steps = list.steps
        self.noise = StepNoiseSource(noise)
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
        if step.nextSigma > 0 {
            terms.append((step.nextSigma, noise(step.index + 1, at: step, latents.shape)))
        }
        return combination(terms)
    }
}
