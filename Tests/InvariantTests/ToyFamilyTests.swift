import Foundation
import TestSupport
import Testing
import VDiT

/// A family that no file of the library knows goes through everything the library does.
struct ToyFamilyTests {
    private let folder: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory()
        try ToyFamily.write(to: folder)
    }

    private static let methods = ["dense", "radial", "svg2", "draft", "rettention"]

    private static let options: [String: [String: String]] = [
        "radial": ["block": "16", "decay": "0.1", "skip-below": "4"],
        "svg2": ["query-clusters": "4", "key-clusters": "8", "top-p": "0.5"],
        "draft": ["pool-height": "1", "pool-width": "2", "sparsity": "0.6"],
        "rettention": ["kept": "0.3", "positions-per-block": "1"],
    ]

    private func job(_ method: String = "dense", _ name: String = "out.mkv") -> RenderJob {
        var options = VideoOptions(frameRate: .sixteen)
        options.codec = .ffv1
        options.existing = .replace
        var job = RenderJob(
            model: folder.path("model"), promptEmbedding: folder.path("a.safetensors"),
            destination: VideoDestination(path: folder.path(name), options: options))
        job.negativePrompt = .embedding(folder.path("empty.safetensors"))
        job.request.numFrames = 9
        job.request.steps = 4
        job.request.seed = 3
        job.request.threads = 2
        // A frame of one block leaves its mask nothing to drop.
        if method == "radial" { (job.request.width, job.request.height) = (64, 48) }
        if method != "dense" {
            job.request.sparse = method
            job.request.sparseOptions = Self.options[method] ?? [:]
            job.request.sparseOptions?.merge(["dense-steps": "1", "dense-layers": "0"]) { $1 }
        }
        return job
    }

    @Test(arguments: methods)
    func rendersStopsAndGoesOn(_ method: String) throws {
        let job = job(method)
        let whole = try Renderer(job).run()
        let scale = method == "radial" ? 2 : 1
        #expect((whole.output.width, whole.output.height, whole.output.frames) == (32 * scale, 24 * scale, 9))
        #expect(whole.model.family == "toy-mini" && whole.output.fps == "12/1")
        if method != "dense" { #expect((whole.attention?.sparseCalls ?? 0) > 0) }
        let reader = try FFmpegReader(job.destination.path)
        #expect(try reader.next() != nil)

        let resumed = try job.stoppedAndGoneOn(to: folder.path("again.mkv"))
        #expect(resumed.resumedSteps == 2 && resumed.latentsSha256 == whole.latentsSha256)
        #expect(resumed.output.sha256 == whole.output.sha256)
    }

    @Test func isPlannedByItsOwnRules() throws {
        let renderer = try Renderer(job())
        #expect(renderer.plan.latents == LatentShape(channels: 6, frames: 5, height: 6, width: 8))
        // Five valid tokens of the prompt, one of the empty one.
        #expect(renderer.plan.layouts[.conditional] == TokenLayout(frames: 5, height: 3, width: 4, textAfter: 5))
        #expect(renderer.plan.layouts[.unconditional] == TokenLayout(frames: 5, height: 3, width: 4, textAfter: 1))
        #expect(renderer.estimate.peakBytes > 0 && renderer.estimate.totalFLOPs > 0)
        for (setting, value) in [(\RenderRequest.numFrames, 6), (\.width, 36), (\.height, 20)] {
            var job = job()
            job.request[keyPath: setting] = value
            #expect(throws: (any Error).self) { try Renderer(job) }
        }
    }

    @Test func whatItIsConditionedOnReachesIt() throws {
        let digests = try ["a", "b"].map { name in
            var job = job()
            job.prompt = .embedding(folder.path("\(name).safetensors"))
            return try Renderer(job).run().latentsSha256
        }
        var faster = job()
        faster.request.frameRate = try FrameRate(24)
        #expect(Set(digests + [try Renderer(faster).run().latentsSha256]).count == 3)
        // A prompt that lacks what the model takes is named.
        var random = TorchRandom(seed: 1)
        try SafetensorsWriter.write(
            ["prompt_embeds": random.normal([1, 6, 12])], to: folder.path("bare.safetensors"), existing: .refuse)
        var bare = job()
        bare.prompt = .embedding(folder.path("bare.safetensors"))
        let error = try #require(throws: SettingFailure.self) { try Renderer(bare) }
        #expect("\(error)".contains("prompt_attention_mask") && error.setting == "prompt_embedding", "\(error)")
    }

    @Test func isDecodedFromItsLatents() throws {
        var job = job()
        job.saveLatents = folder.path("latents.safetensors")
        // What is said of the run in the file differs, the frames do not.
        job.destination.metadata = .omit
        let made = try Renderer(job).run()
        var destination = job.destination
        destination.path = folder.path("decoded.mkv")
        var decode = DecodeJob(latents: folder.path("latents.safetensors"), destination: destination)
        decode.threads = 1
        #expect(try decode.run().output.sha256 == made.output.sha256)
    }

    @Test func isPredictedAlone() throws {
        try ToyFamily.writeInputs(to: folder.path("in.safetensors"))
        let predict = PredictJob(
            model: folder.path("model"), inputs: folder.path("in.safetensors"), output: folder.path("p.safetensors"))
        #expect(try predict.run().shape == [1, 6, 2, 4, 4])
    }

    @Test func isInspected() throws {
        let model = try ModelDirectory(path: folder.path("model"))
        #expect(model.specification.family == "toy" && model.specification.defaults.name == "toy-mini")
        for part in ["transformer", "vae"] {
            let file = try ConfigFile(path: folder.path("model/\(part)/config.json"))
            let summary = try ModelCatalogue.summary(of: file, WeightStore(folder.path("model/\(part)")))
            #expect(try !#require(summary).isEmpty)
        }
        #expect(try ModelCatalogue.published().map(\.name).contains("toy-mini"))
    }

    @Test(arguments: methods.dropFirst())
    func isLookedInto(_ method: String) throws {
        var probe = AttentionProbe(
            RenderJob(
                model: folder.path("model"), promptEmbedding: folder.path("a.safetensors"),
                destination: VideoDestination(path: "")),
            method: try MethodChoice(method, options: Self.options[method] ?? [:]))
        probe.job.request.numFrames = 9
        probe.job.request.steps = 4
        probe.job.request.seed = 1
        (probe.step, probe.layer) = (2, 1)
        let observation = try probe.run().observation
        #expect(observation.call.layout == TokenLayout(frames: 5, height: 3, width: 4, textAfter: 5))
        let plan = try #require(observation.plans.last)
        var mask = MaskFile(plan: plan, layout: observation.call.layout)
        mask.head = 1
        for name in ["mask.png", "mask.npy", "mask.safetensors"] {
            try mask.write(to: folder.path(name), existing: .refuse, pool: WorkPool(threads: 1))
        }
        let map = AttentionMap(of: observation)
        #expect(map.heads.count == 2 && map.totalError.isFinite)
        try map.write(to: folder.path("map.png"), existing: .refuse)
        try map.write(to: folder.path("map.safetensors"), existing: .refuse)
    }

    @Test func isTimed() throws {
        let model = try ToyFamily.published().specification
        let latents = LatentShape(channels: 6, frames: 3, height: 4, width: 4)
        let compute = try ComputeContext(threads: 1, precision: .fp32)
        let layer = try LayerBenchmark(model.transformer, latents: latents, textTokens: 4).run(repeats: 1, compute)
        #expect(layer.tokens == 16 && layer.flops > layer.attentionFlops && layer.weightBytes > 0)
        #expect(try DecodeBenchmark(model.decoder, latents: latents).run(repeats: 1, compute).videoFrames == 5)
    }

    @Test func goesThroughABatch() throws {
        let path = try folder.write(
            """
            version: 1
            output: out/{job}-{seed}-{method}.mkv
            defaults:
              model: model
              prompt_embedding: b.safetensors
              negative_prompt_embedding: empty.safetensors
              num_frames: 9
              threads: 1
              codec: ffv1
            matrix:
              seed: [1, 2]
              method: [{name: dense}, {name: draft, sparse: draft, sparse_options: {pool-height: 1, pool-width: 2}}]
            jobs:
              - name: clip
              - {name: quality, compare: clip, reference: {method: dense}, output: "out/{seed}-{method}.quality.json"}
            """, "batch.yaml")
        let database = try RunDatabase(path: folder.path("state.vdit.sqlite"))
        for _ in 0..<2 {
            let batch = Batch(try BatchPlan(PipelineFile(path: path)), database: database, runner: LocalRunner())
            try batch.prepare()
            #expect(try batch.run(stop: StopFlag()).done == 6)
        }
    }

    @Test func isComparedWithMethods() throws {
        var job = ComparisonJob(
            model: folder.path("model"), prompts: [.embedding(folder.path("a.safetensors"))],
            methods: ["draft", "rettention"], directory: folder.path("report"))
        job.negativePrompt = .embedding(folder.path("empty.safetensors"))
        job.request.numFrames = 9
        job.request.steps = 3
        job.request.threads = 1
        let results = try Comparison(job).run()
        #expect(results.variants.count == 3)
        #expect(FileManager.default.fileExists(atPath: folder.path("report/report.html")))
    }
}
