import Foundation
import TestSupport
import Testing
import VDiT

/// From a prompt's text to what a model takes.
@Suite struct TextModelTests {
    static let miniLM = Golden.sample("wan-mini")

    @Test(
        .enabled(
            if: FileManager.default.fileExists(atPath: miniLM + "/text_encoder/model.safetensors"),
            "the sample model's text encoder is not here: scripts/setup --text-encoder"))
    func theSamplesEmbeddingsAreMadeAgain() throws {
        let prompts = Golden.sample("prompts")
        let files = try FileManager.default.contentsOfDirectory(atPath: prompts).sorted()
            .filter { $0.hasSuffix(".safetensors") }
        #expect(files.count == 25)
        let embeddings = try files.map { try SafetensorsReader("\(prompts)/\($0)") }
        let texts = try embeddings.map { try #require($0.metadata["prompt"]) }
        let encoder = try PromptEncoder(TextModelFolder(Self.miniLM), pipeline: "WanPipeline")
        #expect(encoder.rules.family == "wan-mini")
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        for (found, file) in zip(try encoder.encode(texts, compute: compute), embeddings) {
            let expected = try file.tensor("prompt_embeds")
            let difference = Golden.difference(found.embedding.reshaped(expected.shape), expected)
            #expect(difference.maximum < 2e-5, "\(found.prompt)")
        }
        #expect(
            try encoder.tokens("a red ball moves from left to right over a dark blue background").sequence.ids
                == [101, 1037, 2417, 3608, 5829, 2013, 2187, 2000, 2157, 2058, 1037, 2601, 2630, 4281, 102])
    }

    static func compute() -> ComputeContext {
        ComputeContext(pool: WorkPool(threads: 1), instructionSet: .scalar, precision: .fp32)
    }

    @Test func wanTakesRowsOfTheCleanedPromptAndZerosAfterThem() throws {
        let model = try TinyTextModel(.umt5, pipeline: "WanPipeline")
        let encoder = try PromptEncoder(TextModelFolder(model.path), pipeline: "WanPipeline")
        let found = try encoder.encode(["  a cat &amp; “dog” ", "", "a cat & \"dog\""], compute: Self.compute())
        #expect(found.map(\.cleaned) == ["a cat & \"dog\"", "", "a cat & \"dog\""])
        for prompt in found {
            #expect(prompt.embedding.shape == [512, TinyTextModel.width] && prompt.mask == nil)
            let real = prompt.embedding.slice(0..<prompt.ids.count).floats()
            #expect(prompt.embedding.slice(prompt.ids.count..<512).floats().allSatisfy { $0 == 0 })
            #expect(real.contains { $0 != 0 })
        }
        #expect(found[0].embedding.floats() == found[2].embedding.floats())
        // The empty prompt is one row, not none.
        #expect(found[1].ids == [1])
    }

    @Test func whatFollowsAPromptIsTheFamilys() throws {
        let model = try TinyTextModel(.t5)
        func encode(_ family: String) throws -> EncodedPrompt {
            try PromptEncoder(TextModelFolder(model.path), family: family).encode(["a cat"], compute: Self.compute())[0]
        }
        let (cog, ltx, mochi) = (try encode("cogvideox"), try encode("ltx"), try encode("mochi"))
        #expect([cog, ltx, mochi].map { $0.embedding.shape[0] } == [226, 128, 256])
        #expect(cog.mask == nil)
        let count = mochi.ids.count
        for prompt in [ltx, mochi] {
            let mask = Golden.numbers(try #require(prompt.mask))
            #expect(mask[..<count].allSatisfy { $0 == 1 } && mask[count...].allSatisfy { $0 == 0 })
        }
        // Padding is encoded, and attended to, where the encoder gets no mask.
        #expect(cog.embedding.slice(count..<226).floats().contains { $0 != 0 })
        #expect(mochi.embedding.slice(count..<256).floats().allSatisfy { $0 == 0 })
        #expect(cog.embedding.slice(0..<count).floats() != mochi.embedding.slice(0..<count).floats())
    }

    @Test func theNamesOfWansOwnReleaseAreKnown() throws {
        let folder = Golden.path("text-encoders/umt5-4heads-dkv16")
        let file = try SafetensorsReader(folder + "/model.safetensors")
        let renamed = [
            "shared": "token_embedding", "encoder.final_layer_norm": "norm", "layer.0.layer_norm": "norm1",
            "layer.1.layer_norm": "norm2", "layer.0.SelfAttention.relative_attention_bias": "pos_embedding.embedding",
            "layer.0.SelfAttention": "attn", "layer.1.DenseReluDense.wi_0": "ffn.gate.0",
            "layer.1.DenseReluDense.wi_1": "ffn.fc1", "layer.1.DenseReluDense.wo": "ffn.fc2", "encoder.block": "blocks",
        ].sorted { $0.key.count > $1.key.count }
        var tensors: [String: Tensor] = [:]
        for name in file.names where name != "encoder.embed_tokens.weight" {
            let original = renamed.reduce(name) { $0.replacing($1.key, with: $1.value) }
            tensors[original] = try file.tensor(name)
        }
        let directory = try TemporaryDirectory()
        try SafetensorsWriter.write(tensors, to: directory.path("t5.safetensors"), existing: .refuse)
        let one = try TextModelFolder(directory.path("t5.safetensors"), tokenizer: "-").openEncoder().0
        let other = try TextModelFolder(folder, tokenizer: "-").openEncoder().0
        let ids: [[Int32]] = [[5, 9, 1], [7, 1]]
        let found = try [one, other].map { try $0.encode(ids, compute: Self.compute()) { _, _ in } }
        for (a, b) in zip(found[0], found[1]) { #expect(a.floats() == b.floats()) }
    }
}
