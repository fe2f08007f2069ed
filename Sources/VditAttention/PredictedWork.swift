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
        let schedule = configuration.schedule
        let first = schedule.denseSteps(of: calls.count)
        let sparseLayers = max(0, layers - schedule.layers)
        var total = 0.0
        var saved = 0.0
        var isUpperBound = false
        for (step, calls) in calls.enumerated() {
            for branch in AttentionSite.Branch.allCases.prefix(calls) {
                let tokens = Double(layout(of: branch).tokens)
                total += tokens * tokens * Double(layers)
                guard let planner = planner(of: branch), step >= first, sparseLayers > 0 else { continue }
                let known = configuration.method.learningBranch(of: branch) != branch
                    ? planner.predictedWorkOfOther(step: step, first: first)
                    : planner.predictedWork(step: step, first: first)
                let work = known ?? configuration.density
                isUpperBound = isUpperBound || work == nil
                saved += (1 - (work ?? 1)) * tokens * tokens * Double(sparseLayers)
            }
        }
        return total > 0 ? PredictedWork(share: 1 - saved / total, isUpperBound: isUpperBound) : .dense
    }
}
