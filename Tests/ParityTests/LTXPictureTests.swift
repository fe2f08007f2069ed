import Foundation
import TestSupport
import Testing
import VDiT

/// Videos that begin and end with a picture, laid beside whole tiny runs of diffusers.
struct LTXPictureTests {
    private let folder: TemporaryDirectory
    private let compute: ComputeContext

    init() throws {
        folder = try TemporaryDirectory()
        compute = try ComputeContext(threads: 2, precision: .fp32)
    }

    @Test func theFirstFrameIsHeld() throws {
        let golden = try LTXGolden("i2v-first-frame-decode-noise")
        let model = try model(golden)
        let picture = try latents(of: "image", drawnWith: "encode_noise", golden, model)
        try run(golden, model, first: .init(picture, noiseScale: 0), noise: .given([]))
    }

    /// One picture at frame 0, shown with noise, and a weaker one at frame 8: as all the noise levels of this run are
    /// above what it lacks, it stays as it was mixed.
    @Test func anotherPictureIsAFrameAheadOfTheVideo() throws {
        let golden = try LTXGolden("condition-image-at-0-and-8")
        let model = try model(golden)
        let io = try golden.io
        let strength: Float = 0.9
        let first = try latents(of: "image0", drawnWith: "encode_noise.0", golden, model)
        let other = try latents(of: "image1", drawnWith: "encode_noise.1", golden, model)
        let noise = try io.tensor("condition_noise.1").floats()
        let mixed = zip(noise, other.floats()).map { $0 + strength * ($1 - $0) }
        try run(
            golden, model, first: .init(first, noiseScale: 0.15),
            ahead: .init(Tensor(mixed, shape: other.shape), noiseScale: 0, time: 1000 * (1 - strength)), at: 8,
            noise: .given((0..<golden.steps).map { try io.tensor("cond_noise.step\($0)")[0] }))
    }

    private func model(_ golden: LTXGolden) throws -> ModelDirectory {
        try golden.write(to: folder)
        return try ModelDirectory(path: folder.path("model"))
    }

    private func latents(
        of image: String, drawnWith noise: String, _ golden: LTXGolden, _ model: ModelDirectory
    ) throws -> Tensor {
        let image = try golden.io.tensor(image)
        let values = image.withBytes { bytes in bytes.map { Float($0) / 127.5 - 1 } }
        let video = Tensor(.f32, [3, 1] + image.shape.prefix(2))
        video.setFrame(0, channelsLast: Tensor(values, shape: image.shape))
        let encoder = try #require(
            try model.specification.decoder.loadEncoder(model.decoderWeights, compute))
        return try encoder.encode(video, noise: golden.io.tensor(noise)[0])
    }

    /// Lays every step and the video beside the golden's.
    private func run(
        _ golden: LTXGolden, _ model: ModelDirectory, first: HeldPicture.Frame, ahead: HeldPicture.Frame? = nil,
        at frame: Int? = nil, noise drawn: StepNoise
    ) throws {
        let io = try golden.io
        let specification = model.specification.transformer
        let noise = try io.tensor("initial_noise")[0].copy()
        var shown = LatentShape(noise.shape)
        if ahead != nil { shown.frames += 1 }
        let layout = try specification.tokenLayout(shown, textTokens: 0)
        func conditioning(_ prefix: String) throws -> Conditioning {
            var conditioning = Conditioning(
                prompt: try io.tensor(prefix + "prompt_embeds")[0],
                mask: try io.tensor(prefix + "prompt_attention_mask").floats().map { $0 == 1 },
                frameRate: LTXGolden.frameRate)
            conditioning.frameAhead = frame
            return conditioning
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
            picture: HeldPicture(first: first, ahead: ahead, layout: layout, noise: drawn),
            conditional: conditioning(""), unconditional: conditioning("negative_"))
        let tokens = LatentShape(noise.shape).count / noise.shape[0]
        func difference(_ found: Tensor, _ name: String, item: Int = 0) throws -> Double {
            // The reference has the tokens of the frame ahead first.
            let all = try io.tensor(name)[item]
            let own = all.slice(all.shape[0] - tokens..<all.shape[0])
            return Golden.difference(
                Golden.swappingFirstAxes(found.reshaped([noise.shape[0], tokens])), own).relative
        }
        while !generation.isFinished {
            let result = try generation.advance()
            let index = result.step.index
            if index < 2 {
                let output = "model_output.step\(index)"
                let error = try difference(result.conditional, output, item: golden.guidance > 1 ? 1 : 0)
                #expect(error < 5e-5, "\(output): \(error)")
            }
            let error = try difference(result.latents, "latents_after_step\(index)")
            #expect(error < 2e-4, "step \(index): \(error)")
        }

        let noises = io.names.filter { $0.hasPrefix("inject_noise.") }.sorted()
        var conditions = DecodeConditions()
        conditions.noise = .given(try (["decode_noise"] + noises).map { try io.tensor($0) })
        let made = try collectFrames(
            generation.latents, model.specification.decoder.load(model.decoderWeights, compute), conditions,
            frameCount: golden.frames)
        #expect(try Golden.meanSquare(made, io.tensor("frames_uint8_rounded")) < 255 * 255 * 1e-5)
    }
}
