import Foundation
import TestSupport
import Testing
import VDiT

/// Whole tiny pipelines of diffusers: latents after every step, decoded video, 8-bit frames.
struct PipelineParity {
    struct Case: CustomTestStringConvertible {
        let name: String
        let transformers: [String]
        let vae: String
        let width: Int
        let height: Int
        let frames: Int
        let steps: Int
        let guidance: [Double]
        let boundary: Double
        let seed: Int
        var testDescription: String { name }
        var path: String { Golden.path("pipelines/\(name)") }

        init?(_ name: String) {
            self.name = name
            guard let data = FileManager.default.contents(
                    atPath: Golden.path("pipelines/\(name)/io.json")),
                let json = try? JSONSerialization.jsonObject(with: data) as? [String: Any],
                let components = json["components"] as? [String: Any],
                let parameters = json["parameters"] as? [String: Any],
                let first = components["transformer"] as? String,
                let vae = components["vae"] as? String,
                let width = parameters["width"] as? Int, let height = parameters["height"] as? Int,
                let frames = parameters["num_frames"] as? Int,
                let steps = parameters["num_inference_steps"] as? Int,
                let guidance = parameters["guidance_scale"] as? Double,
                let seed = parameters["seed"] as? Int
            else { return nil }
            let folder = { (relative: String) in
                Golden.path(relative.replacingOccurrences(of: "../../", with: ""))
            }
            transformers = [first, components["transformer_2"] as? String].compactMap { $0 }.map(folder)
            self.vae = folder(vae)
            (self.width, self.height, self.frames, self.steps) = (width, height, frames, steps)
            self.guidance = [guidance, parameters["guidance_scale_2"] as? Double].compactMap { $0 }
            boundary = parameters["boundary_ratio"] as? Double ?? 0
            self.seed = seed
        }
    }

    static let names = [
        "wan21-t2v-euler-shift5-6steps", "wan21-t2v-unipc-shift3-6steps",
        "wan21-t2v-unipc-shift5-4steps-no-cfg",
        "wan22-a14b-style-two-transformers-unipc-shift3-6steps",
        "wan22-ti2v-style-per-token-timestep-unipc-shift5-4steps",
    ]
    static let cases = names.compactMap(Case.init)

    @Test func everyGoldenCaseIsRead() { #expect(Self.cases.count == Self.names.count) }

    /// The generation of a case, from its noise.
    static func generation(
        _ entry: Case, _ golden: SafetensorsReader, _ compute: ComputeContext
    ) throws -> Generation {
        let model = try ModelDirectory(
            path: entry.name, family: #require(ModelCatalogue.family(named: "wan")),
            .init(
                transformers: entry.transformers, boundary: entry.boundary, decoder: entry.vae,
                scheduler: entry.path + "/scheduler_config.json"))
        let noise = try golden.tensor("initial_noise")[0].copy()
        let dense = MethodChoice.dense.configured()
        let scheduler = try model.scheduler.scheduler(steps: entry.steps)
        var experts: [Expert] = []
        for (index, transformer) in model.specification.transformers.enumerated() {
            let loaded = try transformer.specification.load(model.transformerWeights[index], compute)
            let layout = try transformer.specification.tokenLayout(LatentShape(noise.shape), textTokens: 0)
            // The first that serves a step serves it.
            let end = scheduler.steps.firstIndex { $0.timestep < Float(transformer.boundary * 1000) } ?? entry.steps
            experts.append(
                Expert(
                    model: loaded, guidance: try Guidance(scale: entry.guidance[index]), steps: 0..<end,
                    attention: try AttentionContext(dense, layout: layout)))
        }
        return try Generation(
            experts: experts, scheduler: scheduler, noise: noise,
            conditional: Conditioning(prompt: golden.tensor("prompt_embeds")[0]),
            unconditional: Conditioning(prompt: golden.tensor("negative_prompt_embeds")[0]))
    }

    @Test(arguments: cases)
    func everyStepAndTheVideoAreTheReferences(entry: Case) throws {
        let golden = try SafetensorsReader(entry.path + "/io.safetensors")
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        var generation = try Self.generation(entry, golden, compute)
        while !generation.isFinished {
            let result = try generation.advance()
            let index = result.step.index
            for (found, name) in [
                (result.conditional, "noise_pred_cond.step\(index)"),
                (result.latents, "latents_after_step\(index)"),
            ] {
                let error = Golden.difference(found, try golden.tensor(name)[0])
                #expect(error.relative < 2e-5 && error.maximum < 2e-4, "\(name): \(error)")
            }
            let name = "noise_pred_uncond.step\(index)"
            #expect((result.unconditional != nil) == (golden.info(name) != nil))
            if let unconditional = result.unconditional {
                let error = Golden.difference(unconditional, try golden.tensor(name)[0])
                #expect(error.relative < 2e-5 && error.maximum < 2e-4, "\(name): \(error)")
            }
        }
        let decoder = try WanVAE(directory: entry.vae, compute: compute)
        let video = try collectFrames(generation.latents, decoder, frameCount: entry.frames)
        let error = Golden.difference(video, try golden.tensor("video")[0])
        #expect(error.maximum < 1e-4, "video: \(error)")
        let pixels = try (0..<entry.frames).flatMap { number in
            try VideoFrame(rounding: video.channelsLastFrame(number)).pixels.withBytes { Array($0) }
        }
        let expected = try golden.tensor("frames_uint8_rounded").withBytes { Array($0) }
        #expect(pixels.count == expected.count)
        let differences = zip(pixels, expected).map { abs(Int($0) - Int($1)) }
        #expect(differences.allSatisfy { $0 <= 1 })
        #expect(differences.count { $0 != 0 } * 1000 <= differences.count)
    }

    @Test(arguments: cases)
    func noiseOfTheSeedIsTheReferences(entry: Case) throws {
        let golden = try SafetensorsReader(entry.path + "/io.safetensors")
        let expected = try golden.tensor("initial_noise")
        var random = TorchRandom(seed: UInt64(entry.seed))
        #expect(random.normal(expected.shape).floats() == expected.floats())
    }
}

/// The sample model against diffusers' step-by-step runs of it.
struct SampleModelParity {
    struct Reference: CustomTestStringConvertible {
        let file: String
        let prompt: String
        let width: Int
        let height: Int
        var testDescription: String { file }
    }
    static let small = Reference(
        file: "08-pink-heart-grows-160x96-17f-12steps-unipc", prompt: "08-pink-heart-grows",
        width: 160, height: 96)
    static let large = Reference(
        file: "01-red-ball-right-320x192-17f-12steps-unipc", prompt: "01-red-ball-right",
        width: 320, height: 192)

    /// Runs a reference; returns the worst relative error of any step's latents, and the PSNR of the frames.
    static func run(_ reference: Reference, _ precision: Precision) throws -> (Double, Double) {
        let golden = try SafetensorsReader(
            Golden.sample("wan-mini/reference/\(reference.file).safetensors"))
        let model = try ModelDirectory(path: Golden.sample("wan-mini"))
        let prompts = try PromptPair(
            .embedding(Golden.sample("prompts/\(reference.prompt).safetensors")),
            negative: .embedding(Golden.sample("prompts/empty.safetensors")),
            needs: model.specification.transformer.conditioning,
            length: model.specification.defaults.textLength)
        #expect(prompts.notices.isEmpty)
        let compute = try ComputeContext(threads: 2, precision: precision)
        let shape = model.specification.decoder.latentShape(
            width: reference.width, height: reference.height, numFrames: 17
        ).extents
        var random = TorchRandom(seed: 7)
        let noise = random.normal([1] + shape).reshaped(shape)
        #expect(noise.floats() == (try golden.tensor("noise").floats()))
        let transformer = try model.specification.transformer.load(model.transformerWeights[0], compute)
        let layout = try model.specification.transformer.tokenLayout(LatentShape(shape), textTokens: 0)
        var generation = try Generation(
            experts: [
                Expert(
                    model: transformer, guidance: try Guidance(scale: 4),
                    attention: try AttentionContext(MethodChoice.dense.configured(), layout: layout))
            ],
            scheduler: model.scheduler.scheduler(steps: 12), noise: noise,
            conditional: Conditioning(prompt: prompts.conditional),
            unconditional: Conditioning(prompt: prompts.unconditional))
        var worst = 0.0
        while !generation.isFinished {
            let result = try generation.advance()
            let index = result.step.index
            let stored = try golden.tensor("latents_\(index < 10 ? "0" : "")\(index)")
            worst = max(
                worst, Golden.difference(result.latents, stored.converted(to: .f32)[0]).relative)
        }
        let video = try collectFrames(
            generation.latents, model.specification.decoder.load(model.decoderWeights, compute), frameCount: 17)
        let expected = try golden.tensor("frames_uint8").withBytes { Array($0) }
        let indices = try Golden.numbers(golden.tensor("frame_index")).map { Int($0) }
        let pixels = try indices.flatMap { index in
            try VideoFrame(rounding: video.channelsLastFrame(index)).pixels.withBytes { Array($0) }
        }
        #expect(pixels.count == expected.count)
        let squares = zip(pixels, expected).reduce(0.0) {
            $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1))
        }
        let psnr = 10 * log10(255 * 255 / max(squares / Double(pixels.count), 1e-12))
        return (worst, psnr)
    }

    @Test(arguments: [small, large])
    func fp32LatentsAndFramesAreTheReferences(reference: Reference) throws {
        let (worst, psnr) = try Self.run(reference, .fp32)
        #expect(worst < 1e-3)
        #expect(psnr >= 50)
    }

    @Test(arguments: [small, large])
    func bf16FramesAreCloseToTheReferences(reference: Reference) throws {
        let (_, psnr) = try Self.run(reference, .bf16)
        #expect(psnr >= 48)
    }
}
