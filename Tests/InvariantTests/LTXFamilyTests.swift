import Foundation
import TestSupport
import Testing
import VDiT

/// What the toolkit does for one family it does for LTX-Video: text outside self-attention, a mask, the frame rate, a
/// VAE that takes part in the sampling.
struct LTXFamilyTests {
    private let folder: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory()
        try LTXGolden("t2v-distilled-timestep-list").write(to: folder)
    }

    private static let options: [String: [String: String]] = [
        "svg2": ["query-clusters": "4", "key-clusters": "8", "top-p": "0.5"],
        "draft": ["pool-height": "2", "pool-width": "2", "sparsity": "0.6"],
        "rettention": ["kept": "0.3", "positions-per-block": "1"],
    ]

    private func job(_ method: String = "dense", _ name: String = "out.mkv") -> RenderJob {
        var options = VideoOptions(frameRate: .sixteen)
        options.codec = .ffv1
        options.existing = .replace
        var job = RenderJob(
            model: folder.path("model"), promptEmbedding: folder.path("prompt.safetensors"),
            destination: VideoDestination(path: folder.path(name), options: options))
        (job.request.width, job.request.height, job.request.numFrames) = (192, 128, 17)
        (job.request.steps, job.request.seed, job.request.threads) = (4, 3, 2)
        if method != "dense" {
            job.request.sparse = method
            job.request.sparseOptions = Self.options[method] ?? [:]
            job.request.sparseOptions?.merge(["dense-steps": "1", "dense-layers": "0"]) { $1 }
        }
        return job
    }

    @Test(arguments: ["dense"] + options.keys.sorted())
    func rendersStopsAndGoesOn(_ method: String) throws {
        let job = job(method)
        let whole = try Renderer(job).run()
        #expect((whole.output.width, whole.output.height, whole.output.frames) == (192, 128, 17))
        #expect(whole.model.family == "ltx-video" && whole.output.fps == "25/1")
        if method != "dense" { #expect((whole.attention?.sparseCalls ?? 0) > 0) }

        let resumed = try job.stoppedAndGoneOn(to: folder.path("again.mkv"))
        #expect(resumed.resumedSteps == 2 && resumed.latentsSha256 == whole.latentsSha256)
        #expect(resumed.output.sha256 == whole.output.sha256)
    }

    /// Latents tell the noise that their decoder is to draw.
    @Test func isDecodedFromItsLatents() throws {
        var job = job()
        job.saveLatents = folder.path("latents.safetensors")
        job.destination.metadata = .omit
        job.request.decodeTimestep = 0.1
        let made = try Renderer(job).run()
        var destination = job.destination
        destination.path = folder.path("decoded.mkv")
        var decode = DecodeJob(latents: folder.path("latents.safetensors"), destination: destination)
        decode.threads = 1
        #expect(try decode.run().output.sha256 == made.output.sha256)
        // Another time, or another share of noise, is another video of the same latents.
        for change in [\RenderRequest.decodeTimestep, \.decodeNoiseScale] {
            var other = job
            other.request[keyPath: change] = 0.5
            other.saveLatents = nil
            let record = try Renderer(other).run()
            #expect(record.latentsSha256 == made.latentsSha256 && record.output.sha256 != made.output.sha256)
        }
    }

    @Test func whatItIsConditionedOnReachesIt() throws {
        let other = try TemporaryDirectory()
        let golden = try LTXGolden("t2v-dynamic-shift-rescale")
        try golden.write(to: other)
        func job() throws -> RenderJob {
            var job = try golden.job(in: other)
            (job.request.guidanceScale, job.request.guidanceRescale) = (1, nil)
            return job
        }
        let plain = try Renderer(try job()).run().latentsSha256
        var faster = try job()
        faster.request.frameRate = try FrameRate(50)
        var rescaled = try job()
        rescaled.request.guidanceScale = 3
        let guided = try Renderer(rescaled).run().latentsSha256
        rescaled.request.guidanceRescale = 0.7
        let others = try [faster, rescaled].map { try Renderer($0).run().latentsSha256 }
        let digests = [plain, guided] + others
        #expect(Set(digests).count == 4)
        for value in [-0.1, 1.1] {
            rescaled.request.guidanceRescale = value
            let error = try #require(throws: (any Error).self) { try Renderer(rescaled) }
            let failure = try #require(error as? any Failure)
            #expect("\(failure)".contains("guidance_rescale") && failure.kind == .usage)
        }
    }

    /// A shift that was asked for takes the place of one that grows with the video, though both may read 1.
    @Test func aGrowingShiftIsPartOfTheIdentity() throws {
        let other = try TemporaryDirectory()
        let golden = try LTXGolden("t2v-dynamic-shift-rescale")
        try golden.write(to: other)
        var job = try golden.job(in: other)
        let growing = try Renderer(job)
        job.request.flowShift = 1
        let fixed = try Renderer(job)
        #expect(growing.plan.steps != fixed.plan.steps && growing.identity != fixed.identity)
    }

    @Test func sizesAreItsOwn() throws {
        for (setting, value, says) in [
            (\RenderRequest.numFrames, 12, "9 or 17"), (\.width, 200, "192 or 224"), (\.height, 70, "64 or 96"),
        ] {
            var job = job()
            job.request[keyPath: setting] = value
            let error = try #require(throws: (any Error).self) { try Renderer(job) }
            #expect("\(error)".contains(says), "\(error)")
        }
    }

    @Test func theUpsamplerOfTheSecondPassIsRefusedByName() throws {
        let other = try TemporaryDirectory()
        try other.write(#"{"_class_name": "LTXLatentUpsamplePipeline"}"#, "up/model_index.json")
        let error = try #require(throws: ModelError.self) { try ModelDirectory(path: other.path("up")) }
        #expect(error.kind == .unsupported && "\(error)".contains("few-step ltx-0.9.8 is its first pass"), "\(error)")
    }

    @Test func isComparedWithMethods() throws {
        var job = ComparisonJob(
            model: folder.path("model"), prompts: [.embedding(folder.path("prompt.safetensors"))],
            methods: ["draft", "rettention"], directory: folder.path("report"))
        (job.request.width, job.request.height, job.request.numFrames) = (192, 128, 9)
        (job.request.steps, job.request.threads) = (2, 1)
        #expect(try Comparison(job).run().variants.count == 3)
    }

    @Test func publishedModelsAreKnownByName() throws {
        let names = try ModelCatalogue.published().map(\.name).filter { $0.hasPrefix("ltx") }
        #expect(names == [
            "ltx-video-2b-0.9.0", "ltx-video-2b-0.9.1", "ltx-video-2b-0.9.5", "ltx-video-2b-0.9.8", "ltx-video-13b",
        ])
        let sizes = [LTXTransformerConfig.ltx2B, .ltx13B].map(\.parameterCount)
        #expect(sizes == [1_923_385_472, 13_042_569_344])
        // A configuration that was written reads back as the same.
        for model in try ModelCatalogue.published() where model.name.hasPrefix("ltx") {
            let specification = model.specification
            for (name, configuration) in [
                ("t", specification.transformer.configuration), ("v", specification.decoder.configuration),
            ] {
                let pairs = configuration.map { "\"\($0.key)\": \(Self.json($0.value))" }
                let text = "{" + pairs.joined(separator: ",") + "}"
                let path = try folder.write(text, "\(model.name)-\(name).json")
                let tensors = name == "t"
                    ? try LTXTransformerConfig(ConfigFile(path: path)).tensors
                    : try LTXVAEConfig(ConfigFile(path: path)).tensors
                let own = name == "t" ? specification.transformer.tensors : specification.decoder.tensors
                #expect(tensors.map(\.name) == own.map(\.name) && tensors.map(\.shape) == own.map(\.shape))
            }
        }
    }

    private static func json(_ value: ConfigurationValue) -> String {
        switch value {
        case .text(let text): "\"\(text)\""
        case .integer(let number): "\(number)"
        case .number(let number): "\(number)"
        case .flag(let flag): "\(flag)"
        case .list(let values): "[" + values.map(json).joined(separator: ",") + "]"
        }
    }
}
