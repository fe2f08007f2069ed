import Foundation
import VditAttention
import VditMedia
import VditModels
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
        let guidedSteps = scheduler.steps.count { guidance[0].applies(to: $0) }
        prompts = try PromptPair(
            path: job.promptEmbedding, negativePath: job.negativePromptEmbedding,
            width: model.config.textDim, length: model.defaults.textLength,
            usesGuidance: guidedSteps > 0)
        notices = prompts.notices
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
        _ = try AttentionContext(method, layout: layout, fallback: job.fallback)

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
        if let path = job.saveLatents {
            try AtomicFile.check(path, existing: job.destination.existing)
        }
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
            model: model, latents: latentShape, textTokens: textTokens, steps: settings.steps,
            guidedSteps: guidedSteps, precision: settings.precision,
            decoderActivationBytes: model.vae.decodeBytes(
                height: settings.height, width: settings.width,
                operandBytes: settings.precision.dtype.byteCount),
            methodBytes: model.transformers.count
                * method.predictedStateBytes(
                    layout: layout, heads: model.config.heads, headDim: model.config.headDim,
                    layers: model.config.layers, branches: guidedSteps > 0 ? 2 : 1))
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

    // MARK: Running

    /// Loads the model, samples, decodes and writes.
    ///
    /// - Parameters:
    ///   - shared: weights to use and to leave loaded where memory allows it; nil loads them for this run alone.
    ///   - stop: polled before every layer and at every decoded frame.
    ///   - onEvent: called on the calling thread.
    /// - Returns: what is also written to `OUT.json`.
    /// - Throws: `PipelineError.cancelled` after saving a checkpoint when `stop` was raised; otherwise an
    ///   error that conforms to `Failure`. Nothing half-written remains under a final name.
    public func run(
        using shared: LoadedModel? = nil, stop: StopFlag = StopFlag(),
        onEvent: (RenderEvent) throws -> Void = { _ in }
    ) throws -> RunRecord {
        for notice in notices { try onEvent(.notice(notice)) }
        var timing = RunRecord.Timing()
        let start = ContinuousClock.now
        let loaded =
            try shared
            ?? LoadedModel(model, threads: settings.threads, precision: settings.precision)
        let keepsAll = shared != nil && estimate.residentBytes <= memoryLimit.bytes
        if !keepsAll { loaded.dropDecoder() }
        let (latents, attention) = try denoise(loaded, stop, &timing, start, onEvent)
        if !keepsAll { loaded.dropTransformers() }
        let latentsPath = job.saveLatents ?? companionPath(job.destination.path, ".latents.safetensors")
        try LatentsFile.write(
            latents,
            metadata: fileMetadata.merging(["fps": "\(settings.frameRate)", "model": model.path]) { $1 },
            to: latentsPath, existing: job.saveLatents == nil ? .replace : job.destination.existing)
        try onEvent(.latents(latentsPath))

        let decoding = ContinuousClock.now
        try onEvent(.loading("vae"))
        let decoder = try loaded.decoder()
        let output = try VideoOutput(
            job.destination, width: settings.width, height: settings.height,
            frameCount: settings.numFrames, frameRate: settings.frameRate, metadata: fileMetadata,
            pool: loaded.compute.pool)
        try decode(
            latents, with: decoder, to: output, frameCount: settings.numFrames,
            checkpoint: Checkpoint.path(forOutput: job.destination.path), stop, onEvent)
        timing.encode = output.seconds
        timing.decode = decoding.secondsUntilNow - output.seconds

        var record = record(
            output: output.record(of: settings.frameRate), attention: attention, timing: timing,
            latents: latents, instructionSet: loaded.compute.instructionSet)
        record.job = job.fingerprint
        if job.destination.record == .write {
            try record.write(to: job.destination.recordPath, existing: job.destination.existing)
        }
        if job.saveLatents == nil { unlink(latentsPath) }
        unlink(Checkpoint.path(forOutput: job.destination.path))
        try onEvent(.finished(record))
        return record
    }

    private func denoise(
        _ loaded: LoadedModel, _ stop: StopFlag, _ timing: inout RunRecord.Timing,
        _ start: ContinuousClock.Instant, _ onEvent: (RenderEvent) throws -> Void
    ) throws -> (Tensor, [AttentionContext]) {
        if let resumed, resumed.completed == scheduler.steps.count {
            try onEvent(.resumed(step: resumed.completed, steps: scheduler.steps.count))
            return (resumed.latents, [])
        }
        let guidance = try Self.guidance(settings)
        var experts: [Expert] = []
        for (index, transformer) in model.transformers.enumerated() {
            try onEvent(.loading(index == 0 ? "transformer" : "transformer_2"))
            experts.append(
                Expert(
                    model: try loaded.transformer(index),
                    guidance: guidance[min(index, guidance.count - 1)],
                    lowestTimestep: transformer.lowestTimestep,
                    attention: try AttentionContext(method, layout: layout, fallback: job.fallback)))
            try transformer.weights.verifyUnchanged()
        }
        let previewDecoder = job.preview == nil ? nil : try loaded.decoder()
        var random = TorchRandom(seed: UInt64(settings.seed))
        let noise = self.noise ?? random.normal([1] + latentShape).reshaped(latentShape)
        var generation = try Generation(
            experts: experts, scheduler: scheduler, noise: noise,
            conditional: Conditioning(prompt: prompts.conditional),
            unconditional: Conditioning(prompt: prompts.unconditional), nonFinite: job.nonFinite)
        if let resumed {
            try generation.restore(resumed)
            try onEvent(.resumed(step: resumed.completed, steps: scheduler.steps.count))
        }
        let trajectory = try job.saveTrajectory.map {
            try TrajectoryWriter(directory: $0, existing: job.destination.existing)
        }
        if resumed == nil { try trajectory?.write(noise: noise) }
        timing.load = start.secondsUntilNow
        try onEvent(.loaded(seconds: timing.load))

        let sampling = ContinuousClock.now
        try sample(&generation, trajectory, previewDecoder, stop, &timing, onEvent)
        timing.denoise = sampling.secondsUntilNow
        return (generation.latents, experts.map(\.attention))
    }

    private func sample(
        _ generation: inout Generation, _ trajectory: TrajectoryWriter?,
        _ previewDecoder: (any VideoDecoder)?, _ stop: StopFlag, _ timing: inout RunRecord.Timing,
        _ onEvent: (RenderEvent) throws -> Void
    ) throws {
        let path = Checkpoint.path(forOutput: job.destination.path)
        var lastSaved = ContinuousClock.now
        var savedStep = generation.completed
        func save(_ generation: borrowing Generation) throws {
            try generation.checkpoint(identity: identity).write(to: path)
            savedStep = generation.completed
            lastSaved = .now
            try onEvent(.checkpoint(path))
        }
        while !generation.isFinished {
            let started = ContinuousClock.now
            let result: StepResult
            do {
                result = try generation.advance(stop: stop)
            } catch PipelineError.cancelled(let step, let steps, _) {
                if step > 0 { try save(generation) }
                throw PipelineError.cancelled(
                    step: step, steps: steps, checkpoint: step > 0 ? path : nil)
            }
            timing.perStep.append(started.secondsUntilNow)
            try onEvent(
                .step(generation.completed, of: result.step.count, seconds: started.secondsUntilNow))
            try trajectory?.write(result)
            let done = generation.completed
            if let preview = job.preview, let previewDecoder, done % preview.every == 0 {
                try writePreview(result.estimate, previewDecoder, preview.path)
                try onEvent(.preview(preview.path))
            }
            let isDue =
                job.checkpointEverySteps.map { done - savedStep >= $0 }
                ?? (lastSaved.secondsUntilNow >= job.checkpointEverySeconds)
            // The last step is always saved, so that a run stopped while decoding can go on there.
            if isDue || generation.isFinished || stop.takeCheckpointRequest() { try save(generation) }
        }
    }

    /// The middle frame of an estimate, decoded by itself.
    private func writePreview(
        _ estimate: Tensor, _ decoder: any VideoDecoder, _ path: String
    ) throws {
        let middle = estimate.shape[1] / 2
        let frame = Tensor(.f32, [estimate.shape[0], 1] + estimate.shape.dropFirst(2))
        for channel in 0..<estimate.shape[0] {
            frame[channel].assign(estimate[channel].slice(middle..<middle + 1))
        }
        try decoder.decode(frame) { frames in
            if let picture = try VideoFrame.frames(of: frames).first {
                try PNG.write(picture.pixels, to: path, existing: .replace)
            }
        }
    }

    // MARK: Records

    /// What is embedded in the video and in the latents file.
    private var fileMetadata: [String: String] {
        var metadata = [
            "comment": "vdit \(vditVersion), \(model.defaults.name), seed \(settings.seed), "
                + "\(settings.steps) steps, guidance \(settings.guidanceScale), "
                + "\(settings.scheduler.kind.rawValue), flow shift \(settings.scheduler.flowShift), "
                + "attention \(settings.sparse)"
        ]
        metadata["title"] = prompts.prompt.prompt
        return metadata
    }

    private func record(
        output: RunRecord.Output, attention: [AttentionContext], timing: RunRecord.Timing,
        latents: Tensor, instructionSet: InstructionSet
    ) -> RunRecord {
        func embedding(_ prompt: PromptEmbedding) -> RunRecord.Embedding? {
            prompt.path.isEmpty
                ? nil
                : RunRecord.Embedding(
                    path: prompt.path, sha256: prompt.digest, shape: prompt.storedShape,
                    dtype: prompt.storedType.rawValue)
        }
        return RunRecord(
            command: job.command,
            model: RunRecord.Model(
                family: model.defaults.name, path: model.path, files: model.files,
                dtype: model.storedType),
            inputs: RunRecord.Inputs(
                promptEmbedding: embedding(prompts.prompt),
                negativePromptEmbedding: embedding(prompts.negative), prompt: prompts.prompt.prompt,
                latents: job.latents, latentsSha256: noiseDigest),
            sampling: RunRecord.Sampling(
                width: settings.width, height: settings.height, numFrames: settings.numFrames,
                steps: settings.steps, guidanceScale: settings.guidanceScale,
                guidanceScale2: settings.secondGuidanceScale,
                guidanceInterval: [settings.guidanceStart, settings.guidanceEnd],
                flowShift: settings.scheduler.flowShift,
                scheduler: settings.scheduler.kind.rawValue,
                sigmaSpacing: settings.scheduler.spacing.rawValue, seed: settings.seed,
                rng: "torch-cpu", precision: settings.precision.rawValue, threads: settings.threads),
            attention: RunRecord.Attention(
                method: method, contexts: attention, headDim: model.config.headDim,
                predictedStateBytes: estimate.methodBytes, instructionSet: instructionSet),
            output: output, timing: timing, latentsSha256: latents.withBytes { Digest.sha256($0) },
            resumedSteps: resumed?.completed, warnings: notices)
    }
}

/// Decodes latents into an output, frame by frame.
///
/// - Parameter checkpoint: what a stopped run can go on from.
/// - Throws: `PipelineError.cancelled` when `stop` was raised; what was written so far is gone then.
func decode(
    _ latents: Tensor, with decoder: any VideoDecoder, to output: VideoOutput, frameCount: Int,
    checkpoint: String? = nil, _ stop: StopFlag, _ onEvent: (RenderEvent) throws -> Void
) throws {
    try decoder.decode(latents) { frames in
        try stop.throwIfStopping(checkpoint: checkpoint)
        try output.append(frames)
        try onEvent(.frames(output.written, of: frameCount))
    }
    try output.finish()
}
