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

/// Layers that have one density at a step, since one step.
private struct LayerPart: Hashable {
    let density: Double?
    let start: Int
}

extension AttentionContext {
    /// - Parameters:
    ///   - calls: guidance branches of every step.
    ///   - layers: of the transformer.
    public func predictedWork(calls: [Int], layers: Int) -> PredictedWork {
        let (schedule, densities, steps) = (configuration.schedule, configuration.densities, calls.count)
        let first = schedule.denseSteps(of: steps)
        let sparseLayers = schedule.layers..<max(schedule.layers, layers)
        var total = 0.0
        var saved = 0.0
        var isUpperBound = false
        for (step, calls) in calls.enumerated() {
            for branch in AttentionSite.Branch.allCases.prefix(calls) {
                let tokens = Double(layout(of: branch).tokens)
                total += tokens * tokens * Double(layers)
                if step < first { continue }
                let parts = Dictionary(grouping: sparseLayers) { layer in
                    LayerPart(
                        density: densities.density(step: step, of: steps, layer: layer),
                        start: densities.start(step: step, of: steps, layer: layer, dense: first))
                }
                for (part, layers) in parts.sorted(by: { $0.value[0] < $1.value[0] }) {
                    let density = part.density
                    guard let planner = planner(of: branch, density: density) else { continue }
                    let begun = planner.measuresForOneDensity ? max(first, part.start) : first
                    let known = configuration.method.learningBranch(of: branch) != branch
                        ? planner.predictedWorkOfOther(step: step, first: begun)
                        : planner.predictedWork(step: step, first: begun)
                    let work = known ?? density ?? configuration.density
                    isUpperBound = isUpperBound || work == nil
                    saved += (1 - (work ?? 1)) * tokens * tokens * Double(layers.count)
                }
            }
        }
        return total > 0 ? PredictedWork(share: 1 - saved / total, isUpperBound: isUpperBound) : .dense
    }
}
