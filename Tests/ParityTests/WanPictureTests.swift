import Foundation
import TestSupport
import Testing
import VDiT

/// A video of Wan 2.2 TI2V that begins with a picture, laid beside a whole tiny run of diffusers.
struct WanPictureTests {
    private static let path = Golden.path("wan-image/wan22-ti2v-first-frame")

    private static func model() throws -> ModelDirectory {
        // The reference's own scheduler configuration has no class.
        let folder = try TemporaryDirectory()
        let scheduler = try String(contentsOfFile: path + "/scheduler_config.json", encoding: .utf8)
        try folder.write(
            scheduler.replacingOccurrences(of: "{", with: #"{"_class_name": "UniPCMultistepScheduler","#),
            "scheduler_config.json")
        return try ModelDirectory(
            path: "ti2v", family: #require(ModelCatalogue.family(named: "wan")),
            .init(
                transformers: [Golden.path("wan-transformer/ti2v-2heads-dim32-per-token-timestep")],
                decoder: Golden.path("wan-vae/wan22-residual-base4-4"),
                scheduler: folder.path("scheduler_config.json")))
    }

    @Test func everyStepAndTheVideoAreTheReferences() throws {
        let io = try SafetensorsReader(Self.path + "/io.safetensors")
        let model = try Self.model()
        let start = try #require(model.specification.defaults.pictureStart)
        #expect(start == PictureStart(.none))
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let encoder = try #require(try model.specification.decoder.loadEncoder(model.decoderWeights, compute))
        // The reference stretches.
        let fitted = VideoFrame(pixels: try io.tensor("image").copy()).fitted(width: 96, height: 64, .stretch)
        let values = fitted.pixels.withBytes { bytes in bytes.map { Float($0) / 127.5 - 1 } }
        let video = Tensor(.f32, [3, 1, 64, 96])
        video.setFrame(0, channelsLast: Tensor(values, shape: [64, 96, 3]))
        let prepared = try io.tensor("preprocessed_first_frame")[0]
        #expect(Golden.difference(video, prepared).maximum < 1e-6)
        let picture = try encoder.encode(video, noise: nil)

        let specification = model.specification.transformer
        let noise = try io.tensor("initial_noise")[0].copy()
        let layout = try specification.tokenLayout(LatentShape(noise.shape), textTokens: 0)
        let held = HeldPicture(first: .init(picture, noiseScale: 0), layout: layout, noise: .given([]))
        var generation = try Generation(
            experts: [
                Expert(
                    model: specification.load(model.transformerWeights[0], compute), guidance: Guidance(scale: 5),
                    attention: AttentionContext(MethodChoice.dense.configured(), layout: layout))
            ],
            scheduler: model.scheduler.scheduler(steps: 4), noise: noise, picture: held,
            conditional: Conditioning(prompt: io.tensor("prompt_embeds")[0]),
            unconditional: Conditioning(prompt: io.tensor("negative_prompt_embeds")[0]))
        while !generation.isFinished {
            let result = try generation.advance()
            let index = result.step.index
            let name = "noise_pred_cond.step\(index)"
            if io.info(name) != nil {
                let error = Golden.difference(result.conditional, try io.tensor(name)[0])
                #expect(error.relative < 5e-5, "\(name): \(error)")
            }
            // The reference's sampler works on the first frame too, unseen.
            let error = Golden.difference(
                Self.later(result.latents), Self.later(try io.tensor("latents_after_step\(index)")[0]))
            #expect(error.relative < 1e-3, "step \(index): \(error)")
        }
        let made = try collectFrames(
            generation.latents, model.specification.decoder.load(model.decoderWeights, compute), frameCount: 9)
        #expect(try Golden.meanSquare(made, io.tensor("frames_uint8_rounded")) < 255 * 255 * 1e-5)
    }

    /// All frames but the first.
    private static func later(_ latents: Tensor) -> Tensor {
        let result = Tensor(.f32, [latents.shape[0], latents.shape[1] - 1] + latents.shape.dropFirst(2))
        for channel in 0..<latents.shape[0] {
            result[channel].assign(latents[channel].slice(1..<latents.shape[1]))
        }
        return result
    }
}
