import VditAttention
import VditModels
import VditTensor

/// One self-attention of a real run, taken out of it: the model runs up to a step and stops there.
public struct AttentionProbe: Sendable {
    /// Whose latents lead to the step.
    public enum Trajectory: String, Sendable, CaseIterable, Codable {
        /// Dense attention computes the run; the method sees the observed layer's operands at every step and
        /// learns from them, without dense steps or layers but those that were asked for. Methods are then
        /// compared on the same operands.
        case dense
        /// The method computes the run, with its dense steps and layers, as a render does.
        case sparse
    }

    /// The dense render whose attention is looked at; its destination means nothing.
    public var job: RenderJob
    public var method: MethodChoice
    public var trajectory = Trajectory.dense
    /// 0-based, in the sampler loop.
    public var step = 0
    /// 0-based transformer block.
    public var layer = 0
    public var branch = AttentionSite.Branch.conditional

    public init(_ job: RenderJob, method: MethodChoice) {
        self.job = job
        self.method = method
    }

    /// What was seen, and what a person should know about it.
    public struct Result: Sendable {
        public let observation: AttentionContext.Observation
        public let method: ConfiguredMethod
        public let notices: [String]
    }

    /// - Parameters:
    ///   - stop: polled before every layer.
    ///   - onStep: steps done and how many will be.
    /// - Throws: an error that conforms to `Failure`; sizes, options, step and layer are checked before any
    ///   weight is packed.
    public func run(stop: StopFlag = StopFlag(), onStep: (Int, Int) throws -> Void = { _, _ in }) throws -> Result {
        let model = try ModelDirectory(job.model).adapted(by: job.adapters)
        var dense = job
        dense.sparseTable = nil
        let (plan, inputs) = try Renderer.plan(dense, model)
        let settings = plan.settings
        let table = try HeadTableFile.table(of: job, for: method, model, settings)?.table
        let configured = try (trajectory == .dense ? method.withoutWarmUp() : method).configured(
            forModel: model.specification.defaults.name, table: table?.stretched(to: plan.steps.count))
        try check("step", step, below: plan.steps.count)
        try check("layer", layer, below: model.specification.transformer.layers)
        if branch == .unconditional, !plan.guidance[0].applies(to: plan.steps[step]) {
            throw PipelineError.invalid(
                "branch", found: "unconditional", expected: "conditional: step \(step) runs without guidance",
                kind: .usage)
        }
        if job.fallback == .refuse { try configured.checkServes(plan.model) }
        for part in plan.parts { _ = try AttentionContext(configured, layouts: part.layouts, fallback: job.fallback) }

        let loaded = try LoadedModel(model, plan.fitted(to: .current()))
        let seen = Sight()
        let enough = StopFlag(following: stop)
        let contexts = try plan.parts.map { part in
            try observed(configured, part.layouts, settings.attentionPrecision, seen, enough)
        }
        var generation = try plan.generation(loaded, inputs, contexts)
        while seen.observation == nil, !generation.isFinished {
            do {
                _ = try generation.advance { try enough.throwIfStopping() }
            } catch PipelineError.cancelled where seen.observation != nil && !stop.isStopping {
                break
            }
            try onStep(generation.completed, step + 1)
        }
        guard let observation = seen.observation else {
            throw PipelineError.invalid(
                "step", found: "\(step)", expected: "a step that runs layer \(layer)", kind: .usage)
        }
        var notices = inputs.notices(job, plan)
        let schedule = configured.schedule
        if schedule.isDense(step: step, of: plan.steps.count) || schedule.isDense(layer: layer) {
            notices.append(
                "step \(step), layer \(layer) is one that \(configured.name) leaves dense: "
                    + "dense-steps 0 and dense-layers 0 let it run")
        }
        return Result(observation: observation, method: configured, notices: notices)
    }

    private final class Sight {
        var observation: AttentionContext.Observation?
    }

    /// A context that leaves what it did at the site in `seen` and then ends the run.
    private func observed(
        _ configured: ConfiguredMethod, _ layouts: [AttentionSite.Branch: TokenLayout],
        _ precision: AttentionPrecision?, _ seen: Sight, _ enough: StopFlag
    ) throws(AttentionError) -> AttentionContext {
        let site = AttentionSite(layer: layer, branch: branch)
        let method = try AttentionContext(configured, layouts: layouts, fallback: job.fallback, precision: precision)
        method.observer = { [step] (observation) throws(AttentionError) in
            let call = observation.call
            guard call.site == site, call.step == step else { return }
            seen.observation = AttentionContext.Observation(
                call: AttentionCall(
                    q: call.q.copy(), k: call.k.copy(), v: call.v.copy(), gate: call.gate?.copy(),
                    projection: call.projection, scale: call.scale, layout: call.layout, site: call.site,
                    step: call.step, steps: call.steps, pool: call.pool, instructionSet: call.instructionSet),
                plans: observation.plans, output: observation.output)
            enough.requestStop()
        }
        if trajectory == .sparse { return method }
        let dense = try AttentionContext(MethodChoice.dense.configured(), layouts: layouts, precision: precision)
        dense.trained = configured.method.trained
        dense.observer = { (observation) throws(AttentionError) in
            if observation.call.site == site { _ = try method.attend(observation.call) }
        }
        return dense
    }

    private func check(_ name: String, _ value: Int, below count: Int) throws(PipelineError) {
        guard (0..<count).contains(value) else {
            throw .invalid(
                name, found: "\(value)", expected: "0 to \(count - 1), counted from 0", kind: .usage)
        }
    }
}
