import Foundation
import TestSupport
import Testing
import VDiT

/// A model is the same model in every form it is written in.
@Suite struct ConvertTests {
    let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    /// A transformer of the fixtures and its configuration, as files of their own.
    private func copy(_ name: String) throws -> String {
        let source = Golden.path(name)
        let golden = (source as NSString).deletingLastPathComponent
        let path = folder.path((name as NSString).lastPathComponent)
        try FileManager.default.copyItem(atPath: source, toPath: path)
        try FileManager.default.copyItem(atPath: golden + "/config.json", toPath: folder.path("config.json"))
        return path
    }

    @Test(arguments: [
        "single-file/wan-comfy-prefix-fp16/model.safetensors", "gguf/wan-q8_0/model.gguf", "gguf/wan-mixed/model.gguf",
        "fp8/lightx2v-int8-per-channel/model.safetensors",
    ])
    func aTransformerIsTheSameInEveryForm(_ name: String) throws {
        let path = try copy(name)
        let original = try ModelCatalogue.openTransformer(path)
        // A diffusers folder of small shards, then GGUF of that, then a folder of that.
        var job = ConvertJob(ModelReference(path), output: folder.path("sharded"))
        (job.type, job.shardBytes) = (.f32, 1 << 16)
        _ = try job.run()
        let sharded = try ModelCatalogue.openTransformer(folder.path("sharded"))
        #expect(sharded.weights.files.count > 3)
        job = ConvertJob(ModelReference(folder.path("sharded")), output: folder.path("f32.gguf"))
        job.type = .f32
        _ = try job.run()
        let gguf = try ModelCatalogue.openTransformer(folder.path("f32.gguf"))
        _ = try ConvertJob(ModelReference(folder.path("f32.gguf")), output: folder.path("again")).run()
        let again = try ModelCatalogue.openTransformer(folder.path("again"))
        _ = try ConvertJob(ModelReference(folder.path("again")), output: folder.path("one.safetensors")).run()
        let one = try ModelCatalogue.openTransformer(folder.path("one.safetensors"))
        for other in [sharded, gguf, again, one] {
            #expect(other.specification as? WanTransformerConfig == original.specification as? WanTransformerConfig)
            #expect(other.weights.names == original.weights.names)
            for name in original.weights.names {
                let (a, b) = (try original.weights.tensor(name), try other.weights.tensor(name))
                #expect(a.shape == b.shape && a.floats() == b.floats(), "\(name)")
            }
        }
        for file in ["f32.gguf", "one.safetensors"] {
            let store = try WeightStore(folder.path(file))
            #expect(store.contains("blocks.0.self_attn.q.weight") && store.contains("head.modulation"))
        }
    }

    @Test func whatIsNotToldStaysInItsTypeAndLessThanSixteenBitsBecomeBF16() throws {
        let path = try copy("gguf/wan-q8_0/model.gguf")
        _ = try ConvertJob(ModelReference(path), output: folder.path("out")).run()
        let (from, to) = (
            try ModelCatalogue.openTransformer(path).weights, try ModelCatalogue.openTransformer(folder.path("out")).weights
        )
        for name in from.names {
            let stored = from.info(name)?.dtypeName
            #expect(to.info(name)?.dtypeName == (stored == "Q8_0" ? "BF16" : stored), "\(name)")
            #expect(try to.tensor(name).floats() == from.tensor(name).converted(to: to.tensor(name).dtype).floats())
        }
    }

    @Test func blocksOfQ8HoldTheirValuesWithinHalfAStep() throws {
        let path = try copy("single-file/wan-comfy-prefix-fp16/model.safetensors")
        _ = try ConvertJob(ModelReference(path), output: folder.path("model.gguf")).run()
        let (from, to) = (
            try ModelCatalogue.openTransformer(path).weights,
            try ModelCatalogue.openTransformer(folder.path("model.gguf")).weights
        )
        var blocks = 0
        for name in from.names {
            let (a, b) = (try from.tensor(name).floats(), try to.tensor(name).floats())
            guard to.info(name)?.dtypeName == "Q8_0" else { continue }
            blocks += 1
            for start in stride(from: 0, to: a.count, by: 32) {
                let largest = a[start..<start + 32].map(abs).max() ?? 0
                // Half a step, and the scale's own rounding to fp16.
                let allowed = largest / 127 * 0.5 + largest / 1024
                for index in start..<start + 32 { #expect(abs(a[index] - b[index]) <= allowed) }
            }
            // What is in such blocks already stays as it is.
            let again = try StoredType.q8_0.stored(to.tensor(name), name: name)
            #expect(try again.withBytes(Array.init) == to.bytes(name).withBytes(Array.init), "\(name)")
        }
        #expect(blocks == 10)
        #expect(throws: TensorError.self) {
            try StoredType.q8_0.stored(Tensor([Float](repeating: 1e9, count: 32)), name: "x")
        }
        #expect(throws: TensorError.self) { try StoredType.f16.stored(Tensor([Float(1e9)]), name: "x") }
    }

    /// An adapter is added to what blocks stand for, and the sum put into blocks once.
    @Test func anAdapterIsMergedBeforeBlocksAreMade() throws {
        let path = try copy("gguf/wan-q8_0/model.gguf")
        var random = TorchRandom(seed: 3)
        let lora = folder.path("lora.safetensors")
        try SafetensorsWriter.write(
            [
                "blocks.0.self_attn.q.lora_down.weight": random.normal([4, 64]),
                "blocks.0.self_attn.q.lora_up.weight": random.normal([64, 4]),
            ], to: lora, existing: .refuse)
        var job = ConvertJob(ModelReference(path), output: folder.path("merged.gguf"))
        job.adapters = [AdapterChoice(path: lora, strength: 0.25)]
        _ = try job.run()
        let opened = try ModelCatalogue.openTransformer(path)
        let merged = try ModelCatalogue.openTransformer(folder.path("merged.gguf")).weights
        let compute = try ComputeContext(threads: 1, precision: .fp32)
        let adapter = try Adapter(AdapterFile(lora), for: opened.specification.adapterNames)
        let sums = AdaptedWeights(opened.weights, [(adapter, 0.25)], compute)
        var changed = 0
        for name in opened.weights.names {
            let (before, after) = (try opened.weights.tensor(name), try merged.tensor(name))
            guard name == "blocks.0.attn1.to_q.weight" else {
                // What is in no block was rounded to 16 bits.
                #expect(before.converted(to: after.dtype).floats() == after.floats(), "\(name)")
                continue
            }
            changed += 1
            #expect(before.floats() != after.floats())
            let expected = try StoredType.q8_0.stored(sums.tensor(name), name: name)
            #expect(try merged.bytes(name).withBytes(Array.init) == expected.withBytes(Array.init))
        }
        #expect(changed == 1)
    }

    @Test func nothingIsWrittenOverOrHalf() throws {
        let path = try copy("gguf/wan-q8_0/model.gguf")
        try folder.write("x", "taken/file")
        #expect(throws: FileError.self) { try ConvertJob(ModelReference(path), output: folder.path("taken")).run() }
        #expect(throws: FileError.self) { try ConvertJob(ModelReference(path), output: path).run() }
        var job = ConvertJob(ModelReference(path), output: folder.path("q8"))
        job.type = .q8_0
        for output in ["q8", "q8.safetensors"] {
            job.output = folder.path(output)
            #expect(throws: PipelineError.self) { try job.run() }
        }
        let stop = StopFlag()
        stop.requestStop()
        for output in ["half", "half.gguf", "half.safetensors"] {
            #expect(throws: PipelineError.self) {
                try ConvertJob(ModelReference(path), output: folder.path(output)).run(stop: stop)
            }
        }
        #expect(folder.contents == ["config.json", "model.gguf", "taken"])
    }
}
