import VditAttention
import VditFiles
import VditMedia
import VditModels
import VditTensor

/// Makes one video from a model on disk and a prompt embedding.
///
/// `init` plans, reads the inputs and checks everything that can be checked; it computes nothing, and that is what a
/// dry run shows. `run` does the work. Neither prints.
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

    /// - Throws: an error that conforms to `Failure`, naming file, field, what was found and what was expected.
    public init(_ job: RenderJob) throws {
        try self.init(job, model: ModelDirectory(path: job.model).adapted(by: job.adapters))
    }

    /// The same with a model that is open already, its adapters with it; `job.model` is its name only.
    public init(_ job: RenderJob, model: ModelDirectory) throws {
        self.job = job
        self.model = model
        let resumed = try Self.findCheckpoint(job)
        self.resumed = resumed
        (plan, inputs) = try Self.plan(job, model, seed: resumed?.identity["seed"].flatMap { Int($0) })
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
        _ job: RenderJob, _ model: ModelDirectory, seed: Int? = nil
    ) throws -> (RenderPlan, RenderInputs) {
        var request = job.request
        if let seed { request.unseeded = .remembered(seed) }
        return try plan(job, RenderSettings(request, model: model.specification, sampler: model.scheduler), model)
    }

    /// The same of settings that are decided.
    private static func plan(
        _ job: RenderJob, _ settings: RenderSettings, _ model: ModelDirectory
    ) throws -> (RenderPlan, RenderInputs) {
        let inputs = try RenderInputs(job, settings: settings, model: model.specification)
        let plan = try RenderPlan(
            settings, model: model.specification, text: inputs.prompts.textTokens, fallback: job.fallback)
        return (plan, inputs)
    }

    /// A job of many, checked as its own run would be: memory and free space are looked at when its turn comes, and
    /// folders of its outputs may be missing.
    ///
    /// - Parameter settings: of the job, decided for this model.
    /// - Throws: an error that conforms to `Failure`.
    public static func check(
        _ job: RenderJob, _ settings: RenderSettings, model: ModelDirectory
    ) throws -> RenderPlan {
        let (plan, _) = try plan(job, settings, model)
        _ = try RenderOutputs(job, plan, folders: .willBeMade)
        return plan
    }

    static func identity(
        _ plan: RenderPlan, _ inputs: RenderInputs, _ model: ModelDirectory
    ) throws -> [String: String] {
        var identity = plan.settings.identity
        identity["model"] = try model.fingerprint()
        identity["lora"] = model.adapters.identity
        identity["prompt_embedding"] = inputs.prompts.prompt.digest
        identity["negative_prompt_embedding"] = inputs.prompts.negative.digest
        identity["text_tokens"] = "\(inputs.prompts.conditional.shape[0])"
        identity["latents"] = inputs.noiseDigest
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
