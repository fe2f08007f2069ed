import Foundation
import TestSupport
import Testing
import VDiT

/// A checkpoint with the gates of video sparse attention, from its file to the video.
@Suite struct TrainedSparseAttentionTests {
    /// Gives `TinyModel` gates: weights zero and `bias` in all of them.
    static func addGates(in folder: TemporaryDirectory, bias: Float) throws {
        let config = try WanTransformerConfig(ConfigFile(path: folder.path("model/transformer/config.json")))
        let path = folder.path("model/transformer/diffusion_pytorch_model.safetensors")
        let file = try SafetensorsReader(path)
        var tensors = Dictionary(uniqueKeysWithValues: try file.names.map { ($0, try file.tensor($0).copy()) })
        let width = config.heads * config.headDim
        for block in 0..<config.layers {
            tensors["blocks.\(block).to_gate_compress.weight"] = Tensor(.f32, [width, width])
            tensors["blocks.\(block).to_gate_compress.bias"] = Tensor(Array(repeating: bias, count: width))
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
        try Self.addGates(in: folder, bias: 1)
        let dense = try Self.render(folder, "dense", [])
        #expect(dense.status == 0 && dense.errors.contains("gates of its trained sparse attention are left out"))
        #expect(try Self.latents(folder, "dense").floats() == Self.latents(folder, "plain").floats())
    }

    @Test func gatesReachTheirLayers() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        try Self.addGates(in: folder, bias: 0)
        #expect(try Self.render(folder, "dense", []).status == 0)
        // All tiles and gates of zero are dense attention in another order.
        let none = try Self.render(folder, "none", ["--sparse", "vsa", "--sparse-option", "sparsity=0"])
        #expect(none.status == 0 && !none.errors.contains("left out"), "\(none.errors)")
        #expect(
            try Golden.difference(Self.latents(folder, "none"), Self.latents(folder, "dense")).relative < 1e-4)
        try Self.addGates(in: folder, bias: 1)
        let gated = try Self.render(folder, "gated", ["--sparse", "vsa"])
        #expect(gated.status == 0, "\(gated.errors)")
        #expect(
            try Golden.difference(Self.latents(folder, "gated"), Self.latents(folder, "dense")).relative > 1e-3)
        let record = try RunRecord(path: folder.path("gated.gif.json"))
        #expect(record.attention?.method == "vsa" && record.attention?.densityMean ?? 1 < 1)
    }

    /// A gate is `to_gate_compress` of what q, k and v are made of.
    @Test func aGateIsTheProductOfTheModulatedInput() throws {
        let base = try WanTransformerConfig(
            ConfigFile(path: Golden.path("wan-transformer/t2v-2heads-dim64/config.json")))
        let config = base.matching(RandomWeights([("blocks.0.to_gate_compress.weight", [1, 1])], seed: 0))
        #expect(config.hasGates && !base.hasGates)
        let weights = RandomWeights(config.tensors, seed: 3)
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let model = try CrossTransformer(config: config, weights: weights, compute: compute)
        let prepared = try model.prepare(Conditioning(prompt: Tensor(.f32, [4, config.textDim])))
        var random = TorchRandom(seed: 1)
        let trace = Trace()
        var gates: [Tensor] = []
        func run(takesGates: Bool) throws {
            var pass = ForwardPass(timesteps: [500]) { call in
                if let gate = call.gate { gates.append(gate.copy()) }
                return blockSparseAttention(call, .dense(tokens: call.tokens), values: call.q.dtype)
            }
            pass.takesGates = takesGates
            if takesGates { pass.trace = trace }
            _ = try model.predict(random.normal([config.inChannels, 2, 4, 6], .f32), conditioning: prepared, pass)
        }
        try run(takesGates: false)
        #expect(gates.isEmpty)
        try run(takesGates: true)
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
