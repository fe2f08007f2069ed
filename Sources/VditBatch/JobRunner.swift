import Foundation
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

/// Renders; keeps the model from one job to the next that uses it.
public final class RenderRunner: JobRunner {
    private var opened: (path: String, model: ModelDirectory)?
    private var loaded: LoadedModel?

    public init() {}

    public func run(
        _ job: PlannedJob, stop: StopFlag, onEvent: (RenderEvent) throws -> Void
    ) throws -> JobMetrics {
        let started = ContinuousClock.now
        let model = try open(job.model)
        var render = job.render
        let machine = MemoryLimit.current().bytes
        let (available, overflow) = machine.addingReportingOverflow(loaded?.heldBytes ?? 0)
        render.memoryLimit = [render.memoryLimit, Surroundings.memory(), overflow ? machine : available]
            .compactMap { $0 }.min()
        let loaded = try reuse(model, job.settings)
        let record: RunRecord
        do {
            render.resume = .ifPossible
            record = try Renderer(render, model: model).run(using: loaded, stop: stop, onEvent: onEvent)
        } catch let error as any Failure where job.isAboutCheckpoint(error) {
            try onEvent(.notice("begins anew: \(error)"))
            render.resume = .fresh
            record = try Renderer(render, model: model).run(using: loaded, stop: stop, onEvent: onEvent)
        }
        var metrics = JobMetrics(record)
        metrics.seconds = (ContinuousClock.now - started).inSeconds
        metrics.flops = job.estimate.totalFLOPs
        return metrics
    }

    /// The model, opened again when its files are not those that were opened.
    private func open(_ path: String) throws -> ModelDirectory {
        if let opened, opened.path == path, Self.isUnchanged(opened.model) { return opened.model }
        (opened, loaded) = (nil, nil)
        let model = try ModelDirectory(path: path)
        opened = (path, model)
        return model
    }

    private static func isUnchanged(_ model: ModelDirectory) -> Bool {
        do throws(TensorError) {
            for transformer in model.transformers { try transformer.weights.verifyUnchanged() }
            try model.vaeWeights.verifyUnchanged()
            return true
        } catch {
            return false
        }
    }

    private func reuse(_ model: ModelDirectory, _ settings: RenderSettings) throws -> LoadedModel {
        if let loaded, loaded.serves(threads: settings.threads, precision: settings.precision) { return loaded }
        loaded = nil
        let fresh = try LoadedModel(model, threads: settings.threads, precision: settings.precision)
        loaded = fresh
        return fresh
    }
}

extension PlannedJob {
    /// A checkpoint of other settings, another version or another machine, or a damaged one; not a full disk.
    fileprivate func isAboutCheckpoint(_ error: any Failure) -> Bool {
        [.badData, .configuration].contains(error.kind)
            && (error.description.contains(Checkpoint.path(forOutput: output))
                || error.description.hasPrefix("checkpoint"))
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
        latentsSha256 = record.latentsSha256
        outputSha256 = record.output.sha256
    }
}

extension PlannedJob {
    /// The record of this very job, if its output is complete; whoever rendered it.
    func finishedRecord() -> RunRecord? {
        guard PathName.exists(RunRecord.path(forOutput: output)),
            let record = try? RunRecord(path: RunRecord.path(forOutput: output)),
            record.job == fingerprint
        else { return nil }
        guard JobFiles(render).results.dropFirst(2).allSatisfy(PathName.exists) else { return nil }
        if output.contains("%") { return record }
        guard let digest = record.output.sha256, let found = try? Digest.sha256(file: output) else { return nil }
        return digest == found ? record : nil
    }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
