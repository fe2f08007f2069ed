import Glibc
import VditModels
import VditTensor

/// Classifier-free guidance: pushes the conditional output away from the unconditional one.
///
/// - Source: Ho & Salimans, arXiv 2207.12598; the interval: Kynkäänniemi et al., arXiv 2404.07724; rescaling:
///   Lin et al., arXiv 2305.08891.
public struct Guidance: Sendable, Equatable {
    /// 1 is no guidance.
    public let scale: Double
    /// Fractions of the loop between which the second pass runs, each in 0…1.
    public let start: Double
    public let end: Double
    /// How much of the guided output takes the spread of the conditional one, in 0…1: it washes out less.
    public let rescale: Double
    public let schedule: GuidanceSchedule

    /// - Throws: `PipelineError.setting` for values out of range.
    public init(
        scale: Double, start: Double = 0, end: Double = 1, rescale: Double = 0, schedule: GuidanceSchedule = .constant
    ) throws(PipelineError) {
        guard scale.isFinite, (0...1000).contains(scale) else {
            throw .setting("guidance_scale", found: "\(scale)", expected: "0 to 1000")
        }
        guard start >= 0, end <= 1, start <= end else {
            throw .setting(
                "guidance_interval", found: "\(start):\(end)",
                expected: "two fractions START:END with 0 <= START <= END <= 1")
        }
        guard (0...1).contains(rescale) else {
            throw .setting("guidance_rescale", found: "\(rescale)", expected: "0 to 1")
        }
        self.rescale = rescale
        self.schedule = schedule
        self.scale = scale
        self.start = start
        self.end = end
    }

    /// Whether a step needs the unconditional pass. At scale 1 none does.
    public func applies(to step: Step) -> Bool {
        let first = Int(start * Double(step.count))
        let last = Int(end * Double(step.count))
        return scale != 1 && step.index >= first && step.index < last
    }

    /// The scale of a step.
    ///
    /// - Source: the cosine, `use_dynamic_cfg` of CogVideoXPipeline, diffusers 0.42.1: the time is the timestep itself,
    ///   up to 999, so that the cosine swings from step to step.
    func scale(at step: Step) -> Double {
        guard schedule == .cosine else { return scale }
        let count = Double(step.count)
        let place = pow((count - Double(step.timestep)) / count, 5)
        return 1 + scale * (1 - cos(.pi * place)) / 2
    }

    /// `unconditional + scale · (conditional − unconditional)`.
    public func combine(conditional: Tensor, unconditional: Tensor, at step: Step) -> Tensor {
        let scale = scale(at: step)
        let guided = combination([(scale, conditional), (1 - scale, unconditional)])
        if rescale == 0 { return guided }
        let spread = guided.standardDeviation
        if spread == 0 { return guided }
        let ratio = conditional.standardDeviation / spread
        return combination([(rescale * ratio + 1 - rescale, guided)])
    }
}
