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

    public var model: String
    public var promptEmbedding: String
    public var negativePromptEmbedding: String?
    public var request = RenderRequest()
    public var latents: String?
    public var method: MethodChoice
    public var trajectory = Trajectory.dense
    public var fallback = AttentionContext.Fallback.refuse
    /// 0-based, in the sampler loop.
    public var step = 0
    /// 0-based transformer block.
    public var layer = 0
    public var branch = AttentionSite.Branch.conditional

    public init(model: String, promptEmbedding: String, method: MethodChoice) {
        self.model = model
        self.promptEmbedding = promptEmbedding
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
        let model = try ModelDirectory(path: self.model)
        let settings = try RenderSettings(request, model: model)
        try check("step", step, below: settings.steps)
        try check("layer", layer, below: model.config.layers)
        let shape = model.latentShape(
            width: settings.width, height: settings.height, numFrames: settings.numFrames)
        let patch = model.config.patch
        let layout = TokenLayout(
            frames: shape[1] / patch[0], height: shape[2] / patch[1], width: shape[3] / patch[2])
        let scheduler = try settings.scheduler.scheduler(steps: settings.steps, tokens: layout.tokens)
        let guidance = try Renderer.guidance(settings)
        if branch == .unconditional, !guidance[0].applies(to: scheduler.steps[step]) {
            throw PipelineError.invalid(
                "branch", found: "unconditional", expected: "conditional: step \(step) runs without guidance",
                kind: .usage)
        }
        let prompts = try PromptPair(
            path: promptEmbedding, negativePath: negativePromptEmbedding, width: model.config.textDim,
            length: model.defaults.textLength,
            usesGuidance: scheduler.steps.contains { guidance[0].applies(to: $0) })
        let noise = try latents.map {
            try LatentsFile.read($0, channels: shape[0], extents: Array(shape.dropFirst())).latents
        }
        let configured =
            trajectory == .dense ? try method.configuredWithoutWarmUp() : try method.configured()
        _ = try AttentionContext(configured, layout: layout, fallback: fallback)
        let needed = try Estimate(model: model, settings: settings).peakBytes
        let limit = MemoryLimit.current()
        if needed > limit.bytes {
            throw PipelineError.tooLarge(needed: needed, available: limit.bytes, limitedBy: limit.source)
        }

        let compute = try ComputeContext(threads: settings.threads, precision: settings.precision)
        let seen = Sight()
        let enough = StopFlag(following: stop)
        let experts = try model.transformers.enumerated().map { index, transformer in
            Expert(
                model: try WanTransformer(
                    config: transformer.config, weights: transformer.weights, compute: compute),
                guidance: guidance[min(index, guidance.count - 1)],
                lowestTimestep: transformer.lowestTimestep,
                attention: try observed(configured, layout, seen, enough))
        }
        var random = TorchRandom(seed: UInt64(settings.seed))
        var generation = try Generation(
            experts: experts, scheduler: scheduler,
            noise: noise ?? random.normal([1] + shape).reshaped(shape),
            conditional: Conditioning(prompt: prompts.conditional),
            unconditional: Conditioning(prompt: prompts.unconditional))
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
        var notices = prompts.notices
        let schedule = configured.schedule
        if schedule.isDense(step: step, of: settings.steps) || schedule.isDense(layer: layer) {
            notices.append(
                "step \(step), layer \(layer) is one that \(configured.name) leaves dense: "
                    + "--dense-steps 0 --dense-layers 0 lets it run")
        }
        return Result(observation: observation, method: configured, notices: notices)
    }

    private final class Sight {
        var observation: AttentionContext.Observation?
    }

    /// A context that leaves what it did at the site in `seen` and then ends the run.
    private func observed(
        _ configured: ConfiguredMethod, _ layout: TokenLayout, _ seen: Sight, _ enough: StopFlag
    ) throws(AttentionError) -> AttentionContext {
        let site = AttentionSite(layer: layer, branch: branch)
        let method = try AttentionContext(configured, layout: layout, fallback: fallback)
        method.observer = { [step] (observation) throws(AttentionError) in
            let call = observation.call
            guard call.site == site, call.step == step else { return }
            seen.observation = AttentionContext.Observation(
                call: AttentionCall(
                    q: call.q.copy(), k: call.k.copy(), v: call.v.copy(), scale: call.scale,
                    layout: call.layout, site: call.site, step: call.step, steps: call.steps, pool: call.pool,
                    instructionSet: call.instructionSet),
                plans: observation.plans, output: observation.output)
            enough.requestStop()
        }
        if trajectory == .sparse { return method }
        let dense = try AttentionContext(MethodCatalogue.make(name: "dense"), layout: layout)
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
