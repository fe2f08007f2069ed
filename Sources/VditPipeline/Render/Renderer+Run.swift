import Glibc
import VditAttention
import VditFiles
import VditMedia
import VditModels
import VditTensor

extension Renderer {
    /// Loads the model, samples, decodes and writes.
    ///
    /// - Parameters:
    ///   - shared: weights to use and to leave loaded where memory allows it; nil loads them for this run alone.
    ///   - stop: polled before every layer and at every decoded frame. A step that will end within the time the flag
    ///     leaves it is finished.
    ///   - onEvent: called on the calling thread.
    /// - Returns: what is also written to `OUT.json`.
    /// - Throws: `PipelineError.cancelled` after saving a checkpoint when `stop` was raised; otherwise an
    ///   error that conforms to `Failure`. Nothing half-written remains under a final name.
    public func run(
        using shared: LoadedModel? = nil, stop: StopFlag = StopFlag(),
        onEvent: (RenderEvent) throws -> Void = { _ in }
    ) throws -> RunRecord {
        let lock = try job.destination.isStream ? nil : OutputLock(job.destination.path)
        defer { withExtendedLifetime(lock) {} }
        for notice in notices { try onEvent(.notice(notice)) }
        try onEvent(.begun(estimate))
        if setsCheckpointAside, let state = job.destination.statePath { try Checkpoint.setAside(state) }
        var timing = resumed?.timing ?? RunRecord.Timing()
        let start = ContinuousClock.now
        let loaded = try shared ?? LoadedModel(model, plan)
        let keepsAll = shared != nil && estimate.residentBytes <= memoryLimit.bytes
        loaded.keepsAllTransformers = keepsAll
        if !keepsAll { loaded.dropDecoder() }
        let (sampled, attention, caches) = try denoise(loaded, stop, &timing, start, onEvent)
        let latents = plan.model.video(in: sampled, numFrames: settings.numFrames)
        if !keepsAll { loaded.dropTransformers() }
        let decodeConditions = plan.decodeConditions(startWasGiven: inputs.noise != nil)
        if let path = job.keptLatents {
            try LatentsFile.write(
                latents,
                metadata: fileMetadata.merging(["fps": "\(settings.frameRate)", "model": model.decoderPath]) { $1 }
                    .merging(decodeConditions?.metadata ?? [:]) { $1 },
                to: path, existing: job.saveLatents == nil ? .replace : outputs.existingLatents)
            try onEvent(.latents(path))
        }

        let decoding = ContinuousClock.now
        try onEvent(.loading("vae"))
        let decoder = try loaded.decoder()
        let output = try VideoOutput(
            outputs.destination, width: settings.width, height: settings.height,
            frameCount: settings.numFrames, frameRate: settings.frameRate, metadata: fileMetadata,
            pool: loaded.compute.pool)
        try decode(
            latents, decodeConditions, with: decoder, to: output, frameCount: settings.numFrames,
            checkpoint: job.destination.statePath, stop, onEvent)
        timing.encode = output.seconds
        timing.decode = decoding.secondsUntilNow - output.waited

        var record = self.record(
            output: try output.record(of: settings.frameRate), attention: attention, caches: caches, timing: timing,
            latents: latents, instructionSet: loaded.compute.instructionSet)
        record.identity = identity
        if job.detail == .summary { record.attention?.perLayer = nil }
        record.job = job.fingerprint
        if job.destination.record == .write {
            try record.write(to: job.destination.recordPath, existing: outputs.existingRecord)
        }
        let needless = [job.saveLatents == nil ? job.keptLatents : nil, job.destination.statePath]
        for path in needless.compactMap({ $0 }) { unlink(path) }
        try onEvent(.finished(record))
        return record
    }

    private func denoise(
        _ loaded: LoadedModel, _ stop: StopFlag, _ timing: inout RunRecord.Timing,
        _ start: ContinuousClock.Instant, _ onEvent: (RenderEvent) throws -> Void
    ) throws -> (Tensor, [AttentionContext], [CacheContext]) {
        let contexts = try plan.attentionContexts()
        let caches = try plan.cacheContexts(loaded.compute.pool)
        let steps = plan.steps.count
        if let resumed, resumed.completed == steps {
            try resumed.restore(contexts)
            try resumed.restore(caches)
            try onEvent(.resumed(step: resumed.completed, steps: steps))
            return (resumed.latents, contexts, caches)
        }
        var generation = try plan.generation(
            loaded, inputs, contexts, caches: caches, nonFinite: job.nonFinite, onLoad: { try onEvent(.loading($0)) })
        let previewDecoder = job.preview == nil ? nil : try loaded.decoder()
        if let resumed {
            try generation.restore(resumed)
            try onEvent(.resumed(step: resumed.completed, steps: steps))
        }
        let trajectory = try job.saveTrajectory.map {
            // A step that was written and then lost with its process is computed again.
            try TrajectoryWriter(
                directory: $0, content: job.trajectoryContent,
                existing: resumed == nil ? job.destination.existing : .replace)
        }
        if resumed == nil { try trajectory?.write(noise: generation.latents) }
        _ = try load(&generation, onEvent)
        timing.load += start.secondsUntilNow
        try onEvent(.loaded(seconds: start.secondsUntilNow))

        try withoutActuallyEscaping(onEvent) { onEvent in
            let keeper = StateKeeper(job, completed: generation.completed, savesEveryStep: plan.isFewStep, onEvent)
            try sample(&generation, trajectory, previewDecoder, keeper, stop, &timing, onEvent)
        }
        return (generation.latents, contexts, caches)
    }

    /// Loads the transformer of the next step if it is another one.
    ///
    /// - Returns: the seconds it took; nil where nothing was to be loaded.
    private func load(_ generation: inout Generation, _ onEvent: (RenderEvent) throws -> Void) throws -> Double? {
        guard let part = generation.partToLoad else { return nil }
        let start = ContinuousClock.now
        try onEvent(.loading(plan.model.transformers[plan.parts[part].transformer].component))
        try generation.load()
        return start.secondsUntilNow
    }

    private func sample(
        _ generation: inout Generation, _ trajectory: TrajectoryWriter?,
        _ previewDecoder: (any VideoDecoder)?, _ keeper: StateKeeper, _ stop: StopFlag,
        _ timing: inout RunRecord.Timing, _ onEvent: @escaping (RenderEvent) throws -> Void
    ) throws {
        let steps = generation.steps.count
        let sampling = ContinuousClock.now
        var before = timing.denoise
        while !stop.isStopping, !generation.isFinished {
            do {
                if let seconds = try load(&generation, onEvent) {
                    timing.load += seconds
                    before -= seconds
                    try onEvent(.loaded(seconds: seconds))
                }
            } catch {
                // What was computed with the transformer before is worth keeping.
                try keeper.save(generation.checkpoint(identity: identity, timing: timing))
                throw error
            }
            let started = ContinuousClock.now
            let done = generation.completed
            let watch = StepWatch(stop, expected: timing.perStep.suffix(3).max())
            let state = generation.checkpoint(identity: identity, timing: timing)
            let result: StepResult
            let layers = plan.estimate.callsPerStep[done] * plan.model.transformer.layers
            var begun = 0
            do {
                result = try generation.advance {
                    try onEvent(.layer(begun, of: layers, step: done + 1, steps: steps))
                    begun += 1
                    switch watch.poll() {
                    case .none: break
                    case .finishing(let seconds):
                        // First what there is: whoever asked may not wait.
                        try keeper.save(state)
                        try onEvent(.finishing(step: done + 1, of: steps, seconds: seconds))
                    case .givingUp(let seconds):
                        try onEvent(.givingUp(step: done + 1, of: steps, seconds: seconds))
                        throw PipelineError.cancelled(step: done, steps: steps, checkpoint: nil)
                    }
                }
            } catch PipelineError.cancelled {
                break
            }
            timing.perStep.append(started.secondsUntilNow)
            timing.denoise = before + sampling.secondsUntilNow
            try onEvent(.step(done + 1, of: steps, seconds: started.secondsUntilNow))
            try trajectory?.write(result)
            if let preview = job.preview, let previewDecoder, (done + 1) % preview.every == 0 {
                if try writePreview(result.estimate, previewDecoder, preview.path, stop) {
                    try onEvent(.preview(preview.path))
                }
            }
            // The last step is always saved, so that a run stopped while decoding can go on there.
            if keeper.isDue(done + 1) || generation.isFinished || stop.takeCheckpointRequest() {
                timing.denoise = before + sampling.secondsUntilNow
                try keeper.save(generation.checkpoint(identity: identity, timing: timing))
            }
        }
        timing.denoise = before + sampling.secondsUntilNow
        if stop.isStopping {
            try keeper.save(generation.checkpoint(identity: identity, timing: timing))
            let done = generation.completed
            throw PipelineError.cancelled(step: done, steps: steps, checkpoint: done > 0 ? keeper.path : nil)
        }
    }

    /// The middle frame of the video that an estimate decodes to, from its first frame on: a decoder remembers what was
    /// before, and a latent frame by itself has other colours.
    ///
    /// - Returns: false where the job was asked to stop meanwhile.
    private func writePreview(
        _ estimate: Tensor, _ decoder: any VideoDecoder, _ path: String, _ stop: StopFlag
    ) throws -> Bool {
        struct Enough: Error {}
        let conditions = plan.decodeConditions(startWasGiven: inputs.noise != nil)
        var before = settings.numFrames / 2
        do {
            let video = plan.model.video(in: estimate, numFrames: settings.numFrames)
            try decoder.decode(video, conditions ?? DecodeConditions()) { frames in
                if stop.isStopping { throw Enough() }
                if before < frames.count {
                    let picture = try VideoFrame(rounding: frames[before])
                    try PNG.write(picture.pixels, to: path, existing: .replace)
                    throw Enough()
                }
                before -= frames.count
            }
        } catch is Enough {}
        return !stop.isStopping
    }
}

/// Saves a run's state beside its output, where that is a file.
private final class StateKeeper {
    let path: String?
    private let every: Int?
    private let checkpointSeconds: Double
    private let onEvent: (RenderEvent) throws -> Void
    private var savedStep: Int
    private var lastSaved = ContinuousClock.now
    /// What saving took the last time: some methods keep gigabytes.
    private var lastCost = 0.0

    /// - Parameters:
    ///   - completed: steps whose state is on disk, or that took none.
    ///   - savesEveryStep: unless the job says when.
    init(
        _ job: RenderJob, completed: Int, savesEveryStep: Bool, _ onEvent: @escaping (RenderEvent) throws -> Void
    ) {
        every = job.checkpointEverySteps ?? (savesEveryStep ? 1 : nil)
        path = job.destination.statePath
        checkpointSeconds = job.checkpointEverySeconds
        savedStep = completed
        self.onEvent = onEvent
    }

    /// Whether it is time to save the state after `step`: unless a number of steps was asked for, so seldom that it takes
    /// a twentieth of the time at most.
    func isDue(_ step: Int) -> Bool {
        every.map { step - savedStep >= $0 } ?? (lastSaved.secondsUntilNow >= max(checkpointSeconds, 19 * lastCost))
    }

    /// Saves a state unless it is on disk already.
    func save(_ state: Checkpoint) throws {
        guard let path, state.completed != savedStep else { return }
        let start = ContinuousClock.now
        try state.write(to: path)
        savedStep = state.completed
        (lastSaved, lastCost) = (.now, start.secondsUntilNow)
        try onEvent(.checkpoint(path))
    }
}

/// Decodes latents into an output, frame by frame.
///
/// - Parameters:
///   - conditions: where the decoder takes part in the sampling.
///   - checkpoint: what a stopped run can go on from.
/// - Throws: `PipelineError.cancelled` when `stop` was raised; what was written so far is gone then.
func decode(
    _ latents: Tensor, _ conditions: DecodeConditions?, with decoder: any VideoDecoder, to output: VideoOutput, frameCount: Int,
    checkpoint: String? = nil, _ stop: StopFlag, _ onEvent: (RenderEvent) throws -> Void
) throws {
    try decoder.decode(latents, conditions ?? DecodeConditions()) { frames in
        try stop.throwIfStopping(checkpoint: checkpoint)
        try output.append(frames)
        try onEvent(.frames(output.written, of: frameCount))
    }
    try output.finish()
}
