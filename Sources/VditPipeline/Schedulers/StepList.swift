import Glibc
import VditFiles

/// An explicit loop: for each step the time the model is given, and the noise level of the latents there.
///
/// Distilled models are trained at a few places of their own, which no spacing of a scheduler hits. Nothing is
/// rounded: a model that learned 833.33 is 5 % off at 833.
public struct StepList: Sendable, Equatable {
    /// On the 0…1000 scale.
    public let timesteps: [Float]
    /// Strictly falling, in (0, 1]. The 0 after the last step is not listed: no model call belongs to it.
    public let sigmas: [Double]

    /// As long as the longest loop of the other schedulers.
    private static let maximumCount = 1000

    /// Noise levels as they are; the model's times are 1000 times these.
    ///
    /// - Throws: `PipelineError.invalid` (65) for a list that is not strictly falling in (0, 1].
    public init(sigmas: [Double]) throws(PipelineError) {
        try Self.check(sigmas, "sigmas", atMost: 1)
        self.init(levels: sigmas)
    }

    /// Training steps, moved towards noise: sigma = s·u / (1 + (s − 1)·u) with u a thousandth of a listed step and s
    /// the shift.
    ///
    /// - Throws: `PipelineError.invalid`: 65 for a list that is not strictly falling in (0, 1000], 64 for a shift out
    ///   of range.
    public init(trainingSteps: [Double], shift: Double) throws(PipelineError) {
        try Self.check(trainingSteps, "step list", atMost: 1000)
        try SchedulerConfiguration.check(flowShift: shift)
        self.init(levels: shifted(trainingSteps.map { $0 / 1000 }, by: shift))
    }

    /// Times and levels that stand for themselves, such as those of a run record.
    ///
    /// - Throws: `PipelineError.invalid` (65) for a list that is not strictly falling, or two of different length.
    public init(timesteps: [Double], sigmas: [Double]) throws(PipelineError) {
        try Self.check(sigmas, "sigmas", atMost: 1)
        try Self.check(timesteps, "timesteps", atMost: 1000)
        guard timesteps.count == sigmas.count else {
            throw .invalid(
                "timesteps", found: "\(timesteps.count) values", expected: "\(sigmas.count), one for each sigma",
                kind: .badData)
        }
        self.init(timesteps: timesteps.map { Float($0) }, unchecked: sigmas)
    }

    /// Whole times, whose level is that of the nearest entry of the training table: 1000 levels from 1 down, shifted.
    ///
    /// - Source: FastVideo, `DmdDenoisingStage`; CausVid, `FlowMatchScheduler`.
    init(nearest timesteps: [Int], ofTableShiftedBy shift: Double) {
        let table = shifted((0..<1000).map { Double(1000 - $0) / 1000 }, by: shift)
        let sigmas = timesteps.map { time in
            table.min { abs(1000 * $0 - Double(time)) < abs(1000 * $1 - Double(time)) } ?? 1
        }
        self.init(timesteps: timesteps.map { Float($0) }, unchecked: sigmas)
    }

    /// Levels of angles in the plane of signal and noise: sigma = sin / (sin + cos).
    init(angles: [Double]) {
        self.init(levels: angles.map { sin($0) / (sin($0) + cos($0)) })
    }

    /// Levels known to be right.
    init(levels: [Double]) {
        self.init(timesteps: levels.map { Float(1000 * $0) }, unchecked: levels)
    }

    private init(timesteps: [Float], unchecked sigmas: [Double]) {
        self.timesteps = timesteps
        self.sigmas = sigmas
    }

    /// The places of an existing loop that ends at 0.
    init(_ steps: [Step]) {
        self.init(timesteps: steps.map(\.timestep), unchecked: steps.map(\.sigma))
    }

    private static func check(
        _ values: [Double], _ what: String, atMost limit: Double
    ) throws(PipelineError) {
        func refuse(_ found: String, _ expected: String) -> PipelineError {
            .invalid(what, found: found, expected: expected, kind: .badData)
        }
        guard (1...maximumCount).contains(values.count) else {
            throw refuse(
                values.isEmpty ? "none" : "\(values.count) numbers", "1 to \(maximumCount) numbers")
        }
        let bound = limit == 1 ? "1" : "1000"
        for (index, value) in values.enumerated() {
            // A NaN fails the first comparison.
            guard value > 0, value <= limit else {
                throw refuse("\(value)", "numbers above 0, at most \(bound)")
            }
            if index > 0, value >= values[index - 1] {
                throw refuse("\(value) after \(values[index - 1])", "numbers that fall from step to step")
            }
        }
    }

    /// The loop, from the first level down to 0.
    var steps: [Step] {
        sigmas.indices.map { index in
            Step(
                index: index, count: sigmas.count, timestep: timesteps[index], sigma: sigmas[index],
                nextSigma: index + 1 < sigmas.count ? sigmas[index + 1] : 0)
        }
    }
}
