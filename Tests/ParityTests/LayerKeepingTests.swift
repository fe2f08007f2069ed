import Foundation
import TestSupport
import Testing
import VDiT

/// Blocks that are made anew in every call compute what packed ones do, and take the memory they are said to take.
@Suite struct LayerKeepingTests {
    private static let path = Golden.path("gguf/wan-q8_0/model.gguf")

    private func output(
        _ keeping: LayerKeeping, _ precision: Precision, of path: String = path, threads: Int = 2,
        adapter: String? = nil
    ) throws -> [[Float]] {
        var compute = try ComputeContext(threads: threads, precision: precision)
        compute.keeping = keeping
        let opened = try ModelCatalogue.openTransformer(path)
        var source: any WeightSource = opened.weights
        if let adapter {
            let laid = try Adapter(AdapterFile(adapter), for: opened.specification.adapterNames)
            source = AdaptedWeights(source, [(laid, 1)], compute)
        }
        let config = try #require(opened.specification as? WanTransformerConfig)
        let model = try CrossTransformer(config: config, weights: source, compute: compute)
        let io = try SafetensorsReader(Golden.path("gguf/wan-q8_0/io.safetensors"))
        // Twice: the second call meets what the first one left.
        return try (0..<2).map { _ in try WanTransformerTests.run(model, io, batch: 0, compute).0.floats() }
    }

    @Test(arguments: Precision.allCases)
    func blocksAsStoredComputeWhatPackedOnesDo(_ precision: Precision) throws {
        let packed = try output(.packed, precision)
        #expect(packed[0] == packed[1])
        for threads in [1, 2] { #expect(try output(.stored, precision, threads: threads) == packed) }
    }

    /// A file of an adapter that changes what runs in every call, and what only prompts need.
    private func adapter(of block: Int, in folder: TemporaryDirectory) throws -> String {
        var random = TorchRandom(seed: 3)
        let path = folder.path("lora.safetensors")
        try SafetensorsWriter.write(
            [
                "blocks.\(block).self_attn.q.lora_down.weight": random.normal([4, 64]),
                "blocks.\(block).self_attn.q.lora_up.weight": random.normal([64, 4]),
                "blocks.0.cross_attn.k.lora_down.weight": random.normal([4, 64]),
                "blocks.0.cross_attn.k.lora_up.weight": random.normal([64, 4]),
            ], to: path, existing: .refuse)
        return path
    }

    @Test func adaptersAreMergedInEveryCall() throws {
        let folder = try TemporaryDirectory()
        let lora = try adapter(of: 1, in: folder)
        let packed = try output(.packed, .bf16, adapter: lora)
        #expect(try output(.stored, .bf16, adapter: lora) == packed)
        #expect(try output(.packed, .bf16) != packed)
    }

    /// Keeping blocks in a type is what reading them from a file of that type is, adapters being added before blocks are
    /// made; of a file of bf16 to begin with, which is what a converted file has outside its blocks.
    @Test(arguments: [LayerKeeping.q8_0, .q5_0, .q4_0])
    func blocksKeptInATypeAreThoseOfAConvertedFile(_ keeping: LayerKeeping) throws {
        let folder = try TemporaryDirectory()
        try FileManager.default.copyItem(
            atPath: Golden.path("single-file/wan-comfy-prefix-fp16/model.safetensors"),
            toPath: folder.path("model.safetensors"))
        try FileManager.default.copyItem(
            atPath: Golden.path("single-file/wan-comfy-prefix-fp16/config.json"), toPath: folder.path("config.json"))
        var job = ConvertJob(ModelReference(folder.path("model.safetensors")), output: folder.path("bf16"))
        job.type = .bf16
        _ = try job.run()
        job = ConvertJob(ModelReference(folder.path("bf16")), output: folder.path("blocks.gguf"))
        let lora = try adapter(of: 0, in: folder)
        (job.type, job.adapters) = (keeping.type, [AdapterChoice(path: lora)])
        _ = try job.run()
        let kept = try output(keeping, .fp32, of: folder.path("bf16"), adapter: lora)
        #expect(try kept == output(.packed, .fp32, of: folder.path("blocks.gguf")))
        let full = Tensor(try output(.packed, .fp32, of: folder.path("bf16"), adapter: lora)[0])
        let error = Golden.difference(Tensor(kept[0]), full).relative
        let most = keeping == .q8_0 ? 0.01 : keeping == .q5_0 ? 0.06 : 0.12
        #expect(error > most / 20 && error < most)
    }

    @Test func whatIsKeptIsWhatIsEstimated() throws {
        let model = try #require(try ModelCatalogue.published().first { $0.name == "wan2.1-t2v-14b" })
        let transformer = model.specification.transformer
        func gigabytes(_ precision: Precision, _ keeping: LayerKeeping = .packed) -> Int {
            transformer.weightBytes(precision, keeping) / 100_000_000
        }
        #expect(gigabytes(.bf16) == 243 && gigabytes(.int8) == 130)
        // All blocks, three of them packed, and what is outside; without the blocks, which stay in their file.
        #expect(gigabytes(.bf16, .q8_0) == 171 && gigabytes(.bf16, .q4_0) == 101 && gigabytes(.bf16, .stored) == 22)
    }
}
