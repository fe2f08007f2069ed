import Testing
import TestSupport
import VDiT

@Suite struct AttentionRecordTests {
    let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func job(_ method: String, _ options: [String: String] = [:]) -> RenderJob {
        var job = RenderJob.sample(in: folder, width: 96, height: 64, method, options)
        job.detail = .everyLayer
        return job
    }

    @Test func everyStepAndLayerIsInTheRecordAndAddsUp() throws {
        let renderer = try Renderer(
            job("rettention", ["dense-steps": "1", "refresh-every": "100", "positions-per-block": "4"]))
        let record = try renderer.run()
        let attention = try #require(record.attention)
        let rows = try #require(attention.perLayer)
        let layers = renderer.plan.model.transformer.layers
        #expect(rows.count == 4 * layers)
        #expect(rows.map(\.step) == (0..<4).flatMap { step in (0..<layers).map { _ in step } })
        // One dense step, one that refreshes, two sparse ones.
        #expect(rows[..<layers].allSatisfy { $0.work == 1 && $0.density == nil })
        let density = try #require(attention.densityMean)
        #expect(rows[layers..<2 * layers].allSatisfy { abs($0.work - 1 - density) < 1e-9 })
        #expect(rows[(2 * layers)...].allSatisfy { abs($0.work - density) < 1e-9 && $0.density == $0.work })
        #expect(abs((attention.work ?? 0) - (2 + 3 * density) / 4) < 1e-9)
        #expect(abs((attention.workDense ?? 0) - 0.25) < 1e-9)
        #expect(abs((attention.workRefresh ?? 0) - (1 + density) / 4) < 1e-9)
        let saved = renderer.estimate.selfAttentionFLOPs * Double(renderer.estimate.calls) * (1 - (2 + 3 * density) / 4)
        #expect(abs((attention.flopsSaved ?? 0) / saved - 1) < 1e-9)
        #expect(attention.stateBytes == attention.predictedStateBytes)
    }

    /// A record without what no two runs have in common.
    private func timeless(_ record: RunRecord) -> RunRecord {
        var record = record
        record.created = ""
        record.timingS = RunRecord.Timing()
        record.peakRssBytes = 0
        record.resumedSteps = nil
        record.attention?.planningSeconds = nil
        record.attention?.attentionSeconds = nil
        let rows = record.attention?.perLayer
        record.attention?.perLayer = rows?.map { row in
            var row = row
            (row.planningSeconds, row.attentionSeconds) = (0, 0)
            return row
        }
        return record
    }

    @Test(arguments: ["dense", "rettention", "svg2"])
    func theRecordOfAResumedRunIsThatOfAnUndisturbedOneInAllButTimes(_ method: String) throws {
        var job = job(method, method == "dense" ? [:] : ["dense-steps": "1"])
        job.destination.options.existing = .replace
        let whole = try Renderer(job).run()
        #expect(whole.resumedSteps == nil)
        for stopAfter in [1, 3, 4] {
            job.resume = .fresh
            let stop = StopFlag()
            #expect(throws: PipelineError.self) {
                try Renderer(job).run(stop: stop) { event in
                    if case .step(stopAfter, _, _) = event { stop.requestStop() }
                }
            }
            let saved = try Checkpoint(path: Checkpoint.path(forOutput: job.destination.path)).timing
            #expect(saved.perStep.count == stopAfter && saved.denoise >= saved.perStep.reduce(0, +))
            job.resume = .required
            let resumed = try Renderer(job).run()
            #expect(resumed.resumedSteps == stopAfter)
            #expect(timeless(resumed) == timeless(whole))
            let timing = resumed.timingS
            #expect(timing.perStep.count == 4 && Array(timing.perStep.prefix(stopAfter)) == saved.perStep)
            #expect(timing.denoise >= saved.denoise && timing.load >= saved.load)
            let rows = try #require(resumed.attention?.perLayer)
            let seconds = rows.reduce(0) { $0 + $1.attentionSeconds }
            #expect(abs((resumed.attention?.attentionSeconds ?? 0) - seconds) < 1e-9)
        }
    }

    @Test func whatAMethodLearnsCountsAgainstTheLimit() throws {
        let dense = try Renderer(job("dense")).estimate.peakBytes
        var job = job("rettention")
        job.request.weights = .packed
        job.memoryLimit = dense + 1024
        let failure = #expect(throws: PipelineError.self) { _ = try Renderer(job) }
        #expect(failure?.kind == .osError)
        #expect(failure?.description.contains("rettention learns") == true)
    }

    @Test func aRunWhoseEveryCallIsDenseSaysSo() throws {
        for options in [["dense-steps": "4"], ["dense-layers": "99"], ["dense-steps": "100%"]] {
            #expect(try Renderer(job("radial", options)).notices.contains { $0.contains("every call of this run is dense") })
        }
        #expect(try Renderer(job("radial")).notices.allSatisfy { !$0.contains("is dense") })
    }
}
