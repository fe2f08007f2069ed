import Foundation
import TestSupport
import Testing
import VDiT

/// A checkpoint with the layers of a sparse attention it was trained with, from its file to the video.
@Suite struct TrainedSparseAttentionTests {
    /// Gives `TinyModel` the layers in some blocks, all if nil: weights zero and `bias` in all of them.
    static func add(
        _ trained: TrainedAttention, in folder: TemporaryDirectory, bias: Float, blocks: Range<Int>? = nil
    ) throws {
        let config = try WanTransformerConfig(ConfigFile(path: folder.path("model/transformer/config.json")))
        let path = folder.path("model/transformer/diffusion_pytorch_model.safetensors")
        let file = try SafetensorsReader(path)
        var tensors = Dictionary(uniqueKeysWithValues: try file.names.map { ($0, try file.tensor($0).copy()) })
        let width = trained == .gates ? config.heads * config.headDim : config.headDim
        for block in blocks ?? 0..<config.layers {
            let layer = "blocks.\(block).\(trained == .gates ? "to_gate_compress" : "attn1.attn_impl.proj_l")"
            tensors["\(layer).weight"] = Tensor(.f32, [width, width])
            tensors["\(layer).bias"] = Tensor(Array(repeating: bias, count: width))
        }
        try SafetensorsWriter.write(tensors, metadata: [:], to: path, existing: .replace)
    }

    static func render(_ folder: TemporaryDirectory, _ name: String, _ arguments: [String]) throws -> CommandRun.Result {
        try CommandRun.run(
            [
                "render", "--model", folder.path("model"), "--prompt-embedding", folder.path("a.safetensors"),
                "--size", "96x64", "--num-frames", "9", "--steps", "3", "--seed", "1", "--precision", "fp32",
                "--save-latents", folder.path("\(name).s"), "-o", folder.path("\(name).gif"),
            ] + arguments)
    }

    static func latents(_ folder: TemporaryDirectory, _ name: String) throws -> Tensor {
        let file = try SafetensorsReader(folder.path("\(name).s"))
        return try file.tensor(file.names[0])
    }

    @Test func withoutGatesItIsRefusedInASentence() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        let run = try Self.render(folder, "a", ["--sparse", "vsa"])
        #expect(run.status == 69 && run.lines.count == 1, "\(run.errors)")
        #expect(run.errors.contains("vsa: found a checkpoint without its gates, expected one that was trained with it"))
        let map = try CommandRun.run([
            "attention-map", "--model", folder.path("model"), "--prompt-embedding", folder.path("a.safetensors"),
            "--size", "64x64", "--sparse", "vsa", "-o", folder.path("map.png"),
        ].filter { $0 != "--size" && $0 != "64x64" } + ["-H", "64", "-W", "64", "--frames", "9"])
        #expect(map.status == 69, "\(map.errors)")
    }

    @Test func denseLeavesTheGatesOutAndSaysSo() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        #expect(try Self.render(folder, "plain", []).status == 0)
        try Self.add(.gates, in: folder, bias: 1)
        let dense = try Self.render(folder, "dense", [])
        #expect(dense.status == 0 && dense.errors.contains("gates of its trained sparse attention are left out"))
        #expect(try Self.latents(folder, "dense").floats() == Self.latents(folder, "plain").floats())
    }

    @Test func gatesReachTheirLayers() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        try Self.add(.gates, in: folder, bias: 0)
        #expect(try Self.render(folder, "dense", []).status == 0)
        // All tiles and gates of zero are dense attention in another order.
        let none = try Self.render(folder, "none", ["--sparse", "vsa", "--sparse-option", "sparsity=0"])
        #expect(none.status == 0 && !none.errors.contains("left out"), "\(none.errors)")
        #expect(
            try Golden.difference(Self.latents(folder, "none"), Self.latents(folder, "dense")).relative < 1e-4)
        try Self.add(.gates, in: folder, bias: 1)
        let gated = try Self.render(folder, "gated", ["--sparse", "vsa"])
        #expect(gated.status == 0, "\(gated.errors)")
        #expect(
            try Golden.difference(Self.latents(folder, "gated"), Self.latents(folder, "dense")).relative > 1e-3)
        let record = try RunRecord(path: folder.path("gated.gif.json"))
        #expect(record.attention?.method == "vsa" && record.attention?.densityMean ?? 1 < 1)
    }

    @Test func withoutProjectionsItIsRefusedByTheirName() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        let run = try Self.render(folder, "a", ["--sparse", "sla"])
        #expect(run.status == 69 && run.lines.count == 1, "\(run.errors)")
        #expect(run.errors.contains("sla: found a checkpoint without its projections, expected one that was trained"))
        #expect(run.errors.contains("blocks.N.attn1.attn_impl.proj_l"))
        try Self.add(.projections, in: folder, bias: 1, blocks: 1..<2)
        let some = try Self.render(folder, "a", ["--sparse", "sla"])
        #expect(some.status == 65 && some.lines.count == 1, "\(some.errors)")
        #expect(some.errors.contains("blocks.0.attn1.attn_impl.proj_l.weight"), "\(some.errors)")
    }

    @Test func projectionsReachTheirLayersOrAreLeftOutAloud() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        #expect(try Self.render(folder, "plain", []).status == 0)
        try Self.add(.projections, in: folder, bias: 0)
        for method in ["dense", "radial"] {
            let other = try Self.render(folder, method, ["--sparse", method])
            #expect(other.status == 0, "\(other.errors)")
            #expect(
                other.errors.contains("the projections of its trained sparse attention are left out")
                    && other.errors.contains("'sparse sla' runs it"))
        }
        let dense = try Self.latents(folder, "dense")
        #expect(try dense.floats() == Self.latents(folder, "plain").floats())
        // A layer of zeros adds nothing to all blocks.
        let none = try Self.render(folder, "none", ["--sparse", "sla", "--sparse-option", "kept=1"])
        #expect(none.status == 0 && !none.errors.contains("left out"), "\(none.errors)")
        #expect(try Golden.difference(Self.latents(folder, "none"), dense).relative < 1e-4)
        try Self.add(.projections, in: folder, bias: 1)
        let added = try Self.render(folder, "added", ["--sparse", "sla", "--sparse-option", "kept=1"])
        #expect(added.status == 0, "\(added.errors)")
        #expect(try Golden.difference(Self.latents(folder, "added"), dense).relative > 1e-3)
        #expect(try RunRecord(path: folder.path("added.gif.json")).attention?.method == "sla")
    }

    /// TurboDiffusion has the names of Wan's authors.
    @Test func projectionsAreFoundByTheirAuthorsName() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        try Self.add(.projections, in: folder, bias: 1)
        let path = folder.path("model/transformer/diffusion_pytorch_model.safetensors")
        let file = try SafetensorsReader(path)
        let tensors = try file.names.map { name in
            (
                name.replacing("attn1.attn_impl.proj_l", with: "self_attn.attn_op.local_attn.proj_l"),
                try file.tensor(name).copy()
            )
        }
        let single = folder.path("model/transformer/turbo.safetensors")
        try SafetensorsWriter.write(
            Dictionary(uniqueKeysWithValues: tensors), metadata: [:], to: single, existing: .refuse)
        let opened = try ModelCatalogue.openTransformer(single)
        #expect(opened.specification.trained == .projections)
        #expect(opened.weights.contains("blocks.1.attn1.attn_impl.proj_l.bias"))
    }

    /// A gate is `to_gate_compress` of what q, k and v are made of.
    @Test func aGateIsTheProductOfTheModulatedInput() throws {
        let base = try WanTransformerConfig(
            ConfigFile(path: Golden.path("wan-transformer/t2v-2heads-dim64/config.json")))
        let config = base.matching(RandomWeights([("blocks.0.to_gate_compress.weight", [1, 1])], seed: 0))
        #expect(config.trained == .gates && base.trained == nil)
        let weights = RandomWeights(config.tensors, seed: 3)
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let model = try CrossTransformer(config: config, weights: weights, compute: compute)
        let prepared = try model.prepare(Conditioning(prompt: Tensor(.f32, [4, config.textDim])))
        var random = TorchRandom(seed: 1)
        let trace = Trace()
        var gates: [Tensor] = []
        func run(_ trained: TrainedAttention?) throws {
            var pass = ForwardPass(timesteps: [500]) { call in
                if let gate = call.gate { gates.append(gate.copy()) }
                return blockSparseAttention(call, .dense(tokens: call.tokens), values: call.q.dtype)
            }
            pass.trained = trained
            if trained != nil { pass.trace = trace }
            _ = try model.predict(random.normal([config.inChannels, 2, 4, 6], .f32), conditioning: prepared, pass)
        }
        try run(nil)
        #expect(gates.isEmpty)
        try run(.gates)
        #expect(gates.count == config.layers)
        for (block, gate) in gates.enumerated() {
            let input = try #require(trace.recorded["block\(block).attn1.in_modulated"])
            let weight = try weights.tensor("blocks.\(block).to_gate_compress.weight").converted(to: .f32)
            let bias = try weights.tensor("blocks.\(block).to_gate_compress.bias").converted(to: .f32).floats()
            let (x, w, found) = (input.floats(), weight.floats(), gate.floats())
            let width = bias.count
            var worst: Float = 0
            for row in 0..<x.count / width {
                for column in 0..<width {
                    var sum = bias[column]
                    for i in 0..<width { sum += x[row * width + i] * w[column * width + i] }
                    worst = max(worst, abs(sum - found[row * width + column]))
                }
            }
            #expect(worst < 1e-4, "block \(block)")
        }
    }
}
