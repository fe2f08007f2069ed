import VditAttention
import VditFiles

/// Computes the steps whose loss would show most in the video, and leans into the trend of those before at the others.
///
/// What it costs to leave out a single step was measured once, as the error of the final latents: three quarters of
/// the first step's at a seventh of the loop, a hundredth in its second half, twice that at its end. The error of a
/// stretch is the sum of those, each as many times as the last computed step is steps away.
///
/// - Source: ours; measured on the sample model at 20 steps (docs/caches.md).
public struct WeightedSteps: StepCache {
    public static let name = "weighted"
    public let threshold: Double
    public let standIn: CacheStandIn

    public func rule(for calls: TransformerCalls, _ tables: CacheTables) -> any CacheRule {
        // A loop of more steps does less in each.
        let scale = Double(Self.costs.count) / Double(calls.steps)
        return Rule(
            costs: (0..<calls.steps).map { step in
                let place = Double(step * (Self.costs.count - 1)) / Double(max(1, calls.steps - 1))
                let (low, part) = (Int(place), place - place.rounded(.down))
                let high = min(low + 1, Self.costs.count - 1)
                return scale * scale * ((1 - part) * Self.costs[low] + part * Self.costs[high])
            })
    }

    /// Relative error of the final latents where one of 20 steps is forecast from the two before it.
    private static let costs = [
        0.65, 0.65, 0.647, 0.601, 0.195, 0.0688, 0.0372, 0.0153, 0.0114, 0.0076, 0.0063, 0.0063, 0.006, 0.0061, 0.0061,
        0.0059, 0.0059, 0.0064, 0.0115, 0.0137,
    ]

    struct Rule: CacheRule {
        /// Of every step.
        let costs: [Double]

        func estimate(_ call: CacheCall, change: Double, _ numbers: inout CacheNumbers) -> Double {
            numbers.error += costs[call.step] * Double(numbers.skips + 1)
            return numbers.error
        }
    }

    private static let thresholdOption = CacheOptions.threshold(
        0.03, "error of the final latents, summed over a stretch, from which on a call is computed")

    static let description = CacheDescription(
        name: name, summary: "computes the steps that matter most, by weights measured once", paper: nil,
        options: [thresholdOption, CacheOptions.mostSkips]
            + CacheOptions.common(first: .count(2), last: 0, order: 1, lean: 0.5) + [CacheOptions.standIn],
        shareOptions: [thresholdOption]
    ) { values, _ in WeightedSteps(threshold: values[thresholdOption], standIn: values[CacheOptions.standIn]) }
}
