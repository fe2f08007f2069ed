import Foundation
import TestSupport
import Testing
import VDiT

/// Models that make videos from pictures alone: what they need, and what is refused.
struct PictureNeedTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func job(_ name: String) throws -> RenderJob {
        let golden = try WanPictureGolden(name)
        try golden.write(to: folder)
        var job = try golden.job(in: folder)
        (job.latents, job.request.precision) = (nil, .bf16)
        return job
    }

    private func refusal(_ job: RenderJob) throws -> any Failure {
        let error = try #require(throws: (any Error).self) { try Renderer(job) }
        return try #require(error as? any Failure)
    }

    @Test func bothPicturesAreNeededBetweenTwo() throws {
        let job = try job("wan21-flf2v-first-last-frame")
        for (setting, path) in [("image", \RenderJob.image), ("last_image", \RenderJob.lastImage)] {
            var other = job
            other[keyPath: path] = nil
            let failure = try refusal(other)
            #expect(failure.setting == setting && failure.kind == .usage, "\(failure)")
            #expect("\(failure)".contains("found none, expected a picture that the video"), "\(failure)")
        }
        var other = job
        other.request.numFrames = 1
        #expect(try refusal(other).setting == "num_frames")
        #expect(try Renderer(job).run().inputs.lastImage == job.lastImage)
    }

    /// Without an image encoder a last picture is the caller's choice; the video differs.
    @Test func aLastPictureIsTakenWhereTheModelHasNoTokensOfIt() throws {
        var job = try job("wan22-i2v-a14b-style-no-clip")
        let without = try Renderer(job).run()
        job.lastImage = job.image
        job.destination.path = folder.path("both.y4m")
        let both = try Renderer(job)
        #expect(both.identity["last_image"] == both.identity["image"])
        #expect(try both.run().latentsSha256 != without.latentsSha256)
    }

    @Test func stopsAndGoesOn() throws {
        var job = try job("wan21-flf2v-first-last-frame")
        let whole = try Renderer(job).run()
        job.checkpointEverySteps = 1
        let stop = StopFlag()
        #expect(throws: PipelineError.self) {
            try Renderer(job).run(stop: stop) { if case .step(1, _, _) = $0 { stop.requestStop() } }
        }
        job.resume = .required
        let resumed = try Renderer(job).run()
        #expect(resumed.resumedSteps == 1 && resumed.output.sha256 == whole.output.sha256)
    }

    /// The tokens follow from the picture as it came, also where the fitted one is the same.
    @Test func theWholePictureIsPartOfTheRunsIdentity() throws {
        var job = try job("wan21-flf2v-first-last-frame")
        let frame = VideoFrame(height: 48, width: 96)
        for row in 0..<48 { frame.pixels[row].slice(0..<16).fill(byte: 90) }
        try PNG.write(frame.pixels, to: folder.path("wide.png"), existing: .replace)
        try PNG.write(frame.cropped(width: 64, height: 48).pixels, to: folder.path("middle.png"), existing: .replace)
        job.image = folder.path("wide.png")
        let wide = try Renderer(job).identity
        job.image = folder.path("middle.png")
        #expect(try Renderer(job).identity["image"] != wide["image"])
    }

    @Test func otherModelsRefuseALastPicture() throws {
        try TinyModel.write(to: folder)
        var job = RenderJob(
            model: folder.path("model"), promptEmbedding: folder.path("a.safetensors"),
            destination: VideoDestination(path: folder.path("out.y4m"), options: VideoOptions(frameRate: .sixteen)))
        (job.request.width, job.request.height, job.request.numFrames) = (32, 32, 5)
        job.lastImage = folder.path("none.png")
        let failure = try refusal(job)
        #expect(failure.setting == "last_image" && "\(failure)".contains("text alone"), "\(failure)")
    }

    @Test func sizesNameTheNearestOnes() throws {
        var job = try job("wan22-i2v-a14b-style-no-clip")
        job.request.height = 40
        let failure = try refusal(job)
        #expect("\(failure)" == "height: found 40, expected a multiple of 16; use 32 or 48")
    }

    @Test func badPicturesAreNamed() throws {
        var job = try job("wan22-i2v-a14b-style-no-clip")
        let strip = VideoFrame(height: 1, width: 8000)
        try PNG.write(strip.pixels, to: folder.path("strip.png"), existing: .refuse)
        let long = VideoFrame(height: 2, width: 30_000)
        try PNG.write(long.pixels, to: folder.path("long.png"), existing: .refuse)
        for (name, words) in [
            ("strip.png", "a picture of 8000x1, expected one whose shape is nearer to the video's 64x48"),
            ("long.png", "a picture of 30000x2, expected 1 to 16384 pixels a side"),
        ] {
            job.image = folder.path(name)
            let failure = try refusal(job)
            #expect(failure.setting == "image" && failure.kind == .badData, "\(failure)")
            #expect("\(failure)".contains(words), "\(failure)")
        }
        // A dot is a picture.
        try PNG.write(VideoFrame(height: 1, width: 1).pixels, to: folder.path("dot.png"), existing: .refuse)
        job.image = folder.path("dot.png")
        #expect(try Renderer(job).notices.contains { $0.contains("1x1 made 64x48") })
    }

    @Test func aCheckpointWithoutItsImageEncoderIsRefused() throws {
        let job = try job("wan21-flf2v-first-last-frame")
        let processor = "model/image_processor/preprocessor_config.json"
        for (from, to, words) in [
            (#""resample": 3"#, #""resample": 1"#, "resample: 1 is not supported; expected 3, bicubic"),
            (#""height": 56"#, #""height": 60"#, "crop_size"),
            ("0.4578275, ", "", "image_mean"),
        ] {
            try folder.write(WanPictureGolden.processor.replacingOccurrences(of: from, with: to), processor)
            #expect("\(try refusal(job))".contains(words))
        }
        try FileManager.default.removeItem(atPath: folder.path("model/image_encoder"))
        let failure = try refusal(job)
        #expect(failure.kind == .missingInput && "\(failure)".contains("image_encoder/config.json"))
    }

    /// A configuration that was written reads back as the same model.
    @Test func publishedModelsAreKnownByTheirFiles() throws {
        let family = try #require(ModelCatalogue.family(named: "wan"))
        var names: [String] = []
        for model in try family.published() {
            let own = model.specification
            names.append(model.name)
            let transformer = try folder.write(Self.json(own.transformer.configuration), "\(model.name).t.json")
            let decoder = try folder.write(Self.json(own.decoder.configuration), "\(model.name).v.json")
            guard case .text(let pipeline)? = model.index["_class_name"] else {
                Issue.record("\(model.name) has no class")
                continue
            }
            let read = try family.specification(
                transformers: own.transformers.map {
                    .init(
                        component: $0.component, specification: try WanTransformerConfig(ConfigFile(path: transformer)),
                        boundary: $0.boundary)
                }, decoder: WanVAEConfig(ConfigFile(path: decoder)), pipeline: pipeline)
            #expect(read.defaults == own.defaults)
            let known = own.transformer.tensors.filter { !$0.name.contains("to_gate_compress") }
            #expect(read.transformer.tensors.map(\.name) == known.map(\.name))
            #expect(read.transformer.tensors.map(\.shape) == known.map(\.shape))
            #expect((own.transformer.conditioning.imageWidth != nil) == (model.index["image_encoder"] != nil))
        }
        #expect(names.suffix(3) == ["wan2.1-i2v-14b", "wan2.1-flf2v-14b", "wan2.2-i2v-a14b"])
    }

    private static func json(_ values: [String: ConfigurationValue]) -> String {
        func text(_ value: ConfigurationValue) -> String {
            switch value {
            case .text(let text): "\"\(text)\""
            case .integer(let number): "\(number)"
            case .number(let number): "\(number)"
            case .flag(let flag): "\(flag)"
            case .list(let values): "[" + values.map(text).joined(separator: ",") + "]"
            }
        }
        return "{" + values.map { "\"\($0.key)\": \(text($0.value))" }.joined(separator: ",") + "}"
    }
}
