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
    /// Whether a checkpoint of another run lies where this one's will.
    let setsCheckpointAside: Bool

    public var settings: RenderSettings { plan.settings }
    public var prompts: PromptPair { inputs.prompts }
    public var estimate: Estimate { plan.estimate }
    public var video: VideoPlan { outputs.video }
    /// How the model would be sampled without being distilled; nil where this run does not rest on that.
    public var undistilled: ModelDefaults? {
        plan.isFewStep || model.adapters.isDistilled ? plan.model.defaults : nil
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
        let model = try open ?? ModelDirectory(job.model).adapted(by: job.adapters)
        self.job = job
        self.model = model
        let (found, unfit) = try Self.findCheckpoint(job)
        var (plan, inputs) = try Self.plan(
            job, model, book, encodes: encodes || found != nil, seed: found?.identity["seed"].flatMap { Int($0) })
        var identity = try Self.identity(plan, inputs, model)
        let checkpoint = job.destination.statePath ?? ""
        var (resumed, reason) = (found, unfit)
        do {
            try found?.verify(identity: identity, path: checkpoint)
            if let folder = job.saveTrajectory, let found, !TrajectoryWriter.holds(folder, steps: found.completed) {
                throw PipelineError.otherRun(
                    path: checkpoint, field: "save_trajectory", checkpoint: "nothing", current: folder)
            }
        } catch where job.resume == .ifFits {
            (resumed, reason) = (nil, "\(error)")
            (plan, inputs) = try Self.plan(job, model, book, encodes: encodes)
            identity = try Self.identity(plan, inputs, model)
        }
        (self.inputs, self.identity, self.resumed) = (inputs, identity, resumed)
        outputs = try RenderOutputs(job, plan, resumed: resumed)
        memoryLimit =
            job.memoryLimit.map { MemoryLimit(bytes: $0, source: "memory limit given") } ?? .current()
        plan = try plan.fitted(to: memoryLimit)
        self.plan = plan
        var notices = inputs.notices(job, plan) + plan.notices
        notices += model.notices(plan)
        setsCheckpointAside = resumed == nil && FilePath.isTaken(checkpoint)
        if setsCheckpointAside {
            notices.append(
                "\(reason ?? "\(checkpoint) is of an earlier run"); it is kept as "
                    + FilePath.firstFree(checkpoint))
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
        let inputs = try RenderInputs(job, settings: settings, model, book, encodes: encodes)
        let plan = try RenderPlan(
            settings, model: model.specification, text: inputs.prompts.textTokens, pictures: inputs.pictures.given,
            fallback: job.fallback, cacheTables: inputs.cacheTables, headTable: inputs.headTable)
        return (plan, inputs)
    }

    /// A job of many, checked as its own run would be: memory and free space are looked at when its turn comes, and
    /// folders of its outputs may be missing.
    ///
    /// - Parameters:
    ///   - settings: of the job, decided for this model.
    ///   - book: notes the job's prompts, so that those of all jobs are encoded together.
    ///   - known: files of jobs before.
    /// - Returns: the plan, and digests of prompts in words by setting.
    /// - Throws: an error that conforms to `Failure`.
    public static func check(
        _ job: RenderJob, _ settings: RenderSettings, model: ModelDirectory, _ book: PromptBook, known: KnownFiles
    ) throws -> (plan: RenderPlan, textDigests: [(name: String, digest: String)]) {
        let (plan, inputs) = try known.plan(job, settings) {
            try RenderInputs(job, settings: settings, model, book, encodes: false).planned
        } _: { inputs, estimate in
            try RenderPlan(
                settings, model: model.specification, text: inputs.textTokens, fallback: job.fallback,
                cacheTables: inputs.cacheTables, headTable: inputs.headTable, estimate: estimate)
        }
        _ = try RenderOutputs(job, plan, folders: .willBeMade, known: known)
        return (plan, inputs.textDigests)
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
        for (name, digest) in inputs.pictures.digests { identity[name] = digest }
        if !inputs.pictures.digests.isEmpty { identity["encoders"] = model.encoderFingerprint }
        identity["sparse_table"] = inputs.headTableDigest
        identity["cache_calibration"] = inputs.cacheTablesDigest
        identity["instruction_set"] = "\(try InstructionSet.chosen())"
        identity["vdit_version"] = vditVersion
        if inputs.noise != nil, !plan.settings.scheduler.kind.drawsNoise { identity["seed"] = nil }
        return identity
    }

    /// The state beside the output, or why it is none to go on from.
    private static func findCheckpoint(_ job: RenderJob) throws -> (Checkpoint?, unfit: String?) {
        guard job.resume != .fresh, let path = job.destination.statePath else { return (nil, nil) }
        if job.resume != .required, !FilePath.isTaken(path) { return (nil, nil) }
        do {
            return (try Checkpoint(path: path), nil)
        } catch let error as any Failure where job.resume == .ifFits {
            return (nil, error.description)
        } catch let error as any Failure where error.kind == .badData {
            throw PipelineError.damagedCheckpoint(error.description)
        }
    }
}
