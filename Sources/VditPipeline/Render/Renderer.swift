import VditAttention
import VditFiles
import VditMedia
import VditModels
import VditTensor

/// Makes one video from a model on disk and a prompt embedding.
///
/// `init` plans, reads the inputs, encodes prompts in words and checks everything that can be checked; it computes nothing
/// else, and that is what a dry run shows. `run` does the work. Neither prints.
public struct Renderer {
    public let job: RenderJob
    public let model: ModelDirectory
    public let plan: RenderPlan
    public let inputs: RenderInputs
    public let memoryLimit: MemoryLimit
    /// Everything the latents depend on, by name: runs that agree in all of it make the same latents.
    public let identity: [String: String]
    /// What a person should know before the run.
    public let notices: [String]
    let outputs: RenderOutputs
    let resumed: Checkpoint?

    public var settings: RenderSettings { plan.settings }
    public var prompts: PromptPair { inputs.prompts }
    public var estimate: Estimate { plan.estimate }
    public var video: VideoPlan { outputs.video }
    /// Transformer calls that the model would need without being distilled; nil where this run does not rest on that.
    public var undistilledCalls: Int? {
        plan.isFewStep || model.adapters.isDistilled ? plan.model.defaults.undistilledCalls : nil
    }

    /// - Parameters:
    ///   - open: the model, where it is open already, its adapters with it; `job.model` is its name only then.
    ///   - book: where prompts in words are noted and encoded.
    ///   - encodes: false for a plan of a run: prompts are read as far as that takes no time. A state that the run
    ///     would go on from needs their embeddings all the same.
    /// - Throws: an error that conforms to `Failure`, naming file, field, what was found and what was expected.
    public init(
        _ job: RenderJob, model open: ModelDirectory? = nil, _ book: PromptBook = PromptBook(), encodes: Bool = true
    ) throws {
        let model = try open ?? ModelDirectory(path: job.model).adapted(by: job.adapters)
        self.job = job
        self.model = model
        let resumed = try Self.findCheckpoint(job)
        self.resumed = resumed
        (plan, inputs) = try Self.plan(
            job, model, book, encodes: encodes || resumed != nil,
            seed: resumed?.identity["seed"].flatMap { Int($0) })
        outputs = try RenderOutputs(job, plan, resumed: resumed)
        memoryLimit =
            job.memoryLimit.map { MemoryLimit(bytes: $0, source: "memory limit given") } ?? .current()
        try plan.check(memoryLimit)
        identity = try Self.identity(plan, inputs, model)
        var notices = inputs.notices(job, plan) + plan.notices
        notices += model.notices(plan)
        let checkpoint = Checkpoint.path(forOutput: job.destination.path)
        try resumed?.verify(identity: identity, path: checkpoint)
        if resumed == nil, FilePath.exists(checkpoint) {
            notices.append(
                "\(checkpoint) of an earlier run will be replaced; 'resume' would continue it")
        }
        self.notices = notices
        try RenderOutputs.checkSpace(job, plan)
    }

    /// Plans a job and reads its inputs.
    ///
    /// - Parameter seed: of a run that is continued: a seed drawn at random is part of it.
    static func plan(
        _ job: RenderJob, _ model: ModelDirectory, _ book: PromptBook = PromptBook(), encodes: Bool = true,
        seed: Int? = nil
    ) throws -> (RenderPlan, RenderInputs) {
        var request = job.request
        if let seed { request.unseeded = .remembered(seed) }
        let settings = try RenderSettings(request, model: model.specification, sampler: model.scheduler)
        return try plan(job, settings, model, book, encodes: encodes)
    }

    /// The same of settings that are decided.
    private static func plan(
        _ job: RenderJob, _ settings: RenderSettings, _ model: ModelDirectory, _ book: PromptBook, encodes: Bool
    ) throws -> (RenderPlan, RenderInputs) {
        let inputs = try RenderInputs(
            job, settings: settings, model: model.specification, book, encodes: encodes)
        let plan = try RenderPlan(
            settings, model: model.specification, text: inputs.prompts.textTokens, fallback: job.fallback,
            cacheTables: inputs.cacheTables)
        return (plan, inputs)
    }

    /// A job of many, checked as its own run would be: memory and free space are looked at when its turn comes, and
    /// folders of its outputs may be missing.
    ///
    /// - Parameters:
    ///   - settings: of the job, decided for this model.
    ///   - book: notes the job's prompts, so that those of all jobs are encoded together.
    /// - Throws: an error that conforms to `Failure`.
    public static func check(
        _ job: RenderJob, _ settings: RenderSettings, model: ModelDirectory, _ book: PromptBook
    ) throws -> (plan: RenderPlan, prompts: PromptPair) {
        let (plan, inputs) = try plan(job, settings, model, book, encodes: false)
        _ = try RenderOutputs(job, plan, folders: .willBeMade)
        return (plan, inputs.prompts)
    }

    static func identity(
        _ plan: RenderPlan, _ inputs: RenderInputs, _ model: ModelDirectory
    ) throws -> [String: String] {
        var identity = plan.settings.identity
        if plan.model.defaults.spacing != .interpolated { identity["spacing"] = "\(plan.model.defaults.spacing)" }
        identity["model"] = try model.fingerprint()
        identity["lora"] = model.adapters.identity
        identity["prompt_embedding"] = inputs.prompts.prompt.digest
        identity["negative_prompt_embedding"] = inputs.prompts.negative.digest
        identity["text_tokens"] = "\(inputs.prompts.conditional.shape[0])"
        identity["latents"] = inputs.noiseDigest
        identity["image"] = inputs.picture?.digest
        identity["cache_calibration"] = inputs.cacheTablesDigest
        identity["instruction_set"] = "\(try InstructionSet.chosen())"
        identity["vdit_version"] = vditVersion
        if inputs.noise != nil, !plan.settings.scheduler.kind.drawsNoise { identity["seed"] = nil }
        return identity
    }

    private static func findCheckpoint(_ job: RenderJob) throws -> Checkpoint? {
        if case .fresh = job.resume { return nil }
        let path = Checkpoint.path(forOutput: job.destination.path)
        if case .ifPossible = job.resume, !FilePath.exists(path) { return nil }
        do {
            return try Checkpoint(path: path)
        } catch let error as any Failure where error.kind == .badData {
            throw PipelineError.damagedCheckpoint(error.description)
        }
    }
}
