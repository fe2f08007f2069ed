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
        let (schedule, steps) = (configuration.schedule, calls.count)
        let first = schedule.denseSteps(of: steps)
        let sparseLayers = schedule.layers..<max(schedule.layers, layers)
        var total = 0.0
        var saved = 0.0
        var isUpperBound = false
        for (step, calls) in calls.enumerated() {
            let parts = step < first ? [] : layerParts(step, of: steps, sparseLayers, first)
            for branch in AttentionSite.Branch.allCases.prefix(calls) {
                let tokens = Double(layout(of: branch).tokens)
                total += tokens * tokens * Double(layers)
                for (density, start, layers) in parts {
                    guard let planner = planner(of: branch, density: density) else { continue }
                    let begun = planner.measuresForOneDensity ? max(first, start) : first
                    let known = configuration.method.learningBranch(of: branch) != branch
                        ? planner.predictedWorkOfOther(step: step, first: begun)
                        : planner.predictedWork(step: step, first: begun)
                    let work = known ?? density ?? configuration.density
                    isUpperBound = isUpperBound || work == nil
                    saved += (1 - (work ?? 1)) * tokens * tokens * Double(layers)
                }
            }
        }
        return total > 0 ? PredictedWork(share: 1 - saved / total, isUpperBound: isUpperBound) : .dense
    }

    /// Runs of layers that have one density at a step, since one step, and how many they are.
    private func layerParts(
        _ step: Int, of steps: Int, _ layers: Range<Int>, _ first: Int
    ) -> [(density: Double?, start: Int, layers: Int)] {
        var parts: [(density: Double?, start: Int, layers: Int)] = []
        for layer in layers {
            let density = configuration.densities.density(step: step, of: steps, layer: layer)
            let start = configuration.densities.start(step: step, of: steps, layer: layer, dense: first)
            if let last = parts.last, last.density == density, last.start == start {
                parts[parts.count - 1].layers += 1
            } else {
                parts.append((density, start, 1))
            }
        }
        return parts
    }
}
