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

    /// - Throws: `PipelineError.setting` for values out of range.
    public init(scale: Double, start: Double = 0, end: Double = 1, rescale: Double = 0) throws(PipelineError) {
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

    /// `unconditional + scale · (conditional − unconditional)`.
    public func combine(conditional: Tensor, unconditional: Tensor) -> Tensor {
        let guided = combination([(scale, conditional), (1 - scale, unconditional)])
        if rescale == 0 { return guided }
        let spread = guided.standardDeviation
        if spread == 0 { return guided }
        let ratio = conditional.standardDeviation / spread
        return combination([(rescale * ratio + 1 - rescale, guided)])
    }
}
