import VditAttention
import VditFiles
import VditModels
import VditTensor

/// Renders a video's latents with every call computed and finds what step caches need to know of the model: one prompt
/// is enough.
public struct CalibrationJob: Sendable {
    /// What to render; its destination is not used.
    public var render: RenderJob

    public init(_ render: RenderJob) { self.render = render }

    public struct Result: Sendable {
        /// Name of the model, and its table.
        public let model: String
        public let table: CacheTable
        public let notices: [String]
    }

    /// - Parameter onStep: called after each step with the number done and the loop's length.
    /// - Throws: an error that conforms to `Failure`; `PipelineError.cancelled` when `stop` was raised.
    public func run(
        stop: StopFlag = StopFlag(), onStep: (Int, Int) throws -> Void = { _, _ in }
    ) throws -> Result {
        let model = try ModelDirectory(render.model).adapted(by: render.adapters)
        let (plan, inputs) = try Renderer.plan(render, model)
        guard plan.steps.count >= CacheCatalogue.leastSteps else {
            throw PipelineError.setting(
                "steps", found: "\(plan.steps.count)", expected: "at least \(CacheCatalogue.leastSteps)")
        }
        try plan.settings.requireOneSize()
        let loaded = try LoadedModel(model, plan.fitted(to: .current()))
        let seen = CallSizes()
        let all = try CacheChoice(cache: TaylorSeer.name, options: ["interval": "1", "order": "0"]).configured()
        let caches = try plan.parts.map { part in
            let context = try CacheContext(all, part.calls, pool: loaded.compute.pool)
            context.observer = { seen.add($0) }
            return context
        }
        var generation = try plan.generation(
            loaded, inputs, plan.attentionContexts(), caches: caches)
        var outputs = OutputChanges()
        while !generation.isFinished {
            let result = try generation.advance { try stop.throwIfStopping() }
            outputs.add(result)
            try onStep(generation.completed, plan.steps.count)
        }
        return Result(
            model: plan.model.defaults.name,
            table: CacheTable(
                steps: plan.steps.count, streams: plan.isGuided ? 2 : 1, ratios: seen.ratios,
                coefficients: CacheTable.fittedCoefficients(
                    seen.signals.compactMap { place, x in outputs.changes[place].map { (x: x, y: $0) } }),
                size: plan.settings.videoSize,
                weights: try model.weightsDigest()),
            notices: inputs.notices(render, plan))
    }

    /// A call that follows one of its branch.
    private struct Place: Hashable {
        let step: Int
        let branch: AttentionSite.Branch
    }

    /// What observed calls say, against the call before of their branch, whichever transformer it was.
    private final class CallSizes {
        private var before: [AttentionSite.Branch: CacheContext.Observation] = [:]
        private(set) var ratios: [Double] = []
        private(set) var signals: [Place: Double] = [:]

        func add(_ call: CacheContext.Observation) {
            let branch = call.call.branch
            defer { before[branch] = call }
            guard let earlier = before[branch] else { return }
            let norms = zip(rowNorms(call.residual), rowNorms(earlier.residual))
            // Six digits say more than the ratio means.
            let ratio = norms.reduce(0) { $0 + $1.0 / max($1.1, 1e-30) } / Double(call.residual.rowCount)
            ratios.append((ratio * 1e6).rounded() / 1e6)
            if let now = call.signal, let then = earlier.signal {
                signals[Place(step: call.call.step, branch: branch)] = relativeDistance(now.floats(), then.floats())
            }
        }

        private func rowNorms(_ rows: Tensor) -> [Double] {
            rows.withFloats { values in
                (0..<rows.rowCount).map { row in
                    let own = values[row * rows.columns..<(row + 1) * rows.columns]
                    return own.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
                }
            }
        }
    }

    /// How much the model's outputs change from step to step.
    private struct OutputChanges {
        private var before: StepResult?
        private(set) var changes: [Place: Double] = [:]

        mutating func add(_ result: StepResult) {
            defer { before = result }
            guard let before else { return }
            let step = result.step.index
            changes[Place(step: step, branch: .conditional)] = relativeDistance(
                result.conditional.floats(), before.conditional.floats())
            if let now = result.unconditional, let then = before.unconditional {
                changes[Place(step: step, branch: .unconditional)] = relativeDistance(now.floats(), then.floats())
            }
        }
    }
}

/// `mean|now − then| / mean|then|`.
private func relativeDistance(_ now: [Float], _ then: [Float]) -> Double {
    var (change, size) = (0.0, 0.0)
    for (a, b) in zip(now, then) {
        change += Double(abs(a - b))
        size += Double(abs(b))
    }
    return change / max(size, 1e-30)
}
