import Foundation
import VditAttention
import VditFiles
import VditMedia
import VditTensor

/// Makes one video from a model on disk and a prompt embedding.
///
/// `init` checks everything that can be checked and computes nothing; that is what a dry run shows. `run`
/// does the work. Neither prints.
public struct Renderer {
    public let job: RenderJob
    public let model: ModelDirectory
    public let settings: RenderSettings
    public let prompts: PromptPair
    public let estimate: Estimate
    public let memoryLimit: MemoryLimit
    public let video: VideoPlan
    /// What a person should know before the run.
    public private(set) var notices: [String]

    let noise: Tensor?
    let noiseDigest: String?
    let latentShape: [Int]
    let method: ConfiguredMethod
    let layout: TokenLayout
    let scheduler: any Scheduler
    let resumed: Checkpoint?
    /// What to do with a file where the latents are to stay.
    let existingLatentsFile: ExistingFile
    /// Everything the latents depend on, by name: runs that agree in all of it make the same latents.
    public let identity: [String: String]

    /// - Throws: an error that conforms to `Failure`, naming file, field, what was found and what was expected.
    public init(_ job: RenderJob) throws {
        let model = try ModelDirectory(path: job.model)
        try self.init(job, model: model)
    }

    /// The same with a model that is open already; `job.model` is its name only.
    public init(_ job: RenderJob, model: ModelDirectory) throws {
        self.job = job
        self.model = model
        resumed = try Self.findCheckpoint(job)
        var request = job.request
        if request.seed == nil, let seed = resumed?.identity["seed"].flatMap({ Int($0) }) {
            // A seed drawn at random is part of the run that is continued.
            request.seed = seed
            request.origins["seed"] = .file
        }
        settings = try RenderSettings(request, model: model)
        let latentShape = model.latentShape(
            width: settings.width, height: settings.height, numFrames: settings.numFrames)
        self.latentShape = latentShape
        let patch = model.config.patch
        let grid = (1...3).map { latentShape[$0] / patch[$0 - 1] }
        for (name, extent) in zip(["num_frames", "height", "width"], grid)
        where extent > model.config.ropeMaxSeqLen {
            throw PipelineError.invalid(
                name, found: "\(extent) positions of the transformer",
                expected: "at most \(model.config.ropeMaxSeqLen)", kind: .usage)
        }
        layout = TokenLayout(frames: grid[0], height: grid[1], width: grid[2])
        scheduler = try settings.scheduler.scheduler(steps: settings.steps, tokens: layout.tokens)
        let guidance = try Self.guidance(settings)
        let calls = scheduler.steps.map { guidance[0].applies(to: $0) ? 2 : 1 }
        let isGuided = calls.contains(2)
        prompts = try PromptPair(
            path: job.promptEmbedding, negativePath: job.negativePromptEmbedding,
            width: model.config.textDim, length: model.defaults.textLength,
            usesGuidance: isGuided)
        notices = prompts.notices
        if let asked = settings.unroundedFrames {
            notices.append("num_frames: \(asked) rounded to \(settings.numFrames)")
        }
        if let path = job.latents {
            let read = try LatentsFile.read(
                path, channels: latentShape[0], extents: Array(latentShape.dropFirst()))
            noise = read.latents
            noiseDigest = read.latents.withBytes { Digest.sha256($0) }
            if job.request.seed != nil {
                notices.append("the seed has no effect: the run starts from \(path)")
            }
        } else {
            (noise, noiseDigest) = (nil, nil)
        }
        method = try MethodCatalogue.make(
            name: settings.sparse, options: settings.sparseOptions, density: settings.density,
            family: "wan")
        // Throws where the method cannot serve the layout.
        let attention = try AttentionContext(method, layout: layout, fallback: job.fallback)

        video = try job.destination.validate(
            width: settings.width, height: settings.height, frameCount: settings.numFrames,
            frameRate: settings.frameRate)
        let paths = [
            job.saveLatents, job.preview?.path, job.destination.contactSheet, job.destination.path,
        ].compactMap { $0 }
        let inputs = [job.promptEmbedding, job.negativePromptEmbedding, job.latents].compactMap { $0 }
        if let twice = paths.first(where: { path in
            paths.count { $0 == path } > 1 || inputs.contains(path)
        }) {
            throw PipelineError.invalid(
                "output \(twice)", found: "the same path for another file of this run",
                expected: "a path of its own", kind: .usage)
        }
        var latentsFile = job.destination.existing
        if let path = job.saveLatents {
            if let resumed, resumed.completed == scheduler.steps.count,
                let (kept, _) = try? LatentsFile.read(path, channels: latentShape[0]),
                kept.floats() == resumed.latents.floats()
            {
                // Its own, written before the decoding that was interrupted.
                latentsFile = .replace
            }
            try AtomicFile.check(path, existing: latentsFile)
        }
        existingLatentsFile = latentsFile
        if let preview = job.preview, preview.every < 1 {
            throw PipelineError.invalid(
                "preview interval", found: "\(preview.every)", expected: "at least 1 step",
                kind: .usage)
        }
        if let every = job.checkpointEverySteps, every < 1 {
            throw PipelineError.invalid(
                "checkpoint interval", found: "\(every)", expected: "at least 1 step", kind: .usage)
        }

        let textTokens = prompts.conditional.shape[0]
        estimate = Estimate(
            model: model, latents: latentShape, textTokens: textTokens, calls: calls,
            precision: settings.precision,
            decoderActivationBytes: model.vae.decodeBytes(
                height: settings.height, width: settings.width,
                operandBytes: settings.precision.dtype.byteCount),
            attention: attention.predictedWork(calls: calls, layers: model.config.layers),
            methodBytes: model.transformers.count
                * method.predictedStateBytes(
                    layout: layout, heads: model.config.heads, headDim: model.config.headDim,
                    layers: model.config.layers, branches: isGuided ? 2 : 1))
        let machine = MemoryLimit.current()
        memoryLimit =
            job.memoryLimit.map { MemoryLimit(bytes: $0, source: "memory limit given") } ?? machine
        if estimate.peakBytes > memoryLimit.bytes {
            let state = estimate.methodBytes > 0
                ? "; \(mebibytes(2 * estimate.methodBytes)) of the need are what \(method.name) learns" : ""
            throw PipelineError.tooLarge(
                needed: estimate.peakBytes, available: memoryLimit.bytes,
                limitedBy: memoryLimit.source + state)
        }
        if method.name != Dense.name {
            let dense = method.schedule.denseSteps(of: settings.steps)
            if dense >= settings.steps || method.schedule.layers >= model.config.layers {
                notices.append(
                    "every call of this run is dense: \(method.name) leaves the first \(dense) of "
                        + "\(settings.steps) steps and the first \(method.schedule.layers) layers dense "
                        + "(--dense-steps, --dense-layers)")
            }
        }

        var identity = settings.identity
        identity["model"] = try model.fingerprint()
        identity["prompt_embedding"] = prompts.prompt.digest
        identity["negative_prompt_embedding"] = prompts.negative.digest
        identity["text_tokens"] = "\(textTokens)"
        identity["latents"] = noiseDigest
        identity["instruction_set"] = "\(try InstructionSet.chosen())"
        identity["vdit_version"] = vditVersion
        if noise != nil { identity["seed"] = nil }
        self.identity = identity
        let checkpoint = Checkpoint.path(forOutput: job.destination.path)
        try resumed?.verify(identity: identity, path: checkpoint)
        if resumed == nil, FileManager.default.fileExists(atPath: checkpoint) {
            notices.append(
                "\(checkpoint) of an earlier run will be replaced; --resume would continue it")
        }
        // A checkpoint holds the latents, up to three histories of them and what the method learned; while
        // one is written the one before still lies there.
        try Self.checkSpace(
            forOutput: job.destination.path,
            needed: 2 * (latentShape.reduce(1, *) * 4 * 5 + estimate.methodBytes))
    }

    private static func checkSpace(forOutput path: String, needed: Int) throws(PipelineError) {
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        var status = statvfs()
        guard statvfs(folder, &status) == 0 else { return }
        let (free, overflow) = Int(status.f_bavail).multipliedReportingOverflow(by: Int(status.f_frsize))
        if !overflow, free < needed {
            throw .invalid(
                "free space in \(folder)", found: mebibytes(free),
                expected: "at least \(mebibytes(needed)) for latents and checkpoints", kind: .ioError)
        }
    }

    private static func findCheckpoint(_ job: RenderJob) throws -> Checkpoint? {
        if case .fresh = job.resume { return nil }
        let path = Checkpoint.path(forOutput: job.destination.path)
        if case .ifPossible = job.resume, !FileManager.default.fileExists(atPath: path) { return nil }
        return try Checkpoint(path: path)
    }

    /// Of each transformer.
    static func guidance(_ settings: RenderSettings) throws(PipelineError) -> [Guidance] {
        var all: [Guidance] = []
        for scale in [settings.guidanceScale, settings.secondGuidanceScale].compactMap({ $0 }) {
            all.append(
                try Guidance(scale: scale, start: settings.guidanceStart, end: settings.guidanceEnd))
        }
        return all
    }
}
