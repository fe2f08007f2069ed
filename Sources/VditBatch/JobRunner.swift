import Foundation
import VditFiles
import VditMedia
import VditPipeline
import VditTensor

/// Does the work of one job.
public protocol JobRunner: AnyObject {
    /// - Returns: what the job is remembered by.
    /// - Throws: `PipelineError.cancelled` when `stop` was raised, with the state saved; else why it failed.
    func run(
        _ job: PlannedJob, stop: StopFlag, onEvent: (RenderEvent) throws -> Void
    ) throws -> JobMetrics
}

/// Renders and compares; keeps the model from one job to the next that uses it.
public final class LocalRunner: JobRunner {
    private var opened: (reference: ModelReference, model: ModelDirectory)?
    private var loaded: LoadedModel?

    private let book: PromptBook

    /// - Parameters:
    ///   - model: one that is open already.
    ///   - book: the jobs' prompts in words.
    public init(_ model: ModelDirectory? = nil, _ book: PromptBook = PromptBook()) {
        opened = model.map { ($0.reference, $0) }
        self.book = book
    }

    public func run(
        _ job: PlannedJob, stop: StopFlag, onEvent: (RenderEvent) throws -> Void
    ) throws -> JobMetrics {
        let started = ContinuousClock.now
        var metrics = switch job.work {
        case .render(let render, let plan): try self.render(job, render, plan, stop, onEvent)
        case .comparison(let planned): try compare(job, planned, stop, onEvent)
        }
        metrics.seconds = started.secondsUntilNow
        return metrics
    }

    private func compare(
        _ job: PlannedJob, _ planned: PlannedComparison, _ stop: StopFlag, _ onEvent: (RenderEvent) throws -> Void
    ) throws -> JobMetrics {
        let digests = try planned.clips.map { try clipDigest($0.path) }
        var last = ContinuousClock.now
        var found = try FileComparison(
            reference: planned.reference.path, candidates: planned.candidates.map(\.path), length: planned.length,
            threads: planned.threads, stop: stop
        ) { count in
            if planned.candidates.count > 1 {
                try onEvent(.step(count, of: planned.candidates.count, seconds: last.secondsUntilNow))
            }
            last = .now
        }
        if let reference = planned.trajectories.first {
            for (index, own) in planned.trajectories.dropFirst().enumerated() {
                found.candidates[index].latents = try own.distances(to: reference)
            }
        }
        found.job = FileComparison.Job(name: job.id, fingerprint: job.fingerprint, sha256: digests)
        for warning in Set(found.candidates.flatMap(\.warnings)).sorted() { try onEvent(.notice(warning)) }
        if let csv = planned.csv {
            try AtomicFile.write(Array(found.frameTable.csv.utf8), to: csv, existing: .replace)
        }
        try AtomicFile.write(encodedJSON(found), to: planned.output, existing: .replace)
        job.files.removeIntermediate()
        return JobMetrics(found, of: planned)
    }

    private func render(
        _ job: PlannedJob, _ render: RenderJob, _ plan: RenderPlan, _ stop: StopFlag,
        _ onEvent: (RenderEvent) throws -> Void
    ) throws -> JobMetrics {
        let model = try open(render.model, render.adapters)
        var render = render
        let machine = MemoryLimit.current().bytes
        let (available, overflow) = machine.addingReportingOverflow(loaded?.heldBytes ?? 0)
        render.memoryLimit = [render.memoryLimit, Surroundings.memory(), overflow ? machine : available]
            .compactMap { $0 }.min()
        let record: RunRecord
        do {
            record = try run(render, model, stop, onEvent)
        } catch let error as PipelineError where error.isAboutCheckpoint {
            try onEvent(.notice("begins anew: \(error)"))
            render.resume = .fresh
            record = try run(render, model, stop, onEvent)
        }
        var metrics = JobMetrics(record)
        metrics.flops = plan.estimate.totalFLOPs(
            attentionWork: record.attention?.work ?? plan.estimate.attention.share,
            otherWork: record.caching?.work ?? 1)
        return metrics
    }

    /// The model with its adapters, opened again when its files are not those that were opened.
    private func open(_ reference: ModelReference, _ adapters: [AdapterChoice]) throws -> ModelDirectory {
        if let opened, opened.reference == reference, opened.model.adapters.choices == adapters,
            Self.isUnchanged(opened.model)
        {
            return opened.model
        }
        (opened, loaded) = (nil, nil)
        let model = try ModelDirectory(reference).adapted(by: adapters)
        opened = (reference, model)
        return model
    }

    private static func isUnchanged(_ model: ModelDirectory) -> Bool { (try? model.verifyUnchanged()) != nil }

    private func run(
        _ job: RenderJob, _ model: ModelDirectory, _ stop: StopFlag, _ onEvent: (RenderEvent) throws -> Void
    ) throws -> RunRecord {
        let renderer = try Renderer(job, model: model, book)
        return try renderer.run(using: reuse(model, renderer.plan), stop: stop, onEvent: onEvent)
    }

    private func reuse(_ model: ModelDirectory, _ plan: RenderPlan) throws -> LoadedModel {
        if let loaded, loaded.serves(plan) { return loaded }
        loaded = nil
        let fresh = try LoadedModel(model, plan)
        loaded = fresh
        return fresh
    }
}

extension JobMetrics {
    /// What a record tells of the job that made it.
    init(_ record: RunRecord) {
        loadSeconds = record.timingS.load
        denoiseSeconds = record.timingS.denoise
        decodeSeconds = record.timingS.decode
        encodeSeconds = record.timingS.encode
        seconds = loadSeconds + denoiseSeconds + decodeSeconds + encodeSeconds
        resumedSteps = record.resumedSteps ?? 0
        peakRssBytes = record.peakRssBytes
        density = record.attention?.densityMean
        sparseCalls = record.attention?.sparseCalls ?? 0
        work = record.attention?.work
        stepSeconds = record.timingS.perStep.mean
        latentsSha256 = record.latentsSha256
        outputSha256 = record.output.sha256
    }
}

extension JobMetrics {
    /// What a comparison found.
    init(_ found: FileComparison, of planned: PlannedComparison) {
        comparison = MeasuredClips(
            name: planned.name, reference: planned.reference,
            candidates: zip(planned.candidates, found.candidates).map { clip, measured in
                MeasuredClips.Candidate(
                    clip: clip, psnr: measured.quality.psnr, psnrLowest: measured.quality.psnrLowest,
                    ssim: measured.quality.ssim)
            })
    }
}
