import Glibc
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
        try plan.check(.current())
        guard plan.steps.count >= CacheCatalogue.leastSteps else {
            throw PipelineError.setting(
                "steps", found: "\(plan.steps.count)", expected: "at least \(CacheCatalogue.leastSteps)")
        }
        let loaded = try LoadedModel(
            model, threads: plan.settings.threads, precision: plan.settings.precision)
        let seen = CallSizes()
        let all = try CacheChoice(cache: TaylorSeer.name, options: ["interval": "1", "order": "0"]).configured()
        let caches = try plan.calls.map { calls in
            let context = try CacheContext(all, calls, pool: loaded.compute.pool)
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
                coefficients: fit(seen.signals, outputs.changes)),
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

    /// The polynomial of degree 4 that takes signals to changes with the least squared error; nil without signals.
    private func fit(_ signals: [Place: Double], _ changes: [Place: Double]) -> [Double]? {
        let points = signals.compactMap { place, x in changes[place].map { (x: x, y: $0) } }.sorted { $0.x < $1.x }
        guard points.count > 5, let scale = points.last?.x, scale > 0 else { return nil }
        // Powers of x / scale, the highest first: better conditioned than those of x.
        var matrix = [[Double]](repeating: [Double](repeating: 0, count: 6), count: 5)
        for (x, y) in points {
            let powers = (0..<5).map { pow(x / scale, Double(4 - $0)) }
            for row in 0..<5 {
                for column in 0..<5 { matrix[row][column] += powers[row] * powers[column] }
                matrix[row][5] += powers[row] * y
            }
        }
        guard let solution = solved(matrix) else { return nil }
        return solution.indices.map { solution[$0] / pow(scale, Double(4 - $0)) }
    }

    /// Gauss's elimination with row pivots; nil where the equations do not decide.
    private func solved(_ equations: [[Double]]) -> [Double]? {
        var rows = equations
        for column in rows.indices {
            guard let pivot = (column..<rows.count).max(by: { abs(rows[$0][column]) < abs(rows[$1][column]) }),
                abs(rows[pivot][column]) > 1e-14
            else { return nil }
            rows.swapAt(column, pivot)
            for row in rows.indices where row != column {
                let factor = rows[row][column] / rows[column][column]
                for place in column..<rows[row].count { rows[row][place] -= factor * rows[column][place] }
            }
        }
        return rows.indices.map { rows[$0][rows.count] / rows[$0][$0] }
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
