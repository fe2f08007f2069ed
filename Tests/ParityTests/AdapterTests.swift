import Foundation
import TestSupport
import Testing
import VDiT

/// Adapters merged at load: Tests/Golden/lora, made with diffusers and peft, and the sample model's own.
struct AdapterParity {
    struct Case: CustomTestStringConvertible {
        let name: String
        var files: [String] = []
        var strengths: [Double] = [1]
        var base = "t2v-2heads-dim64"
        var testDescription: String { name }

        static let all = [
            Case(name: "peft-names"),
            Case(name: "peft-names-metadata-alpha", strengths: [0.8]),
            Case(name: "original-names-alpha-bf16"),
            Case(name: "original-names-no-prefix-fp16", strengths: [-0.5]),
            Case(name: "kohya-names"),
            Case(name: "extracted-with-diffs"),
            Case(name: "two-files", files: ["peft-names", "kohya-names"], strengths: [0.7, -0.4]),
            Case(
                name: "bf16-base-rounded-once", files: ["original-names-alpha-bf16"],
                base: "t2v-2heads-dim64-bf16-weights"),
        ]
    }

    @Test func everyGoldenCaseIsRun() throws {
        let folders = try FileManager.default.contentsOfDirectory(atPath: Golden.path("lora"))
        #expect(Set(folders).subtracting(["bad", "README.md"]) == Set(Case.all.map(\.name)))
    }

    /// A golden's base model and the weights with the case's files merged in.
    static func weights(
        _ entry: Case, _ compute: ComputeContext
    ) throws -> (config: WanTransformerConfig, base: WeightStore, merged: AdaptedWeights) {
        let folder = Golden.path("wan-transformer/\(entry.base)")
        let config = try WanTransformerConfig(ConfigFile(path: folder + "/config.json"))
        let base = try WeightStore(folder)
        let files = entry.files.isEmpty ? [entry.name] : entry.files
        let adapters = try zip(files, entry.strengths).map { name, strength in
            let file = try AdapterFile(Golden.path("lora/\(name)/lora.safetensors"))
            return (try Adapter(file, for: config.adapterNames), strength)
        }
        return (config, base, AdaptedWeights(base, adapters, compute))
    }

    /// Weights rounded as a bf16 run keeps them; norms, biases and tables stay fp32.
    struct Rounded: WeightSource {
        let source: AdaptedWeights
        func contains(_ name: String) -> Bool { source.contains(name) }
        func release(_ name: String) { source.release(name) }
        func tensor(_ name: String) throws(TensorError) -> Tensor {
            let tensor = try source.tensor(name)
            return name.hasSuffix(".weight") && tensor.rank > 1 ? tensor.converted(to: .bf16) : tensor
        }
    }

    @Test(arguments: Case.all)
    func mergedWeightsAndTheOutputAreTheReferences(entry: Case) throws {
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let (config, base, merged) = try Self.weights(entry, compute)
        let golden = try SafetensorsReader(Golden.path("lora/\(entry.name)/io.safetensors"))
        let isRounded = entry.name.hasPrefix("bf16-base")
        for name in golden.names where name.hasPrefix("fused.") {
            let expected = try golden.tensor(name).converted(to: .f32)
            let found = try merged.tensor(String(name.dropFirst(6)))
            #expect(found.dtype == .f32)
            if isRounded {
                #expect(found.converted(to: .bf16).floats() == expected.floats())
            } else {
                let largest = expected.floats().map(abs).max() ?? 0
                let error = Golden.difference(found, expected)
                #expect(error.maximum <= 1e-6 * Double(largest) && error.relative <= 1e-7, "\(name): \(error)")
            }
        }
        let io = try SafetensorsReader(Golden.path("wan-transformer/\(entry.base)/io.safetensors"))
        let source: any WeightSource = isRounded ? Rounded(source: merged) : merged
        let model = try CrossTransformer(config: config, weights: source, compute: compute)
        let (output, _) = try WanTransformerTests.run(model, io, batch: 0, compute)
        let error = Golden.difference(output, try golden.tensor("output.sample")[0])
        #expect(error.relative < 2e-5 && error.maximum < 2e-4, "\(error)")
        // What no file names is the base's own bytes.
        let changed = Set(golden.names)
        let name = try #require(base.names.first { !changed.contains("fused." + $0) && $0.contains("attn2.norm_q") })
        if entry.name != "extracted-with-diffs" {
            #expect(try merged.tensor(name).dtype == base.tensor(name).dtype)
        }
    }

    /// The sample model's four steps without guidance, as diffusers takes them.
    @Test(arguments: Precision.allCases)
    func theSampleWithItsAdapterIsTheReferenceRun(precision: Precision) throws {
        let golden = try SafetensorsReader(
            Golden.sample("wan-mini/reference/03-blue-square-right-160x96-17f-4steps-lora.safetensors"))
        let model = try ModelDirectory(path: Golden.sample("wan-mini"))
        let compute = try ComputeContext(threads: 2, precision: precision)
        let specification = model.specification
        let adapter = try Adapter(
            AdapterFile(Golden.sample("wan-mini/lora/4-step.safetensors")),
            for: specification.transformer.adapterNames)
        #expect(adapter.notices.isEmpty && adapter.layers.changed == 80 && adapter.file.ranks == 32...32)
        let transformer = try specification.transformer.load(
            AdaptedWeights(model.transformerWeights[0], [(adapter, 1)], compute), compute)
        let prompt = Conditioning(
            prompt: try SafetensorsReader(Golden.sample("prompts/03-blue-square-right.safetensors"))
                .tensor("prompt_embeds")[0].copy())
        let latents = specification.decoder.latentShape(width: 160, height: 96, numFrames: 17)
        let shape = latents.extents
        var random = TorchRandom(seed: 5)
        let layout = try specification.transformer.tokenLayout(latents, textTokens: 0)
        var generation = try Generation(
            experts: [
                Expert(
                    model: transformer, guidance: try Guidance(scale: 1),
                    attention: try AttentionContext(MethodChoice.dense.configured(), layout: layout))
            ],
            scheduler: model.scheduler.scheduler(steps: 4), noise: random.normal([1] + shape).reshaped(shape),
            conditional: prompt, unconditional: prompt)
        #expect(zip(generation.steps, [1, 0.9, 0.75, 0.5]).allSatisfy { abs($0.sigma - $1) < 2e-3 })
        while !generation.isFinished {
            let result = try generation.advance()
            let error = Golden.difference(
                result.latents, try golden.tensor("latents.\(result.step.index)")[0])
            if precision == .fp32 { #expect(error.relative < 1e-3, "step \(result.step.index): \(error)") }
        }
        let video = try collectFrames(
            generation.latents, specification.decoder.load(model.decoderWeights, compute), frameCount: 17)
        let pixels: [UInt8] = try (0..<17).flatMap { index in
            try VideoFrame(rounding: video.channelsLastFrame(index)).pixels.withBytes { Array($0) }
        }
        let expected = try golden.tensor("frames_u8").withBytes { Array($0) }
        #expect(pixels.count == expected.count)
        var squares = 0.0
        for (own, theirs) in zip(pixels, expected) {
            let difference = Double(own) - Double(theirs)
            squares += difference * difference
        }
        let psnr = 10 * log10(255 * 255 / max(squares / Double(pixels.count), 1e-12))
        #expect(psnr >= (precision == .fp32 ? 50 : 45), "\(psnr) dB")
    }
}
