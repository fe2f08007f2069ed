import Foundation
import TestSupport
import Testing
import VDiT

/// Wan's models that take pictures as channels beside the latents, laid beside whole tiny runs of diffusers.
struct WanConditionTests {
    private static let experts = "wan22-i2v-a14b-style-no-clip"
    static let cases = Result {
        try ["wan21-i2v-given-image-embeds", "wan21-flf2v-first-last-frame", experts].map(WanPictureGolden.init)
    }

    @Test(arguments: try cases.get())
    func everyStepAndTheVideoAreTheReferences(_ golden: WanPictureGolden) throws {
        let folder = try TemporaryDirectory()
        let io = try golden.io
        let model = try golden.model(in: folder)
        let rule = try #require(model.specification.defaults.pictureStart)
        #expect(rule.place == .channels && rule.first == .required)
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let channels = try Self.channels(io, model, compute, frames: golden.frames)
        let input = try io.tensor("model_input.step0")[0]
        let error = Golden.difference(channels, input.slice(16..<36))
        #expect(error.relative < 2e-5, "channels: \(error)")

        // Its calls are laid beside nothing: see below.
        if golden.name == Self.experts { return }
        let image = io.info("image_embeds") == nil ? nil : try io.tensor("image_embeds")
        var generation = try Self.generation(
            golden, model, compute, channels: channels, image: image.map { $0.reshaped([$0.rowCount, $0.columns]) })
        while !generation.isFinished {
            let result = try generation.advance()
            let index = result.step.index
            for (name, found) in [
                ("noise_pred_cond.step\(index)", result.conditional),
                ("noise_pred_uncond.step\(index)", try #require(result.unconditional)),
            ] where io.info(name) != nil {
                let error = Golden.difference(found, try io.tensor(name)[0])
                #expect(error.relative < 5e-5, "\(name): \(error)")
            }
            let error = Golden.difference(result.latents, try io.tensor("latents_after_step\(index)")[0])
            #expect(error.relative < 1e-3, "step \(index): \(error)")
        }
        let made = try collectFrames(
            generation.latents, model.specification.decoder.load(model.decoderWeights, compute),
            frameCount: golden.frames)
        #expect(try Golden.meanSquare(made, io.tensor("frames_uint8_rounded")) < 255 * 255 * 1e-5)
    }

    private static func generation(
        _ golden: WanPictureGolden, _ model: ModelDirectory, _ compute: ComputeContext, channels: Tensor, image: Tensor?
    ) throws -> Generation {
        let io = try golden.io
        let noise = try io.tensor("initial_noise")[0].copy()
        let layout = try model.specification.transformer.tokenLayout(LatentShape(noise.shape), textTokens: 0)
        func conditioning(_ name: String) throws -> Conditioning {
            Conditioning(prompt: try io.tensor(name)[0], image: image)
        }
        return try Generation(
            experts: [
                Expert(
                    model: model.specification.transformer.load(model.transformerWeights[0], compute),
                    guidance: Guidance(scale: golden.guidance[0]),
                    attention: AttentionContext(MethodChoice.dense.configured(), layout: layout))
            ],
            scheduler: model.scheduler.scheduler(steps: golden.steps), noise: noise, channels: channels,
            conditional: conditioning("prompt_embeds"), unconditional: conditioning("negative_prompt_embeds"))
    }

    private static func channels(
        _ io: SafetensorsReader, _ model: ModelDirectory, _ compute: ComputeContext, frames: Int
    ) throws -> Tensor {
        func pixels(_ name: String, _ prepared: String) throws -> Tensor? {
            if io.info(name) == nil { return nil }
            let image = try io.tensor(name)
            let values = image.withBytes { bytes in bytes.map { Float($0) / 127.5 - 1 } }
            let pixels = Tensor(.f32, [3, 1] + image.shape.prefix(2))
            pixels.setFrame(0, channelsLast: Tensor(values, shape: image.shape))
            #expect(Golden.difference(pixels, try io.tensor(prepared)[0]).maximum < 1e-6)
            return pixels
        }
        let last = try pixels("last_image", "preprocessed_last_frame")
        let video = PictureChannels.video(
            first: try #require(try pixels("image", "preprocessed_first_frame")), last: last, frames: frames)
        let encoder = try #require(try model.specification.decoder.loadEncoder(model.decoderWeights, compute))
        return PictureChannels.joined(try encoder.encode(video, noise: nil), compression: 4, hasLast: last != nil)
    }

    /// Guidance and sampler of the A14B's run, on the reference's own predictions: those are missed by 8 %, by ours and
    /// by an implementation in fp64 alike, and met within 0.4 % when all scores of self-attention are 0. Why is not
    /// known; a rotary table that was never filled would do it.
    @Test func bothStepsOfTheFirstExpertAreTheReferences() throws {
        let golden = try WanPictureGolden(Self.experts)
        let folder = try TemporaryDirectory()
        let (io, model) = (try golden.io, try golden.model(in: folder))
        #expect(golden.boundary == 0.9 && golden.guidance == [3.5, 3])
        var scheduler = try model.scheduler.scheduler(steps: golden.steps)
        let boundary = Float(model.specification.transformers[0].boundary * 1000)
        var latents = try io.tensor("initial_noise")[0].copy()
        for step in scheduler.steps.prefix(2) {
            #expect(step.timestep >= boundary)
            func prediction(_ branch: String) throws -> Tensor {
                try io.tensor("noise_pred_\(branch).step\(step.index)")[0].copy()
            }
            let guided = try Guidance(scale: golden.guidance[0]).combine(
                conditional: prediction("cond"), unconditional: prediction("uncond"), at: step)
            latents = scheduler.advance(latents, prediction: guided, at: step)
            let error = Golden.difference(latents, try io.tensor("latents_after_step\(step.index)")[0])
            #expect(error.relative < 2e-5, "step \(step.index): \(error)")
        }
        #expect(scheduler.steps[2].timestep < boundary)
    }

    /// Files of pictures and the checkpoint's image encoder give what their parts do, one after the other.
    @Test func aRenderIsItsParts() throws {
        let golden = try WanPictureGolden("wan21-flf2v-first-last-frame")
        let folder = try TemporaryDirectory()
        try golden.write(to: folder)
        var job = try golden.job(in: folder)
        job.saveLatents = folder.path("latents.safetensors")
        _ = try Renderer(job).run()
        let found = try SafetensorsReader(folder.path("latents.safetensors")).tensor("latents")

        let (io, model) = (try golden.io, try ModelDirectory(path: folder.path("model")))
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let pictures = try ["image", "last_image"].map { VideoFrame(pixels: try io.tensor($0).copy()) }
        let tokens = try #require(model.imageEncoder).tokens(pictures, compute)
        #expect(tokens.shape == [34, 40])
        var generation = try Self.generation(
            golden, model, compute, channels: Self.channels(io, model, compute, frames: golden.frames), image: tokens)
        while !generation.isFinished { _ = try generation.advance() }
        #expect(found.floats() == generation.latents.floats())
    }
}
