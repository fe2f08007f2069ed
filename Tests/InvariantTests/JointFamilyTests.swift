import Foundation
import TestSupport
import Testing
import VDiT

/// What the toolkit does for one family it does for those with text inside self-attention.
struct JointFamilyTests {
    static let options: [String: [String: String]] = [
        "svg2": ["query-clusters": "4", "key-clusters": "8", "top-p": "0.5"],
        "draft": ["pool-height": "2", "pool-width": "2", "sparsity": "0.6"],
        "rettention": ["kept": "0.3", "positions-per-block": "1"],
    ]

    struct Run: Sendable, CustomTestStringConvertible {
        let golden: JointGolden
        let method: String
        var testDescription: String { "\(golden) \(method)" }
    }

    static let runs = JointGolden.all.flatMap { golden in
        (["dense"] + options.keys.sorted()).map { Run(golden: golden, method: $0) }
    }

    /// A render from a seed, large enough for sparse masks to drop something.
    private func job(
        _ golden: JointGolden, _ folder: TemporaryDirectory, _ method: String = "dense"
    ) throws -> RenderJob {
        try golden.write(to: folder)
        var job = golden.job(in: folder)
        job.latents = nil
        (job.request.width, job.request.height) = (96, 64)
        job.request.steps = 4
        job.request.precision = .bf16
        if method != "dense" {
            job.request.sparse = method
            job.request.sparseOptions = Self.options[method] ?? [:]
            job.request.sparseOptions?.merge(["dense-steps": "1", "dense-layers": "0"]) { $1 }
        }
        return job
    }

    @Test(arguments: runs)
    func rendersStopsAndGoesOn(_ run: Run) throws {
        let folder = try TemporaryDirectory()
        let job = try job(run.golden, folder, run.method)
        let whole = try Renderer(job).run()
        #expect(whole.output.frames == run.golden.frames && whole.model.family == run.golden.family)
        if run.method != "dense" { #expect((whole.attention?.sparseCalls ?? 0) > 0) }

        let resumed = try job.stoppedAndGoneOn(to: folder.path("again.mkv"))
        #expect(resumed.resumedSteps == 2 && resumed.latentsSha256 == whole.latentsSha256)
        #expect(resumed.output.sha256 == whole.output.sha256)
    }

    @Test(arguments: JointGolden.all, ["fbcache", "guidance"])
    func stepCachesServeIt(_ golden: JointGolden, _ cache: String) throws {
        let folder = try TemporaryDirectory()
        var job = try job(golden, folder)
        job.request.cache = cache
        job.request.steps = 8
        if cache == "guidance", golden.guidance == 1 { return }
        let record = try Renderer(job).run()
        #expect(record.output.frames == golden.frames)
    }

    @Test(arguments: JointGolden.all)
    func textStandsWhereTheFamilyHasIt(_ golden: JointGolden) throws {
        let folder = try TemporaryDirectory()
        let plan = try Renderer(job(golden, folder)).plan
        let layout = try #require(plan.layouts[.conditional])
        let isBefore = golden.family == "cogvideox"
        let expected = ["cogvideox": 7, "hunyuan-video": 0, "mochi": 6][golden.family]
        let valid = golden.family == "hunyuan-video" ? layout.textAfter : expected
        #expect((isBefore ? layout.textBefore : layout.textAfter) == valid && layout.textTokens == valid)
        #expect(layout.textTokens > 0 && plan.estimate.totalFLOPs > 0)
        #expect((plan.settings.embeddedGuidance != nil) == (golden.family == "hunyuan-video"))
        #expect((plan.settings.guidanceSchedule == .cosine) == isBefore)
    }

    @Test func whatItIsConditionedOnReachesIt() throws {
        let folder = try TemporaryDirectory()
        let plain = try job(.hunyuanVideo, folder)
        var told = plain
        told.request.embeddedGuidance = 2
        var guided = plain
        guided.request.guidanceScale = 2
        let digests = try [plain, told, guided].map { try Renderer($0).run().latentsSha256 }
        #expect(Set(digests).count == 3)

        let other = try TemporaryDirectory()
        let swinging = try job(.cogVideoX, other)
        var constant = swinging
        constant.request.guidanceSchedule = .constant
        var still = swinging
        still.request.scheduler = .ddim
        let three = try [swinging, constant, still].map { try Renderer($0).run().latentsSha256 }
        #expect(Set(three).count == 3)
        // With a sampler of its own choice, guidance is constant.
        #expect(try Renderer(still).settings.guidanceSchedule == nil)
    }

    /// A prompt without tokens is one to Mochi, and to no other.
    @Test func anEmptyPromptHasNoTokens() throws {
        let folder = try TemporaryDirectory()
        var job = try job(.mochi, folder)
        try JointGolden.mochi.writePrompt(to: folder.path("one.safetensors"), only: [])
        var tensors: [String: Tensor] = [:]
        for name in ["prompt_embeds", "prompt_attention_mask"] { tensors[name] = try JointGolden.mochi.io.tensor(name) }
        try SafetensorsWriter.write(tensors, metadata: [:], to: folder.path("one.safetensors"), existing: .replace)
        job.prompt = .embedding(folder.path("one.safetensors"))
        let renderer = try Renderer(job)
        #expect(renderer.plan.layouts[.unconditional]?.textTokens == 0)
        #expect(try renderer.run().output.frames == JointGolden.mochi.frames)
    }

    /// Frames that fill up the first patch are not decoded.
    @Test func latentsInFrontOfTheFirstFrameAreDropped() throws {
        let published = try #require(
            try ModelCatalogue.published().first { $0.name == "cogvideox1.5-5b" }).specification
        #expect(published.latentShape(width: 96, height: 64, numFrames: 9).frames == 4)
        var random = TorchRandom(seed: 2)
        let latents = random.normal([16, 4, 8, 12])
        let video = published.video(in: latents, numFrames: 9)
        #expect(video.shape == [16, 3, 8, 12])
        #expect(video[3].floats() == latents[3].slice(1..<4).floats())
        #expect(published.video(in: video, numFrames: 9).floats() == video.floats())
    }

    @Test(arguments: zip(JointGolden.all, ["9 or 17", "9 or 13", "7 or 13"]))
    func sizesAreItsOwn(_ golden: JointGolden, _ frames: String) throws {
        let folder = try TemporaryDirectory()
        let whole = try job(golden, folder)
        for (setting, value, says) in [
            (\RenderRequest.numFrames, golden.family == "mochi" ? 8 : 10, frames), (\.width, 100, "96 or 112"),
            (\.height, 72, "64 or 80"),
        ] {
            var job = whole
            job.request[keyPath: setting] = value
            let error = try #require(throws: (any Error).self) { try Renderer(job) }
            #expect("\(error)".contains(says), "\(error)")
        }
    }

    @Test func whatAPromptLacksIsNamed() throws {
        let folder = try TemporaryDirectory()
        for (golden, names, missing) in [
            (JointGolden.hunyuanVideo, ["prompt_embeds", "prompt_attention_mask"], "pooled_prompt_embeds"),
            (.hunyuanVideo, ["prompt_embeds", "pooled_prompt_embeds"], "prompt_attention_mask"),
            (.mochi, ["prompt_embeds"], "prompt_attention_mask"),
        ] {
            let own = try TemporaryDirectory()
            var job = try job(golden, own)
            try golden.writePrompt(to: folder.path("bare.safetensors"), only: names)
            job.prompt = .embedding(folder.path("bare.safetensors"))
            let error = try #require(throws: SettingFailure.self) { try Renderer(job) }
            #expect("\(error)".contains(missing) && error.setting == "prompt_embedding", "\(error)")
        }
        var words = try job(.hunyuanVideo, folder)
        words.prompt = .text("a cat")
        let error = try #require(throws: (any Error).self) { try Renderer(words) }
        #expect("\(error)".contains("pooled_prompt_embeds") && "\(error)".contains("text encoders"), "\(error)")
        // Another model's prompt has another width.
        var foreign = try job(.mochi, try TemporaryDirectory())
        let own = try TemporaryDirectory()
        foreign = try job(.mochi, own)
        try JointGolden.hunyuanVideo.writePrompt(to: own.path("other.safetensors"))
        foreign.prompt = .embedding(own.path("other.safetensors"))
        let width = try #require(throws: (any Error).self) { try Renderer(foreign) }
        #expect("\(width)".contains("width"), "\(width)")
    }

    @Test func aSamplerOfAnotherPredictionIsRefused() throws {
        for (golden, kind) in [(JointGolden.cogVideoX, SchedulerConfiguration.Kind.euler), (.mochi, .ddim)] {
            let folder = try TemporaryDirectory()
            var job = try job(golden, folder)
            job.request.scheduler = kind
            let error = try #require(throws: (any Error).self) { try Renderer(job) }
            #expect("\(error)".contains("scheduler") && "\(error)".contains(kind.rawValue), "\(error)")
        }
    }

    @Test func publishedModelsAreKnownByName() throws {
        let expected = [
            "cogvideox-2b": 1_693_783_872, "cogvideox-5b": 5_570_283_072, "cogvideox1.5-5b": 5_570_676_352,
            "hunyuan-video": 12_821_012_544, "mochi": 10_027_677_744,
        ]
        let published = try ModelCatalogue.published()
        for (name, count) in expected {
            let model = try #require(published.first { $0.name == name }).specification
            #expect(model.parameterCount == count, "\(name)")
            // A configuration that was written reads back as the same.
            let folder = try TemporaryDirectory()
            let pairs = model.transformer.configuration.map { "\"\($0.key)\": \(Self.json($0.value))" }
            let path = try folder.write("{" + pairs.joined(separator: ",") + "}", "config.json")
            let file = try ConfigFile(path: path)
            let read: any TransformerSpecification = switch model.family {
            case "cogvideox": try CogVideoXTransformerConfig(file)
            case "mochi": try MochiTransformerConfig(file)
            default: try HunyuanVideoTransformerConfig(file)
            }
            #expect(read.configuration == model.transformer.configuration, "\(name)")
        }
    }

    /// Pipelines of pictures, each with what is served instead.
    @Test(arguments: [
        ("HunyuanVideoImageToVideoPipeline", "expected HunyuanVideoPipeline"),
        ("CogVideoXImageToVideoPipeline", "expected CogVideoXPipeline"),
    ])
    func pipelinesOfPicturesAreRefusedByName(_ name: String, _ says: String) throws {
        let folder = try TemporaryDirectory()
        try folder.write(#"{"_class_name": "\#(name)"}"#, "model_index.json")
        let error = try #require(throws: ModelError.self) { try ModelDirectory(path: folder.path("")) }
        #expect("\(error)".contains(name) && "\(error)".contains(says) && error.kind == .unsupported, "\(error)")
    }

    /// Operations of a call as the papers of the models count them, of the released sizes.
    @Test(arguments: [
        ("cogvideox-2b", 720, 480, 49, 226, 73.0, 47.0), ("cogvideox-5b", 720, 480, 49, 226, 163.0, 169.0),
        ("cogvideox1.5-5b", 1360, 768, 81, 226, 1050.0, 429.0), ("hunyuan-video", 960, 544, 61, 256, 798.0, 447.0),
        ("mochi", 848, 480, 163, 256, 1182.0, 485.0),
    ])
    func workIsWhatTheModelsTake(
        _ name: String, _ width: Int, _ height: Int, _ frames: Int, _ text: Int, _ attention: Double, _ rest: Double
    ) throws {
        let model = try #require(try ModelCatalogue.published().first { $0.name == name }).specification
        let latents = model.latentShape(width: width, height: height, numFrames: frames)
        let layout = try model.transformer.tokenLayout(latents, textTokens: text)
        let work = model.transformer.work(layout, textTokens: text)
        #expect(abs(work.selfAttention / 1e12 / attention - 1) < 0.03, "\(work.selfAttention / 1e12)")
        #expect(abs(work.other / 1e12 / rest - 1) < 0.05, "\(work.other / 1e12)")
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
