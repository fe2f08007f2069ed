/// Token pairs a run computes over those of dense attention, as known before it starts.
public struct PredictedWork: Sendable, Equatable {
    /// Dense steps and layers included.
    public let share: Double
    /// Whether it may turn out less, because the method decides while it runs.
    public let isUpperBound: Bool

    public init(share: Double, isUpperBound: Bool) {
        self.share = share
        self.isUpperBound = isUpperBound
    }

    public static let dense = PredictedWork(share: 1, isUpperBound: false)
}

extension AttentionContext {
    /// - Parameters:
    ///   - calls: guidance branches of every step.
    ///   - layers: of the transformer.
    public func predictedWork(calls: [Int], layers: Int) -> PredictedWork {
        let total = Double(calls.reduce(0, +) * layers)
        if refusal != nil || total == 0 { return .dense }
        let schedule = configuration.schedule
        let first = schedule.denseSteps(of: calls.count)
        let sparseLayers = Double(max(0, layers - schedule.layers))
        var saved = 0.0
        var isUpperBound = false
        for (step, calls) in calls.enumerated() where step >= first && sparseLayers > 0 {
            let work = prepared.predictedWork(step: step, first: first) ?? configuration.density
            isUpperBound = isUpperBound || work == nil
            saved += (1 - (work ?? 1)) * Double(calls) * sparseLayers
        }
        return PredictedWork(share: 1 - saved / total, isUpperBound: isUpperBound)
    }
}
