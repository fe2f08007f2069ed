import VditAttention
import VditFiles

/// Computes the steps of a list: what an adaptive run decided, made again, and schedules that somebody found for a
/// model.
public struct StepSchedule: StepCache {
    public static let name = "schedule"
    public var threshold: Double { 1 }
    public let standIn: CacheStandIn
    /// As it is written.
    let list: String

    public func rule(for calls: TransformerCalls, _ tables: CacheTables) throws(PipelineError) -> any CacheRule {
        let steps = list == "all" ? Array(0..<calls.steps) : Self.steps(list)
        guard let steps, steps.allSatisfy({ $0 < calls.steps }) else {
            throw .setting(
                "cache_options", found: "steps=\(list)",
                expected: "all, or steps from 0 to \(calls.steps - 1) and ranges of them, such as 0-7+10+13")
        }
        return Rule(steps: Set(steps))
    }

    /// The numbers of `0-7+10+13`; nil for what is no such list.
    static func steps(_ list: String) -> [Int]? {
        var steps: [Int] = []
        for part in list.split(separator: "+", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1],
                (0...100_000).contains(first), first <= last, last <= 100_000
            else { return nil }
            steps += first...last
        }
        return steps
    }

    struct Rule: CacheRule {
        let steps: Set<Int>

        func estimate(_ call: CacheCall, change: Double, _ numbers: inout CacheNumbers) -> Double {
            steps.contains(call.step) ? .infinity : 0
        }
    }

    private static let stepsOption = MethodOption(
        "steps", .text, default: "all", "steps that are computed: all, or a list such as 0-7+10+13")

    static let description = CacheDescription(
        name: name, summary: "computes the steps of a list", paper: nil,
        options: [stepsOption] + CacheOptions.common(first: .count(1), last: 0)
            + [CacheOptions.standIn],
        presets: [
            CataloguePreset(
                name: "jenga", models: [], source: "Jenga (arXiv 2505.16864), HunyuanVideo, 50 steps",
                settings: [stepsOption("0-4+7+10+13+16+19+22+25+26+29+32+35+38+41+43+45-47+49")])
        ]
    ) { values, _ in
        StepSchedule(standIn: values[CacheOptions.standIn], list: values[stepsOption])
    }
}
