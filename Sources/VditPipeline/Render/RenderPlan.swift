import VditAttention
import VditFiles
import VditModels
import VditTensor

/// What a render will do, decided from the model's specification and what was asked, before a file of weights, a
/// prompt or an output is touched.
///
/// Settings are decided and in range, the latents' shape, the sampler's steps, the layout of tokens and the sparse
/// method that serves it are known, and what it all will cost. A dry run, a batch, a comparison, a probe and the
/// renderer ask the same plan.
public struct RenderPlan: Sendable {
    public let model: ModelSpecification
    public let settings: RenderSettings
    public let latents: LatentShape
    let scheduler: any Scheduler
    /// Of each transformer.
    let guidance: [Guidance]
    public let method: ConfiguredMethod
    public let fallback: AttentionContext.Fallback
    public let layouts: [AttentionSite.Branch: TokenLayout]
    /// The step cache, where there is one, and the calls of each transformer.
    public let cache: ConfiguredCache?
    let calls: [TransformerCalls]
    public let estimate: Estimate
    /// What a person should know before the run.
    public let notices: [String]

    /// Tokens of the prompts that the model sees, by branch.
    public struct TextTokens: Sendable, Equatable {
        public var conditional: Int
        public var unconditional: Int

        public init(conditional: Int, unconditional: Int) {
            self.conditional = conditional
            self.unconditional = unconditional
        }

        /// Prompts of the model's own length.
        public static func typical(of model: ModelSpecification) -> TextTokens {
            let length = model.defaults.textLength ?? 512
            return TextTokens(conditional: length, unconditional: length)
        }
    }

    /// - Parameters:
    ///   - sampler: what the model's scheduler configuration says.
    ///   - text: of the prompts; nil where they are not known yet.
    /// - Throws: `PipelineError` (64) naming the setting, what was asked and what is possible; `ModelError` for sizes
    ///   beyond the model's positions; `AttentionError` for what the sparse method cannot do.
    public init(
        _ request: RenderRequest, model: ModelSpecification, sampler: SchedulerConfiguration,
        text: TextTokens? = nil, fallback: AttentionContext.Fallback = .refuse
    ) throws {
        try self.init(
            RenderSettings(request, model: model, sampler: sampler), model: model, text: text, fallback: fallback)
    }

    /// The same of settings that are decided.
    ///
    /// - Parameter cacheTables: what step caches know of models.
    public init(
        _ settings: RenderSettings, model: ModelSpecification, text: TextTokens? = nil,
        fallback: AttentionContext.Fallback = .refuse, cacheTables: CacheTables = .published
    ) throws {
        self.model = model
        self.settings = settings
        self.fallback = fallback
        let text = text ?? .typical(of: model)
        let transformer = model.transformer
        let latents = model.decoder.latentShape(
            width: settings.width, height: settings.height, numFrames: settings.numFrames)
        self.latents = latents
        let layouts: [AttentionSite.Branch: TokenLayout] = [
            .conditional: try Self.layout(transformer, latents, text.conditional),
            .unconditional: try Self.layout(transformer, latents, text.unconditional),
        ]
        self.layouts = layouts
        let layout = layouts[.conditional]!
        var scheduler = try settings.scheduler.scheduler(
            steps: settings.steps, tokens: layout.videoTokens, start: model.defaults.spacing,
            noise: .seed(UInt64(settings.seed)))
        if let strength = settings.strength { scheduler.skip(settings.steps - strength.share(of: settings.steps)) }
        self.scheduler = scheduler
        let guidance = settings.guidance
        self.guidance = guidance
        let own = Self.calls(model, scheduler.steps, guidance, trainTimesteps: settings.scheduler.trainTimesteps)
        self.calls = own
        let calls = scheduler.steps.indices.map { step in own.reduce(0) { $0 + $1.branches(of: step).count } }
        let cache = settings.cache?.configured(forModel: model.defaults.name, tables: cacheTables)
        self.cache = cache
        let cached = try cache.map { cache in
            try PredictedCalls(
                cache, own, tokens: layout.tokens, latents: latents, precision: settings.precision, of: transformer)
        }
        method = settings.method.configured(forModel: model.defaults.name)
        if fallback == .refuse { try method.checkServes(model) }
        // Throws where the method cannot serve the layout.
        let attention = try AttentionContext(method, layouts: layouts, fallback: fallback)
        let work = attention.predictedWork(calls: cached?.perStep ?? calls, layers: transformer.layers)
        estimate = Estimate(
            model: model, latents: latents, layout: layout, textTokens: text.conditional, calls: calls,
            precision: settings.precision, keeping: settings.weights ?? .packed,
            decoderActivationBytes: model.decoder.decodeBytes(
                height: settings.height, width: settings.width,
                operandBytes: settings.precision.dtype.byteCount),
            attention: work, cached: cached,
            methodBytes: model.transformers.count
                * method.predictedStateBytes(
                    layout: layout, heads: transformer.heads, headDim: transformer.headDim,
                    layers: transformer.layers, branches: calls.max() ?? 1),
            takesGates: method.method.takesGates)
        notices = Self.notices(settings, method, work, steps: scheduler.steps.count, layers: transformer.layers)
    }

    /// Whether any step runs the unconditional branch.
    public var isGuided: Bool { estimate.callsPerStep.contains(2) }

    public var steps: [Step] { scheduler.steps }

    /// Token pairs of all self-attention of a run that is dense and leaves no call out.
    var pairs: Int {
        calls.flatMap(\.counts).reduce(0) { total, calls in
            let tokens = layouts[calls.key]?.tokens ?? 0
            return total + calls.value * tokens * tokens * model.transformer.heads * model.transformer.layers
        }
    }

    /// Whether the run follows a list of few steps, each of which may take an hour.
    var isFewStep: Bool { settings.scheduler.list != nil }

    private static func layout(
        _ transformer: any TransformerSpecification, _ latents: LatentShape, _ textTokens: Int
    ) throws -> TokenLayout {
        do {
            return try transformer.tokenLayout(latents, textTokens: textTokens)
        } catch {
            guard case .invalid(let what, let found, let expected, _) = error else { throw error }
            // The extents follow from what was asked.
            let setting = ["latent frames": "num_frames", "latent height": "height", "latent width": "width"][what]
            throw PipelineError.setting(setting ?? what, found: "\(found) in the latents", expected: expected)
        }
    }

    /// Above this share of dense attention's work, planning and small blocks cost what is left out.
    private static let worthwhileShare = 0.95

    private static func notices(
        _ settings: RenderSettings, _ method: ConfiguredMethod, _ work: PredictedWork, steps: Int,
        layers: Int
    ) -> [String] {
        var notices: [String] = []
        if let asked = settings.unroundedFrames {
            notices.append("num_frames: \(asked) rounded to \(settings.numFrames)")
        }
        if let automatic = settings.automatic { notices.append(automatic.notice) }
        if let row = settings.fewStep, settings.guidance.contains(where: { $0.scale != 1 }) {
            notices.append(
                "\(row.name) is for models with guidance built in: guidance \(settings.guidanceScale) makes two calls "
                    + "of every step")
        }
        if method.name != Dense.name {
            let dense = method.schedule.denseSteps(of: steps)
            if dense >= steps || method.schedule.layers >= layers {
                notices.append(
                    "every call of this run is dense: \(method.name) leaves the first \(dense) of "
                        + "\(steps) steps and the first \(method.schedule.layers) layers dense "
                        + "(dense-steps, dense-layers)")
            } else if work.share > worthwhileShare, !work.isUpperBound {
                notices.append(
                    "\(method.name) computes \((work.share * 1000).rounded() / 1000) of dense attention's work here, "
                        + "which saves less than it costs: ask for a lower density or fewer dense steps, or take dense")
            }
        }
        return notices
    }

    /// The calls of each transformer.
    private static func calls(
        _ model: ModelSpecification, _ steps: [Step], _ guidance: [Guidance], trainTimesteps: Int
    ) -> [TransformerCalls] {
        let last = model.transformers.count - 1
        let serving = steps.map { step in
            model.transformers.firstIndex { step.timestep >= Float($0.boundary * Double(trainTimesteps)) } ?? last
        }
        let guided = zip(steps, serving).map { guidance[min($1, guidance.count - 1)].applies(to: $0) }
        func range(_ isIn: (Int) -> Bool) -> Range<Int> {
            let own = steps.indices.filter(isIn)
            return own.first.map { $0..<(own.last ?? $0) + 1 } ?? 0..<0
        }
        return model.transformers.indices.map { index in
            TransformerCalls(
                model: model.defaults.name, steps: steps.count, served: range { serving[$0] == index },
                guided: range { serving[$0] == index && guided[$0] }, isGuided: guided.contains(true))
        }
    }

    /// Fresh state of every transformer's step cache; nothing without one.
    func cacheContexts(_ pool: WorkPool) throws(PipelineError) -> [CacheContext] {
        guard let cache else { return [] }
        var contexts: [CacheContext] = []
        for calls in calls { contexts.append(try CacheContext(cache, calls, pool: pool)) }
        return contexts
    }

    /// Fresh state of the attention of every transformer.
    func attentionContexts() throws(AttentionError) -> [AttentionContext] {
        var contexts: [AttentionContext] = []
        for _ in model.transformers {
            contexts.append(
                try AttentionContext(
                    method, layouts: layouts, fallback: fallback, precision: settings.attentionPrecision))
        }
        return contexts
    }

    /// Refuses a run that needs more than there is.
    ///
    /// - Throws: `PipelineError.tooLarge`.
    func check(_ limit: MemoryLimit) throws(PipelineError) {
        guard estimate.peakBytes > limit.bytes else { return }
        let state = estimate.methodBytes > 0
            ? "; \(Bytes.text(2 * estimate.methodBytes)) of the need are what \(method.name) learns" : ""
        let kept = estimate.cacheBytes > 0
            ? "; \(Bytes.text(2 * estimate.cacheBytes)) are what \(cache?.name ?? "") keeps" : ""
        throw .tooLarge(
            needed: estimate.peakBytes, available: limit.bytes, limitedBy: limit.source + state + kept)
    }

    /// The loop, ready to run.
    ///
    /// - Parameters:
    ///   - loaded: the model this is a plan for.
    ///   - contexts: one for every transformer; likewise `caches`, where there is a step cache.
    ///   - inputs: prompts, the noise to start from where it is given, pictures.
    ///   - onLoad: called before an encoder or a transformer is loaded, with its component's name.
    func generation(
        _ loaded: LoadedModel, _ inputs: RenderInputs, _ contexts: [AttentionContext], caches: [CacheContext] = [],
        nonFinite: Generation.NonFinite = .refuse, onLoad: (String) throws -> Void = { _ in }
    ) throws -> Generation {
        let start = try start(inputs, loaded, onLoad: onLoad)
        var experts: [Expert] = []
        for (index, part) in model.transformers.enumerated() {
            try onLoad(part.component)
            experts.append(
                Expert(
                    model: try loaded.transformer(index), guidance: guidance[min(index, guidance.count - 1)],
                    lowestTimestep: loaded.model.lowestTimestep(ofTransformer: index),
                    attention: contexts[index], cache: caches.isEmpty ? nil : caches[index]))
        }
        let rate = model.transformer.conditioning.takesFrameRate ? settings.frameRate.framesPerSecond : nil
        func conditioning(_ branch: AttentionSite.Branch) -> Conditioning {
            var conditioning = inputs.prompts.conditioning(branch, frameRate: rate)
            conditioning.image = start.imageTokens
            return conditioning
        }
        return try Generation(
            experts: experts, scheduler: scheduler, noise: start.noise, picture: start.held, channels: start.channels,
            video: start.video, conditional: conditioning(.conditional), unconditional: conditioning(.unconditional),
            nonFinite: nonFinite)
    }
}

extension ConfiguredMethod {
    /// Refuses a model that lacks what the method was trained with.
    ///
    /// - Throws: `AttentionError.unsupported` (69).
    func checkServes(_ model: ModelSpecification) throws(AttentionError) {
        guard method.takesGates, !model.transformers.allSatisfy(\.specification.hasGates) else { return }
        throw .unsupported(
            method: name, found: "a checkpoint without its gates",
            expected: "one that was trained with it, as FastWan 1.3B and 14B: blocks.N.to_gate_compress")
    }
}
