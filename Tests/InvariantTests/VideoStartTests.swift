import Foundation
import TestSupport
import Testing
import VDiT

/// Videos that begin from another video.
struct VideoStartTests {
    private let folder: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
    }

    private func job(_ output: String = "out.y4m", steps: Int = 6) throws -> RenderJob {
        var options = VideoOptions(frameRate: .sixteen)
        options.existing = .replace
        var job = RenderJob(
            model: folder.path("model"), promptEmbedding: folder.path("a.safetensors"),
            destination: VideoDestination(path: folder.path(output), options: options))
        (job.request.width, job.request.height, job.request.numFrames) = (32, 32, 5)
        (job.request.steps, job.request.seed, job.request.threads) = (steps, 3, 2)
        job.request.precision = .fp32
        return job
    }

    /// A clip that moves, of frames wider than the video's.
    private func clip(frames: Int = 5) throws -> String {
        for number in 0..<frames {
            let frame = VideoFrame(height: 40, width: 60)
            for row in 0..<40 {
                for column in 0..<60 {
                    let value = UInt8((row * 5 + column * 3 + number * 20) % 256)
                    frame.pixels[row][column].fill(byte: value)
                }
            }
            let name = "clip/0000\(number + 1).png"
            try FileManager.default.createDirectory(atPath: folder.path("clip"), withIntermediateDirectories: true)
            try PNG.write(frame.pixels, to: folder.path(name), existing: .replace)
        }
        return folder.path("clip")
    }

    @Test func theStrengthIsTheShareOfTheSteps() throws {
        var job = try job(steps: 10)
        let plain = try Renderer(job).plan.steps
        job.request.video = try clip()
        for (strength, count) in [(1, 10), (0.8, 8), (0.39, 3), (0.1, 1)] {
            job.request.strength = strength
            let steps = try Renderer(job).plan.steps
            #expect(steps.map(\.sigma) == plain.suffix(count).map(\.sigma))
            #expect(steps.map(\.timestep) == plain.suffix(count).map(\.timestep))
            #expect(steps.map(\.index) == Array(0..<count) && steps.allSatisfy { $0.count == count })
        }
        var usual = try self.job(steps: 10)
        usual.request.video = job.request.video
        #expect(try Renderer(usual).plan.steps.count == 8)
    }

    /// Little noise and one step leave the video what it was; all of it makes another.
    @Test func littleStrengthGivesTheVideoBack() throws {
        var job = try job(steps: 1000)
        job.request.video = try clip()
        job.saveLatents = folder.path("latents.safetensors")
        func latents(_ strength: Double, steps: Int) throws -> Tensor {
            (job.request.strength, job.request.steps) = (strength, steps)
            _ = try Renderer(job).run()
            return try SafetensorsReader(folder.path("latents.safetensors")).tensor("latents").copy()
        }
        let video = Tensor(.f32, [3, 5, 32, 32])
        for number in 0..<5 {
            let frame = try StillImage(folder.path("clip/0000\(number + 1).png")).frame
                .fitted(width: 32, height: 32, .crop)
            let values = frame.pixels.withBytes { bytes in bytes.map { Float($0) / 127.5 - 1 } }
            video.setFrame(number, channelsLast: Tensor(values, shape: [32, 32, 3]))
        }
        let vae = try WanVAE(
            directory: folder.path("model/vae"), use: .encoding, compute: ComputeContext(threads: 1, precision: .fp32))
        let encoded = try vae.encode(video, noise: nil)
        let shape = encoded.shape
        let little = Golden.difference(try latents(0.001, steps: 1000).reshaped(shape), encoded)
        let much = Golden.difference(try latents(1, steps: 4).reshaped(shape), encoded)
        #expect(little.relative < 0.1 && 10 * little.relative < much.relative, "\(little), \(much)")
    }

    @Test(arguments: SchedulerConfiguration.Kind.allCases.filter { $0.prediction == .flow })
    func stopsAndGoesOn(_ kind: SchedulerConfiguration.Kind) throws {
        var job = try job()
        job.request.scheduler = kind
        job.request.video = try clip()
        let whole = try Renderer(job).run()
        #expect(whole.timingS.perStep.count == 4 && whole.inputs.video == folder.path("clip"))
        #expect(whole.sampling?.strength == 0.8)
        let resumed = try job.stoppedAndGoneOn()
        #expect(resumed.resumedSteps == 2 && resumed.output.sha256 == whole.output.sha256)
    }

    @Test func strengthMeansNothingWithoutAVideo() throws {
        var job = try job()
        job.request.strength = 0.5
        let error = try #require(throws: (any Error).self) { try Renderer(job) }
        #expect("\(error)" == "strength: found a value, expected none without a video to begin from")
    }

    @Test func whatCannotBeIsNamed() throws {
        let video = try clip(frames: 3)
        let faults: [(String, String, (inout RenderJob) throws -> Void)] = [
            ("strength", "above 0, at most 1", { $0.request.strength = 1.5 }),
            ("strength", "none of 6 steps, expected at least 0.16", { $0.request.strength = 0.1 }),
            ("video", "3 frames, expected at least the video's 5", { _ in }),
            ("video", "none.mp4", { $0.request.video = folder.path("none.mp4") }),
            ("image", "text alone", { $0.image = video }),
        ]
        for (setting, words, change) in faults {
            var job = try job()
            job.request.video = video
            try change(&job)
            let error = try #require(throws: (any Error).self, "\(setting) \(words)") { try Renderer(job) }
            let failure = try #require(error as? any Failure)
            #expect(failure.setting == setting && "\(failure)".contains(words), "\(failure)")
        }
    }

    @Test func modelsThatMakeVideosFromPicturesTakeNone() throws {
        let golden = try WanPictureGolden("wan22-i2v-a14b-style-no-clip")
        let other = try TemporaryDirectory()
        try golden.write(to: other)
        var job = try golden.job(in: other)
        job.request.video = try clip()
        let error = try #require(throws: (any Error).self) { try Renderer(job) }
        let failure = try #require(error as? any Failure)
        #expect(failure.setting == "video" && "\(failure)".contains("from pictures alone"), "\(failure)")
    }
}
