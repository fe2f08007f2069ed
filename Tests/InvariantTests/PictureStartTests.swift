import Foundation
import TestSupport
import Testing
import VDiT

/// Videos that begin with a picture.
struct PictureStartTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func picture(_ name: String, width: Int, height: Int) throws -> String {
        let frame = VideoFrame(height: height, width: width)
        for row in 0..<height {
            for column in 0..<width {
                for colour in 0..<3 {
                    let value = UInt8((row * 3 + column * 5 + colour * 60) % 256)
                    frame.pixels[row][column].slice(colour..<colour + 1).fill(byte: value)
                }
            }
        }
        let path = folder.path(name)
        try PNG.write(frame.pixels, to: path, existing: .replace)
        return path
    }

    private func job(_ golden: String) throws -> RenderJob {
        let golden = try LTXGolden(golden)
        try golden.write(to: folder)
        var job = try golden.job(in: folder)
        job.latents = nil
        (job.request.steps, job.request.threads) = (job.request.sigmas == nil ? 4 : nil, 2)
        return job
    }

    /// Both pipelines' ways to hold a picture; one draws noise for every call of the model.
    @Test(arguments: ["i2v-first-frame-decode-noise", "t2v-distilled-timestep-list"])
    func rendersStopsAndGoesOn(_ golden: String) throws {
        var job = try job(golden)
        let without = try Renderer(job).run()
        job.image = try picture("a.png", width: 96, height: 64)
        let renderer = try Renderer(job)
        #expect(!renderer.notices.contains { $0.contains("a.png") })
        let whole = try renderer.run()
        #expect(whole.latentsSha256 != without.latentsSha256 && whole.inputs.image == job.image)
        let resumed = try job.stoppedAndGoneOn()
        #expect(resumed.resumedSteps == 2 && resumed.output.sha256 == whole.output.sha256)
    }

    /// A last picture changes the video and takes a frame of tokens; alone it is enough, and a run goes on with it.
    @Test func aLastPictureIsOneFrameMoreThatTheModelSees() throws {
        var job = try job("t2v-distilled-timestep-list")
        job.image = try picture("a.png", width: 96, height: 64)
        let first = try Renderer(job)
        job.lastImage = try picture("b.png", width: 80, height: 64)
        let both = try Renderer(job)
        #expect(both.notices.contains { $0.contains("b.png: 80x64 made 96x64") })
        #expect(both.estimate.tokens == first.estimate.tokens + 6 && both.plan.latents == first.plan.latents)
        let whole = try both.run()
        job.image = nil
        let last = try Renderer(job).run()
        #expect(Set([try first.run(), whole, last].map(\.latentsSha256)).count == 3)
        #expect(whole.output.frames == last.output.frames && last.inputs.lastImage == job.lastImage)

        job.checkpointEverySteps = 1
        job.request.cache = "fbcache"
        let cached = try Renderer(job).run()
        let stop = StopFlag()
        #expect(throws: PipelineError.self) {
            try Renderer(job).run(stop: stop) { if case .step(2, _, _) = $0 { stop.requestStop() } }
        }
        job.resume = .required
        let resumed = try Renderer(job).run()
        #expect(resumed.resumedSteps == 2 && resumed.output.sha256 == cached.output.sha256)
    }

    /// The pipelines of 0.9.0 and 0.9.1 have no place for one.
    @Test func aLastPictureIsRefusedWhereOnlyTheFirstIsTaken() throws {
        var job = try job("i2v-first-frame-decode-noise")
        job.lastImage = try picture("b.png", width: 96, height: 64)
        let error = try #require(throws: (any Error).self) { try Renderer(job) }
        let failure = try #require(error as? any Failure)
        #expect(failure.setting == "last_image" && "\(failure)".contains("first picture alone"), "\(failure)")
    }

    @Test func otherShapesAreFittedAndSaidSo() throws {
        var job = try job("i2v-first-frame-decode-noise")
        job.image = try picture("wide.png", width: 400, height: 80)
        let cropped = try Renderer(job)
        #expect(cropped.notices.contains { $0.contains("400x80 made 96x64 (crop, Lanczos)") })
        job.request.imageFit = .stretch
        let stretched = try Renderer(job)
        #expect(stretched.notices.contains { $0.contains("(stretch, Lanczos)") })
        #expect(cropped.identity["image"] != stretched.identity["image"])
    }

    @Test func onePixelFillsTheFrame() {
        let dot = VideoFrame(height: 1, width: 1)
        dot.pixels.fill(byte: 77)
        for fit in ImageFit.allCases {
            let made = dot.fitted(width: 5, height: 3, fit)
            #expect((made.width, made.height) == (5, 3))
            #expect(made.pixels.withBytes { $0.allSatisfy { $0 == 77 } })
        }
    }

    /// A flat picture stays flat, and a crop keeps the middle.
    @Test func fittingKeepsWhatItShould() {
        let frame = VideoFrame(height: 20, width: 60)
        frame.pixels.fill(byte: 10)
        for row in 0..<20 { frame.pixels[row].slice(20..<40).fill(byte: 200) }
        let middle = frame.fitted(width: 20, height: 20, .crop)
        #expect(middle.pixels.withBytes { $0.allSatisfy { $0 == 200 } })
        let small = frame.fitted(width: 6, height: 2, .stretch)
        let (edge, centre) = (small.pixels[0][0], small.pixels[0][2])
        #expect(edge.withBytes { Array($0) } != centre.withBytes { Array($0) })
    }

    @Test func badPicturesAreNamed() throws {
        var job = try job("i2v-first-frame-decode-noise")
        let whole = try Data(contentsOf: URL(fileURLWithPath: picture("whole.png", width: 64, height: 64)))
        try folder.write(Array(whole.prefix(whole.count / 2)), "cut.png")
        try folder.write("no picture at all", "text.png")
        for (name, kind) in [
            ("cut.png", FailureKind.badData), ("text.png", .badData), ("none.png", .missingInput),
        ] {
            job.image = folder.path(name)
            let error = try #require(throws: (any Error).self, "\(name)") { try Renderer(job) }
            let failure = try #require(error as? any Failure)
            #expect(failure.kind == kind && failure.setting == "image", "\(name): \(failure)")
        }
    }

    @Test func aMovingPictureIsNone() throws {
        var job = try job("i2v-first-frame-decode-noise")
        _ = try Renderer(job).run()
        job.image = job.destination.path
        job.destination.path = folder.path("other.mkv")
        let error = try #require(throws: (any Error).self) { try Renderer(job) }
        #expect("\(error)".contains("moving picture"))
    }

    @Test func modelsOfTextAloneTakeNone() throws {
        try TinyModel.write(to: folder)
        var options = VideoOptions(frameRate: .sixteen)
        options.existing = .replace
        var job = RenderJob(
            model: folder.path("model"), promptEmbedding: folder.path("a.safetensors"),
            destination: VideoDestination(path: folder.path("out.mp4"), options: options))
        (job.request.width, job.request.height, job.request.numFrames) = (32, 32, 5)
        job.image = try picture("a.png", width: 32, height: 32)
        let error = try #require(throws: (any Error).self) { try Renderer(job) }
        let failure = try #require(error as? any Failure)
        #expect(failure.setting == "image" && "\(failure)".contains("text alone"))
    }
}
