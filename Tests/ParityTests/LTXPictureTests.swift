import Foundation
import TestSupport
import Testing
import VDiT

/// A video that begins with a picture, laid beside a whole tiny run of diffusers.
struct LTXPictureTests {
    @Test func everyStepAndTheVideoAreTheReferences() throws {
        let golden = try LTXGolden("i2v-first-frame-decode-noise")
        let folder = try TemporaryDirectory()
        try golden.write(to: folder)
        let io = try golden.io
        let model = try ModelDirectory(path: folder.path("model"))
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let vae = try #require(model.specification.decoder as? LTXVAEConfig)
        let encoder = try #require(try vae.loadEncoder(model.decoderWeights, compute))
        let image = try io.tensor("image")
        let values = image.withBytes { bytes in bytes.map { Float($0) / 127.5 - 1 } }
        let video = Tensor(.f32, [3, 1] + image.shape.prefix(2))
        video.setFrame(0, channelsLast: Tensor(values, shape: image.shape))
        let picture = try encoder.encode(video, noise: io.tensor("encode_noise")[0])

        let specification = model.specification.transformer
        let noise = try io.tensor("initial_noise")[0].copy()
        let layout = try specification.tokenLayout(LatentShape(noise.shape), textTokens: 0)
        func conditioning(_ prefix: String) throws -> Conditioning {
            Conditioning(
                prompt: try io.tensor(prefix + "prompt_embeds")[0],
                mask: try io.tensor(prefix + "prompt_attention_mask").floats().map { $0 == 1 },
                frameRate: LTXGolden.frameRate)
        }
        var generation = try Generation(
            experts: [
                Expert(
                    model: specification.load(model.transformerWeights[0], compute),
                    guidance: Guidance(scale: golden.guidance),
                    attention: AttentionContext(MethodChoice.dense.configured(), layout: layout))
            ],
            scheduler: model.scheduler.scheduler(
                steps: golden.steps, tokens: layout.videoTokens, start: model.specification.defaults.spacing),
            noise: noise,
            picture: HeldPicture(latents: picture, layout: layout, noiseScale: 0, random: TorchRandom(seed: 0)),
            conditional: conditioning(""), unconditional: conditioning("negative_"))
        while !generation.isFinished {
            let result = try generation.advance()
            let found = Golden.swappingFirstAxes(result.latents.reshaped([noise.shape[0], layout.videoTokens]))
            let error = Golden.difference(found, try io.tensor("latents_after_step\(result.step.index)")[0])
            #expect(error.relative < 2e-4, "step \(result.step.index): \(error)")
        }

        let noises = io.names.filter { $0.hasPrefix("inject_noise.") }.sorted()
        var conditions = DecodeConditions()
        conditions.noise = .given(try (["decode_noise"] + noises).map { try io.tensor($0) })
        let made = try collectFrames(
            generation.latents, vae.load(model.decoderWeights, compute), conditions, frameCount: golden.frames)
        #expect(try Golden.meanSquare(made, io.tensor("frames_uint8_rounded")) < 255 * 255 * 1e-5)
    }
}
