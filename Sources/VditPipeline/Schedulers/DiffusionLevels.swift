import Glibc
import VditFiles
import VditTensor

/// Noise levels of a diffusion in a thousand steps, and how few of them a loop visits.
///
/// Latents at level sigma are `√(1 − sigma²) · video + sigma · noise`. The largest level is noise alone.
/// - Source: CogVideoXDDIMScheduler and CogVideoXDPMScheduler, diffusers 0.42.1; the rescaling: Lin et al., arXiv
///   2305.08891.
struct DiffusionLevels: Sendable, Equatable {
    var betaStart = 0.00085
    var betaEnd = 0.012

    init() {}

    /// - Throws: `FileError.malformed` for a wrong type or range, `PipelineError.unsupported` for what would change the
    ///   result; both name file and key.
    init(_ file: ConfigFile) throws {
        betaStart = try file.numberIfPresent("beta_start", 1e-9...0.999) ?? betaStart
        betaEnd = try file.numberIfPresent("beta_end", 1e-9...0.999) ?? betaEnd
        for (key, absent, expected) in [
            ("beta_schedule", "scaled_linear", "scaled_linear"), ("timestep_spacing", "leading", "trailing"),
            ("prediction_type", "epsilon", "v_prediction"),
        ] {
            let found = try file.stringIfPresent(key) ?? absent
            if found != expected { throw Self.refuse(file, key, found, expected) }
        }
        for (key, absent, expected) in [
            ("rescale_betas_zero_snr", false, true), ("set_alpha_to_one", true, true), ("clip_sample", false, false),
        ] {
            let found = try file.boolIfPresent(key) ?? absent
            if found != expected { throw Self.refuse(file, key, "\(found)", "\(expected)") }
        }
        if file.keys.contains("trained_betas") { throw Self.refuse(file, "trained_betas", "a list", "null") }
    }

    private static func refuse(
        _ file: ConfigFile, _ key: String, _ found: String, _ expected: String
    ) -> PipelineError {
        .unsupported("\(file.path): \(key)", found: found, expected: expected)
    }

    /// The share of the video in a level's variance, `1 − sigma²`, of every training step.
    ///
    /// - Parameter shift: divides the signal-to-noise ratio.
    func signal(_ count: Int, shift: Double) -> [Double] {
        var product = 1.0
        let roots = evenlySpaced(betaStart.squareRoot(), betaEnd.squareRoot(), count).map { beta in
            product *= 1 - beta * beta
            return (product / (shift + (1 - shift) * product)).squareRoot()
        }
        guard let first = roots.first, let last = roots.last, first > last else { return roots.map { $0 * $0 } }
        return roots.map {
            let root = ($0 - last) * first / (first - last)
            return root * root
        }
    }

    /// The loop: as many of the training steps as asked for, evenly spaced from the last down.
    func steps(_ count: Int, of train: Int, shift: Double) -> [Step] {
        let signal = signal(train, shift: shift)
        return (0..<count).map { index in
            let place = Double(train) - Double(index) * (Double(train) / Double(count))
            let time = Int(place.rounded(.toNearestOrEven)) - 1
            let next = time - train / count
            return Step(
                index: index, count: count, timestep: Float(time), sigma: (1 - signal[time]).squareRoot(),
                nextSigma: next < 0 ? 0 : (1 - signal[next]).squareRoot())
        }
    }
}

/// A sampler of models that predict the velocity between a video and noise on a circle.
protocol VelocityScheduler: Scheduler {}

extension VelocityScheduler {
    /// x0 = √(1 − sigma²) · x − sigma · v.
    public func estimate(_ latents: Tensor, prediction: Tensor, at step: Step) -> Tensor {
        combination([((1 - step.sigma * step.sigma).squareRoot(), latents), (-step.sigma, prediction)])
    }

    public func start(_ noise: Tensor, from video: Tensor) -> Tensor {
        let level = steps.first?.sigma ?? 1
        return combination([((1 - level * level).squareRoot(), video), (level, noise)])
    }
}
