import Testing
import TestSupport
import VDiT

/// CogVideoX, HunyuanVideo and Mochi compute what diffusers computes, with every instruction set this machine has.
@Suite struct JointTransformerTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let family: String
        let name: String
        /// Relative and largest error of fp32 outputs.
        var tolerance = (relative: 2e-5, maximum: 2e-4)
        var testDescription: String { "\(family): \(name)" }

        static let all = [
            Case(family: "cogvideox", name: "sincos-2heads-dim32"),
            Case(family: "cogvideox", name: "sincos-2heads-dim32-other-resolution"),
            Case(family: "cogvideox", name: "rotary-2heads-dim64"),
            Case(family: "cogvideox", name: "v15-patch-t2-rotary-dim64-ofs"),
            // Its guidance of 6000 makes a last digit of a frequency 1e-4 of the output.
            Case(family: "hunyuan-video", name: "t2v-2heads-dim32-guidance", tolerance: (1e-4, 5e-4)),
            Case(family: "hunyuan-video", name: "t2v-1head-dim32-batch2-no-guidance"),
            Case(family: "hunyuan-video", name: "i2v-token-replace-1head-dim32", tolerance: (1e-4, 5e-4)),
            Case(family: "mochi", name: "2heads-dim32"),
            Case(family: "mochi", name: "2heads-dim24-batch2"),
        ]

        var folder: String { Golden.path("\(family)/\(name)") }
        var io: SafetensorsReader {
            get throws { try SafetensorsReader("\(folder)/io.safetensors") }
        }

        func config() throws -> any TransformerSpecification {
            let file = try ConfigFile(path: "\(folder)/config.json")
            switch family {
            case "cogvideox": return try CogVideoXTransformerConfig(file)
            case "mochi": return try MochiTransformerConfig(file)
            default: return try HunyuanVideoTransformerConfig(file)
            }
        }

        func model(_ compute: ComputeContext) throws -> any VideoModel {
            let (config, store) = (try config(), try WeightStore(folder))
            try store.check(config.tensors)
            return try config.load(store, compute)
        }

        /// `[channels, frames, height, width]` of one batch element.
        func latents(_ name: String, _ batch: Int) throws -> Tensor {
            let isFramesFirst = family == "cogvideox"
            let stored = try io.tensor(isFramesFirst && name == "input.latents" ? name + "_frames_first" : name)[batch]
            return isFramesFirst ? Golden.swappingFirstAxes(stored) : stored.copy()
        }

        /// Which tokens of a batch element's prompt are valid, where there is a mask: f32 or u8.
        private func mask(_ batch: Int) throws -> [Bool]? {
            let io = try io
            guard io.info("input.prompt_attention_mask") != nil else { return nil }
            return try io.tensor("input.prompt_attention_mask")[batch].wholeNumbers?.map { $0 == 1 }
        }

        /// Runs one batch element: the output and the intermediates.
        func run(_ model: any VideoModel, batch: Int) throws -> (Tensor, [String: Tensor]) {
            let io = try io
            func given(_ name: String) throws -> Tensor? {
                try io.info(name) == nil ? nil : io.tensor(name)[batch].converted(to: .f32)
            }
            var conditioning = Conditioning(
                prompt: try io.tensor("input.prompt_embeds")[batch],
                mask: try mask(batch),
                pooled: try given("input.pooled_projections"))
            conditioning.guidance = try given("input.guidance_times_1000").map { Double($0.floats()[0]) / 1000 }
            let prepared = try model.prepare(conditioning)
            let time = Golden.numbers(try io.tensor("input.timestep"))[batch]
            let trace = Trace()
            var pass = ForwardPass(timesteps: [time]) { call in
                blockSparseAttention(call, .dense(tokens: call.tokens), values: call.q.dtype)
            }
            pass.trace = trace
            let output = try model.predict(latents("input.latents", batch), conditioning: prepared, pass)
            return (output, trace.recorded)
        }
    }

    @Test(arguments: Case.all, InstructionSet.supported)
    func fp32OutputIsTheReferences(_ golden: Case, _ set: InstructionSet) throws {
        let compute = ComputeContext(pool: WorkPool(threads: 2), instructionSet: set, precision: .fp32)
        let model = try golden.model(compute)
        for batch in 0..<(try golden.io.tensor("output.sample").shape[0]) {
            let expected = try golden.latents("output.sample", batch)
            let error = Golden.difference(try golden.run(model, batch: batch).0, expected)
            #expect(error.relative < golden.tolerance.relative, "batch \(batch)")
            #expect(error.maximum < golden.tolerance.maximum, "batch \(batch)")
        }
    }

    /// With bf16 operands the output is as near as the reference's own bf16 run is.
    @Test(arguments: Case.all)
    func bf16OutputIsNear(_ golden: Case) throws {
        let model = try golden.model(ComputeContext(threads: 2, precision: .bf16))
        let error = Golden.difference(
            try golden.run(model, batch: 0).0, try golden.latents("output.sample", 0))
        #expect(error.relative < 1e-2)
    }

    /// What the reference keeps and we do too, by family: its name and ours, both streams' blocks among them.
    private static let intermediates: [String: [(theirs: String, ours: String)]] = [
        "cogvideox": [
            ("time_embedding.out", "time_embedder.out_temb"), ("time_sinusoid", "time_sinusoid"),
            ("block0.norm1.latent_modulated", "block0.attn1.in_modulated"),
            ("block0.norm1.text_modulated", "block0.text.attn1.in_modulated"),
            ("block0.attn1.latent_out", "block0.attn1.out_after_to_out"),
            ("block0.attn1.text_out", "block0.text.attn1.out_after_to_out"),
            ("block0.norm2.latent_modulated", "block0.ffn.in_modulated"),
            ("block0.latent_out", "block0.out"), ("block0.text_out", "block0.text.out"),
            ("block1.latent_out", "block1.out"), ("norm_out.out_modulated", "proj_out.in_modulated"),
            ("proj_out.out_tokens", "proj_out.out_tokens_before_unpatchify"),
        ],
        "hunyuan-video": [
            ("x_embedder.out_tokens", "patch_embedding.out_tokens"),
            ("time_text_embed.conditioning_temb", "time_embedder.out_temb"),
            ("context_embedder.out", "context_embedder.out"),
            ("dual_block0.norm1.out_modulated", "block0.attn1.in_modulated"),
            ("dual_block0.attn.latent_out", "block0.attn1.out_after_to_out"),
            ("dual_block0.latent_out", "block0.out"), ("dual_block0.text_out", "block0.text.out"),
            ("single_block0.latent_out", "block1.out"), ("single_block0.text_out", "block1.text.out"),
            ("proj_out.out_tokens", "proj_out.out_tokens_before_unpatchify"),
        ],
        "mochi": [
            ("time_embed.pooler.out", "pooler.out"), ("time_embed.temb", "time_embedder.out_temb"),
            ("block0.norm1.out_scaled", "block0.attn1.in_modulated"),
            ("block0.attn1.latent_out", "block0.attn1.out_after_to_out"),
            ("block0.latent_out", "block0.out"), ("block0.text_out", "block0.text.out"),
            ("block1.text_out", "block1.text.out"), ("block2.latent_out", "block2.out"),
            ("norm_out.out_modulated", "proj_out.in_modulated"),
        ],
    ]

    @Test(arguments: [Case.all[0], Case.all[2], Case.all[3], Case.all[4], Case.all[6], Case.all[7]])
    func fp32IntermediatesAreTheReferences(_ golden: Case) throws {
        let (_, ours) = try golden.run(golden.model(ComputeContext(threads: 2, precision: .fp32)), batch: 0)
        let io = try golden.io
        var compared = 0
        for (theirs, name) in try #require(Self.intermediates[golden.family]) where io.info("mid.\(theirs)") != nil {
            // Ours has the second embedding with it.
            if theirs == "time_embedding.out", io.info("mid.ofs_embedding.out") != nil { continue }
            let found = try #require(ours[name], "\(name) was not recorded")
            // Padding is not among ours.
            let all = try io.tensor("mid.\(theirs)")[0]
            let expected = all.shape.count == found.shape.count ? all.slice(0..<found.shape[0]) : all
            let error = Golden.difference(
                found.reshaped([found.count]), expected.converted(to: .f32).reshaped([found.count]))
            #expect(error.relative < golden.tolerance.relative, "\(theirs)")
            compared += 1
        }
        #expect(compared >= 9)
    }

    /// A first frame that is a picture is at time 0 whether or not the caller says so.
    @Test func aPictureIsAtTimeZero() throws {
        let golden = Case.all[6]
        let model = try golden.model(ComputeContext(threads: 1, precision: .fp32))
        let io = try golden.io
        var conditioning = Conditioning(
            prompt: try io.tensor("input.prompt_embeds")[0],
            mask: try io.tensor("input.prompt_attention_mask")[0].floats().map { $0 == 1 },
            pooled: try io.tensor("input.pooled_projections")[0])
        conditioning.guidance = 6
        let prepared = try model.prepare(conditioning)
        let latents = try golden.latents("input.latents", 0)
        func output(_ timesteps: [Float]) throws -> [Float] {
            try model.predict(
                latents, conditioning: prepared,
                ForwardPass(timesteps: timesteps) { call in
                    blockSparseAttention(call, .dense(tokens: call.tokens), values: call.q.dtype)
                }
            ).floats()
        }
        let tokens = latents.count / latents.shape[0] / 4
        let perFrame = tokens / latents.shape[1]
        let told = (0..<tokens).map { $0 < perFrame ? Float(0) : 430 }
        #expect(try output([430]) == output(told))
    }
}
