import Foundation
import TestSupport
import Testing
import VDiT

/// Whole tiny runs of CogVideoX, HunyuanVideo and Mochi by diffusers: latents after every step, decoded frames.
struct JointPipelineTests {
    @Test(arguments: [JointGolden.hunyuanVideo, .mochi])
    func everyStepIsTheReferences(_ golden: JointGolden) throws {
        let folder = try TemporaryDirectory()
        try golden.write(to: folder)
        var job = golden.job(in: folder)
        job.saveTrajectory = folder.path("steps")
        let renderer = try Renderer(job)
        let io = try golden.io
        for (step, time) in zip(renderer.plan.steps, try io.tensor("timesteps").floats()) {
            #expect(abs(step.timestep - time) < 2e-4)
        }
        _ = try renderer.run()
        for index in 0..<golden.steps {
            let made = try SafetensorsReader(folder.path("steps/" + String(format: "step_%03d.safetensors", index)))
            let error = Golden.difference(
                try made.tensor("latents")[0], try golden.latents("latents_after_step\(index)"))
            #expect(error.relative < 1e-4, "step \(index): \(error)")
        }
    }

    /// CogVideoX's sampler draws noise as it goes: the reference's draws are given.
    @Test func everyStepOfTheStochasticSamplerIsTheReferences() throws {
        let golden = JointGolden.cogVideoX
        let io = try golden.io
        let configuration = try SchedulerConfiguration(ConfigFile(temporary: Data(golden.scheduler().utf8)))
        let ends = [0, golden.steps - 1]
        let draws = try (0..<golden.steps).map { step in
            try golden.latents("noise.step\(step).\(ends.contains(step) ? "first" : "second")")
        }
        let opened = try ModelCatalogue.openTransformer(Golden.path("cogvideox/rotary-2heads-dim64"))
        let noise = try golden.latents("initial_noise")
        let layout = try opened.specification.tokenLayout(LatentShape(noise.shape), textTokens: 7)
        let model = try opened.specification.load(opened.weights, ComputeContext(threads: 2, precision: .fp32))
        var generation = try Generation(
            experts: [
                Expert(
                    model: model, guidance: try Guidance(scale: golden.guidance, schedule: .cosine),
                    attention: try AttentionContext(MethodChoice.dense.configured(), layout: layout))
            ],
            scheduler: configuration.scheduler(steps: golden.steps, noise: .given(draws)), noise: noise,
            conditional: Conditioning(prompt: try io.tensor("prompt_embeds")[0]),
            unconditional: Conditioning(prompt: try io.tensor("negative_prompt_embeds")[0]))
        #expect(try generation.steps.map(\.timestep) == io.tensor("timesteps").floats())
        while !generation.isFinished {
            let result = try generation.advance()
            let index = result.step.index
            let error = Golden.difference(result.latents, try golden.latents("latents_after_step\(index)"))
            #expect(error.relative < 1e-4, "step \(index): \(error)")
            guard io.info("model_output.step\(index)") != nil else { continue }
            for (batch, output) in [result.unconditional, result.conditional].enumerated() {
                let expected = try golden.latents("model_output.step\(index)", batch: batch)
                #expect(Golden.difference(try #require(output), expected).relative < 5e-5)
            }
        }
    }

    @Test(arguments: JointGolden.all)
    func theVideoIsTheReferences(_ golden: JointGolden) throws {
        let folder = try TemporaryDirectory()
        try golden.write(to: folder)
        let model = try ModelDirectory(path: folder.path("model"))
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let decoder = try model.specification.decoder.load(model.decoderWeights, compute)
        let video = try collectFrames(
            try golden.latents("latents_after_step\(golden.steps - 1)"), decoder, frameCount: golden.frames)
        // 50 dB.
        let error = try Golden.meanSquare(video, golden.io.tensor("frames_uint8_rounded"))
        #expect(error < 255 * 255 * 1e-5)
    }

    /// A seed's numbers are drawn in the reference's order of axes.
    @Test func noiseIsDrawnInTheFamilysOrder() throws {
        let folder = try TemporaryDirectory()
        for golden in [JointGolden.cogVideoX, .mochi] {
            let own = try TemporaryDirectory()
            try golden.write(to: own)
            var job = golden.job(in: own)
            job.latents = nil
            job.request.steps = 1
            job.saveTrajectory = folder.path(golden.family)
            let plan = try Renderer(job)
            _ = try plan.run()
            let made = try SafetensorsReader(folder.path("\(golden.family)/initial_noise.safetensors"))
                .tensor("latents")[0]
            var random = TorchRandom(seed: 5)
            let shape = golden.isFramesFirst ? [made.shape[1], made.shape[0]] : [made.shape[0], made.shape[1]]
            let drawn = random.normal(shape + made.shape.dropFirst(2))
            let expected = golden.isFramesFirst ? Golden.swappingFirstAxes(drawn) : drawn
            #expect(made.floats() == expected.floats())
        }
    }
}
