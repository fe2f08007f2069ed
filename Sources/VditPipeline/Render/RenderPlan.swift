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
    let pictures: GivenPictures
    let scheduler: any Scheduler
    /// Of each transformer.
    let guidance: [Guidance]
    public let method: ConfiguredMethod
    public let fallback: AttentionContext.Fallback
    public let layouts: [AttentionSite.Branch: TokenLayout]
    /// Latents of the loop's sizes, the full one last.
    let sizes: [LatentShape]
    /// In the order they come; where there is one size, one for each transformer.
    let parts: [Part]
    public let cache: ConfiguredCache?
    /// How blocks of the transformers are kept in memory: as was asked, else packed; see `fitted`.
    public private(set) var keeping: LayerKeeping
    public private(set) var estimate: Estimate
    /// What a person should know before the run.
    public private(set) var notices: [String]

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
    /// - Parameters:
    ///   - cacheTables: what step caches know of models.
    ///   - headTable: patterns of the method for every head.
    ///   - known: what a run costs that differs from this one in its seed alone.
    public init(
        _ settings: RenderSettings, model: ModelSpecification, text: TextTokens? = nil,
        pictures: GivenPictures = GivenPictures(), fallback: AttentionContext.Fallback = .refuse,
        cacheTables: CacheTables = .published, headTable: HeadTable? = nil, estimate known: Estimate? = nil
    ) throws {
        self.model = model
        self.settings = settings
        self.pictures = pictures
        self.fallback = fallback
        let text = text ?? .typical(of: model)
        let transformer = model.transformer
        let sizes = try Self.sizes(
            settings, model, text, framesAhead: pictures.framesAhead(model.defaults.pictureStart))
        self.sizes = sizes.map(\.latents)
        let full = sizes[sizes.count - 1]
        (latents, layouts) = (full.latents, full.layouts)
        let scheduler = try Self.scheduler(settings, model, sizes)
        self.scheduler = scheduler
        guidance = settings.guidance
        let method = try settings.method.configured(
            forModel: model.defaults.name, table: headTable?.stretched(to: scheduler.steps.count))
        self.method = method
        if fallback == .refuse { try method.checkServes(model) }
        let parts = Self.parts(
            settings, model, sizes, scheduler.steps, text, isTrained: method.method.trained != nil)
        self.parts = parts
        let cache = settings.cache?.configured(forModel: model.defaults.name, tables: cacheTables)
        self.cache = cache
        keeping = settings.weights ?? .packed
        estimate = try known ?? Estimate(
            model: model, latents: latents, layout: full.layouts[.conditional]!, textTokens: text.conditional,
            calls: scheduler.steps.indices.map { step in parts.reduce(0) { $0 + $1.calls.branches(of: step).count } },
            precision: settings.precision, keeping: keeping, threads: settings.threads,
            decoderActivationBytes: model.decoder.decodeBytes(
                height: settings.height, width: settings.width,
                operandBytes: settings.precision.dtype.byteCount),
            parts: parts.map { part in
                try PredictedPart(part, method, cache, of: transformer, settings.precision, fallback)
            })
        notices = Self.notices(
            settings, method, estimate.computedAttention, steps: scheduler.steps.count, layers: transformer.layers)
    }

    /// Whether any step runs the unconditional branch.
    public var isGuided: Bool { estimate.callsPerStep.contains(2) }

    public var steps: [Step] { scheduler.steps }

    /// Token pairs of all self-attention of a run that is dense and leaves no call out.
    var pairs: Int {
        parts.reduce(0) { total, part in
            part.calls.counts.reduce(total) { total, calls in
                let tokens = part.layouts[calls.key]?.tokens ?? 0
                return total + calls.value * tokens * tokens * model.transformer.heads * model.transformer.layers
            }
        }
    }

    /// Whether the run follows a list of few steps, each of which may take an hour.
    var isFewStep: Bool { settings.scheduler.list != nil }

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

    /// Fresh state of every part's step cache; nothing without one.
    func cacheContexts(_ pool: WorkPool) throws(PipelineError) -> [CacheContext] {
        guard let cache else { return [] }
        var contexts: [CacheContext] = []
        for part in parts { contexts.append(try CacheContext(cache, part.calls, pool: pool)) }
        return contexts
    }

    /// Fresh state of the attention of every part.
    func attentionContexts() throws(AttentionError) -> [AttentionContext] {
        var contexts: [AttentionContext] = []
        for part in parts {
            contexts.append(
                try AttentionContext(
                    method, layouts: part.layouts, fallback: fallback, precision: settings.attentionPrecision))
        }
        return contexts
    }

    /// The same with blocks left in their files, which takes the least memory and gives the same bytes, unless it was
    /// said how they are kept.
    public var least: RenderPlan {
        var plan = self
        if settings.weights == nil {
            plan.keeping = .stored
            plan.estimate.weightBytes = model.weightSizes(settings.precision, .stored).bytes
        }
        return plan
    }

    /// The same within a limit: as it is, or with the least memory.
    ///
    /// - Throws: `PipelineError.tooLarge` for a run that needs more all the same.
    func fitted(to limit: MemoryLimit) throws(PipelineError) -> RenderPlan {
        if estimate.peakBytes <= limit.bytes { return self }
        var plan = least
        try plan.check(limit)
        plan.notices.append(
            "weights as-stored: packed, this run would take \(Bytes.text(estimate.peakBytes)) of "
                + "\(Bytes.text(limit.bytes)) (\(limit.source)); blocks are decoded in every call, the video is the same")
        return plan
    }

    private func check(_ limit: MemoryLimit) throws(PipelineError) {
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
    ///   - contexts: one for every part; likewise `caches`, where there is a step cache.
    ///   - inputs: prompts, the noise to start from where it is given, pictures.
    ///   - onLoad: called before an encoder is loaded, with its component's name.
    func generation(
        _ loaded: LoadedModel, _ inputs: RenderInputs, _ contexts: [AttentionContext], caches: [CacheContext] = [],
        nonFinite: Generation.NonFinite = .refuse, onLoad: (String) throws -> Void = { _ in }
    ) throws -> Generation {
        let start = try start(inputs, loaded, onLoad: onLoad)
        var experts: [Expert] = []
        for (index, part) in parts.enumerated() {
            let transformer = part.transformer
            experts.append(
                Expert(
                    model: try loaded.transformer(transformer),
                    guidance: guidance[min(transformer, guidance.count - 1)], steps: part.calls.served,
                    attention: contexts[index], cache: caches.isEmpty ? nil : caches[index]))
        }
        let rate = model.transformer.conditioning.takesFrameRate ? settings.frameRate.framesPerSecond : nil
        func conditioning(_ branch: AttentionSite.Branch) -> Conditioning {
            var conditioning = inputs.prompts.conditioning(branch, frameRate: rate)
            conditioning.image = start.imageTokens
            if pictures.framesAhead(model.defaults.pictureStart) > 0 { conditioning.frameAhead = settings.numFrames - 1 }
            conditioning.guidance = settings.embeddedGuidance
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
        guard let trained = method.trained,
            !model.transformers.allSatisfy({ $0.specification.trained == trained })
        else { return }
        throw .unsupported(
            method: name, found: "a checkpoint without its \(trained.rawValue)",
            expected: "one that was trained with it, as \(trained.examples): blocks.N.\(trained.layer)")
    }
}
