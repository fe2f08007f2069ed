import VDiT

/// How fast a render gets on, and what of it is left.
struct Pace {
    private var estimate: Estimate?
    private var steps: [Double] = []
    private var stepsLeft = 0
    /// Of the step at work.
    private var share = 0.0
    private var stepBegan: ContinuousClock.Instant?
    private var decodingBegan: ContinuousClock.Instant?
    private var framesLeft: (done: Int, count: Int)?

    mutating func see(_ event: RenderEvent) {
        switch event {
        case .begun(let estimate): self.estimate = estimate
        case .layer(let done, let layers, let step, let count):
            if done == 0 { stepBegan = .now }
            (share, stepsLeft) = (Double(done) / Double(max(1, layers)), count - step + 1)
        case .step(let step, let count, let seconds):
            steps.append(seconds)
            (share, stepsLeft, stepBegan) = (0, count - step, nil)
        case .latents: decodingBegan = .now
        case .frames(let done, let count): framesLeft = (done, count)
        default: break
        }
    }

    /// Seconds until the video is there; nil while that cannot be told.
    var left: Double? {
        if let (done, count) = framesLeft, let decodingBegan, done > 0 {
            return decodingBegan.secondsUntilNow * Double(count - done) / Double(done)
        }
        guard let step = secondsAStep else { return nil }
        return step * (Double(stepsLeft) - share) + decodingSeconds(step)
    }

    /// The mean of those that are done; of the first, from what is done of it.
    private var secondsAStep: Double? {
        if !steps.isEmpty { return steps.reduce(0, +) / Double(steps.count) }
        guard let stepBegan, share > 0.05 else { return nil }
        return stepBegan.secondsUntilNow / share
    }

    /// As fast as the steps compute: what is known of the machine before the first frame.
    private func decodingSeconds(_ step: Double) -> Double {
        guard let estimate, !estimate.callsPerStep.isEmpty else { return 0 }
        let perStep = (estimate.totalFLOPs - estimate.decodeFLOPs - estimate.promptFLOPs)
            / Double(estimate.callsPerStep.count)
        return perStep > 0 ? estimate.decodeFLOPs / perStep * step : 0
    }
}
