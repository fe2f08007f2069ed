import Foundation
import TestSupport
import Testing
import VDiT

/// Loops whose sizes change: the step between two sizes against its statement, states, plans and refusals.
struct SizeScheduleTests {
    private static let sizes = SizeSchedule(written: "0.5:0.5")

    private func job(_ folder: TemporaryDirectory, _ name: String = "a.y4m") throws -> RenderJob {
        try TinyModel.write(to: folder)
        var job = RenderJob(
            model: folder.path("model"), promptEmbedding: folder.path("a.safetensors"),
            destination: VideoDestination(path: folder.path(name)))
        (job.request.width, job.request.height, job.request.numFrames) = (96, 64, 5)
        (job.request.steps, job.request.seed, job.request.threads) = (8, 3, 2)
        (job.request.precision, job.request.sizes) = (.fp32, Self.sizes)
        return job
    }

    // MARK: The step between two sizes

    /// Linear interpolation as a sum over all pixels: a tent over each, half-pixel centres, places within the picture.
    private func resized(
        _ frame: [Float], _ from: (rows: Int, columns: Int), _ to: (rows: Int, columns: Int)
    ) -> [Double] {
        func weight(_ pixel: Int, _ index: Int, _ from: Int, _ to: Int) -> Double {
            let place = (Double(index) + 0.5) * Double(from) / Double(to) - 0.5
            return max(0, 1 - abs(min(max(place, 0), Double(from - 1)) - Double(pixel)))
        }
        return (0..<to.rows * to.columns).map { index in
            (0..<frame.count).reduce(0) { sum, pixel in
                sum + Double(frame[pixel])
                    * weight(pixel / from.columns, index / to.columns, from.rows, to.rows)
                    * weight(pixel % from.columns, index % to.columns, from.columns, to.columns)
            }
        }
    }

    /// `(1 − s')·resized(x − s·u) + s'·n`, in float64, with the seed's numbers behind those of the start.
    @Test(arguments: ["0.5:0.5", "1:0.25,0.6:0.5"])
    func betweenTwoSizesTheCleanVideoIsResizedAndNoiseOfTheNextLevelAdded(_ sizes: String) throws {
        let folder = try TemporaryDirectory()
        var job = try job(folder)
        job.request.sizes = SizeSchedule(written: sizes)
        job.request.guidanceScale = 1
        job.saveTrajectory = folder.path("steps")
        let renderer = try Renderer(job)
        _ = try renderer.run()
        func tensor(_ step: Int, _ name: String) throws -> Tensor {
            let file = step < 0 ? "initial_noise" : "step_00\(step)"
            return try SafetensorsReader(folder.path("steps/\(file).safetensors")).tensor(name)[0]
        }
        var random = TorchRandom(seed: 3)
        var drawn = random.normal([1] + (try tensor(-1, "latents")).shape)
        #expect(drawn.floats() == (try tensor(-1, "latents")).floats())
        var switches = 0
        for step in renderer.plan.steps {
            let (before, after) = (try tensor(step.index - 1, "latents"), try tensor(step.index, "latents"))
            if before.shape == after.shape { continue }
            switches += 1
            drawn = random.normal([1] + after.shape)
            let (clean, noise) = (try tensor(step.index, "noise_pred_cond"), drawn.floats())
            let (from, to) = (
                (before.shape[2], before.shape[3]), (after.shape[2], after.shape[3])
            )
            let pixels = to.0 * to.1
            for channel in 0..<before.shape[0] {
                for frame in 0..<before.shape[1] {
                    let x0 = zip(before[channel][frame].floats(), clean[channel][frame].floats())
                        .map { Float(Double($0) - step.sigma * Double($1)) }
                    let start = (channel * before.shape[1] + frame) * pixels
                    for (index, value) in resized(x0, from, to).enumerated() {
                        let expected = (1 - step.nextSigma) * value + step.nextSigma * Double(noise[start + index])
                        #expect(abs(Double(after[channel][frame].floats()[index]) - expected) < 2e-6)
                    }
                }
            }
        }
        #expect(switches == sizes.split(separator: ",").count)
        // The level after a change is the next size's own, above the one its own schedule would have led to.
        job.request.sizes = nil
        (job.saveTrajectory, job.destination.path) = (nil, folder.path("b.y4m"))
        let plain = try Renderer(job).plan.steps
        #expect(renderer.plan.steps[1].sigma == plain[1].sigma && renderer.plan.steps[4].sigma > plain[4].sigma)
        let steps = renderer.plan.steps
        #expect(steps.map(\.index) == Array(0..<8) && steps[3].nextSigma == steps[4].sigma)
    }

    // MARK: Plan and record

    /// What is planned of a run with sizes, a sparse method and a step cache is what it records.
    @Test func thePlanCountsEverySizesWork() throws {
        let folder = try TemporaryDirectory()
        var job = RenderJob.sample(
            in: folder, width: 160, height: 96, "radial",
            ["dense-steps": "2", "dense-layers": "1", "block": "16", "decay": "0.2"])
        (job.request.numFrames, job.request.steps, job.request.sizes) = (9, 12, Self.sizes)
        (job.request.cache, job.request.cacheOptions) = ("pab", ["first-steps": "2", "cross-interval": "3"])
        let renderer = try Renderer(job)
        let record = try renderer.run()
        let (attention, caching) = (try #require(record.attention), try #require(record.caching))
        #expect(abs(renderer.estimate.attention.share - (attention.work ?? 0)) < 1e-9)
        #expect(abs(renderer.estimate.computedCalls / 24 - (caching.work ?? 0)) < 1e-9)
        #expect((caching.work ?? 1) < 1 && (attention.work ?? 1) < 0.8)
        // Each size begins anew, with the first two steps computed.
        let forced = caching.calls.filter { $0.branch == .conditional && $0.estimate == nil }.map(\.step)
        #expect(forced.prefix(2) == [0, 1] && forced.contains(6) && forced.contains(7))
        #expect(record.sampling?.sizes == Self.sizes && record.sampling?.sizeShifts == NumberList([3, 5]))
        var whole = job
        whole.request.sizes = nil
        whole.destination.path = folder.path("whole.y4m")
        let full = try Renderer(whole)
        // Half of the steps have a quarter of the tokens.
        #expect(abs(renderer.estimate.otherFLOPs / full.estimate.otherFLOPs - 0.625) < 1e-9)
        #expect(renderer.identity != full.identity && renderer.estimate.tokens == full.estimate.tokens)
    }

    // MARK: States

    /// Killed within the first size and right behind the change, it goes on to the same bytes.
    @Test(arguments: [3, 4])
    func killedAtEitherSizeItGoesOnToTheSameBytes(_ every: Int) throws {
        let folder = try TemporaryDirectory()
        func render(_ name: String) -> [String] {
            smallRender(
                folder.path(name), steps: 8, "--seed", "5", "-q", "--checkpoint-every", "\(every)",
                "--sizes", "0.5:0.5", "--cache", "taylorseer", "--cache-option", "first-steps=2")
        }
        #expect(try CommandRun.run(render("whole.y4m")).status == 0)
        let state = try stateOfKilled(render("a.y4m"), folder.path("a.y4m"))
        let resumed = try CommandRun.run(render("a.y4m") + ["--resume"])
        #expect(resumed.status == 0, "\(resumed.errors)")
        #expect(try bytes(folder.path("a.y4m")) == bytes(folder.path("whole.y4m")))
        #expect(state.completed % every == 0)
        #expect(state.latents.shape == [16, 2] + (state.completed < 4 ? [4, 6] : [8, 12]))
    }

    // MARK: Refusals

    @Test(arguments: [
        ("x", nil), ("1:0.5", nil), ("0.5:0.5,0.5:0.7", nil), ("0.5:0.6,0.7:0.4", nil), ("0.05:0.5", nil),
        ("0.5:1", nil), ("0.5", nil), ("0.5:0.5,", nil), ("0.5:0.01", "at least one of the 8 steps"), ("0.1:0.5", "are too few"),
    ] as [(String, String?)])
    func sizesThatAreNoneAreRefused(_ text: String, _ reason: String?) throws {
        guard let reason else { return #expect(SizeSchedule(written: text) == nil) }
        let folder = try TemporaryDirectory()
        var job = try job(folder)
        job.request.sizes = SizeSchedule(written: text)
        let error = try #require(throws: PipelineError.self) { try Renderer(job) }
        #expect(error.setting == "sizes" && error.description.contains(reason))
    }

    @Test func whatHasOneSizeOrLevelsOfItsOwnRefusesThem() throws {
        let folder = try TemporaryDirectory()
        func reason(_ change: (inout RenderJob) -> Void) throws -> String {
            var job = try job(folder)
            change(&job)
            let error = try #require(throws: PipelineError.self) { try Renderer(job) }
            #expect(error.setting == "sizes" || error.setting == "size_shifts")
            try FileManager.default.removeItem(atPath: folder.path("model"))
            return error.description
        }
        #expect(try reason { $0.latents = folder.path("a.safetensors") }.contains("none with latents"))
        #expect(try reason { $0.image = folder.path("a.png") }.contains("none with image"))
        #expect(try reason { $0.request.video = folder.path("a.y4m") }.contains("none with a video"))
        #expect(try reason { $0.request.sigmas = NumberList([1, 0.5]) }.contains("list of steps"))
        #expect(try reason { $0.request.scheduler = .renoise }.contains("adds noise"))
        #expect(try reason { $0.request.sizeShifts = NumberList([3]) }.contains("2 numbers"))
        #expect(try reason { $0.request.sizeShifts = NumberList([3, 0]) }.contains("0.001 to 1000"))
        #expect(
            try reason { ($0.request.sizes, $0.request.sizeShifts) = (nil, NumberList([3, 5])) }
                .contains("without sizes"))
        let calibration = CalibrationJob(try job(folder))
        let error = try #require(throws: PipelineError.self) { try calibration.run() }
        #expect(error.setting == "sizes" && error.description.contains("one size"))
    }
}
