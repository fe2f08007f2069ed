import Testing
import TestSupport
import VDiT

/// The VAEs of CogVideoX, HunyuanVideo and Mochi compute what diffusers computes.
@Suite struct StagedVAETests {
    static let names = StagedVAEGolden.names

    private static func expect(
        _ found: Tensor, _ io: SafetensorsReader, _ name: String, isLimited: Bool = false
    ) throws {
        var expected = try io.tensor(name)[0]
        #expect(found.shape == expected.shape, "\(name)")
        // Decoders' own output is not limited; ours is what goes into a frame.
        if isLimited { expected = Tensor(expected.floats().map { min(max($0, -1), 1) }, shape: expected.shape) }
        let error = Golden.difference(found, expected)
        #expect(error.relative < 2e-5 && error.maximum < 1e-4, "\(name): \(error)")
    }

    @Test(arguments: names, InstructionSet.supported)
    func decodedVideoIsTheReferences(_ name: String, _ set: InstructionSet) throws {
        let golden = try StagedVAEGolden(name)
        let decoder = try golden.decoder(
            ComputeContext(pool: WorkPool(threads: 2), instructionSet: set, precision: .fp32))
        let io = try golden.io
        let cases = io.names.filter { $0.hasSuffix(".output.video") && !$0.hasPrefix("tiled") }
        #expect(cases.count >= 2)
        for output in cases {
            let latents = try golden.normalized(io.tensor(output.replacing(".output.video", with: ".input.latents"))[0])
            var frames: [Tensor] = []
            try decoder.decode(latents) { frames += $0 }
            try Self.expect(Tensor.clip(frames), io, output, isLimited: true)
        }
    }

    @Test(arguments: names)
    func tilesBlendLikeTheReferences(_ name: String) throws {
        let golden = try StagedVAEGolden(name)
        let io = try golden.io
        let latents = try golden.normalized(io.tensor("tiled_decode.input.latents")[0])
        var frames: [Tensor] = []
        try golden.decoder(ComputeContext(threads: 2, precision: .fp32)).decode(latents, tiling: golden.tiling) {
            frames += $0
        }
        try Self.expect(Tensor.clip(frames), io, "tiled_decode.output.video", isLimited: true)
    }

    @Test(arguments: names.filter { !$0.contains("mochi") }, InstructionSet.supported)
    func encodedDistributionIsTheReferences(_ name: String, _ set: InstructionSet) throws {
        let golden = try StagedVAEGolden(name)
        let encoder = try golden.encoder(
            ComputeContext(pool: WorkPool(threads: 2), instructionSet: set, precision: .fp32))
        let io = try golden.io
        let cases = io.names.filter { $0.hasSuffix(".input.video") }.map { String($0.dropLast(12)) }
        #expect(cases.count >= 2)
        for part in cases {
            let found = try encoder.distribution(of: io.tensor("\(part).input.video")[0])
            try Self.expect(found.mean, io, "\(part).output.mean")
            try Self.expect(found.logVariance, io, "\(part).output.logvar_clamped")
        }
    }

    /// Golden intermediates are of a whole clip, ours frame by frame.
    @Test(arguments: names)
    func intermediatesAreTheReferences(_ name: String) throws {
        let golden = try StagedVAEGolden(name)
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let io = try golden.io
        let trace = Trace()
        try golden.decoder(compute).decode(
            golden.normalized(io.tensor("decode3.input.latents")[0]), tiling: nil, trace: trace
        ) { _ in }
        if !name.contains("mochi") {
            _ = try golden.encoder(compute).distribution(of: io.tensor("encode9.input.video")[0], trace: trace)
        }
        let traced = trace.recorded
        let stages = Set(traced.keys.compactMap { $0.split(separator: "/").first.map(String.init) })
        var compared = 0
        for tensor in io.names where tensor.contains(".mid.") && !tensor.hasPrefix("encode7") {
            let path = tensor.split(separator: ".", maxSplits: 2)[2]
            // Where a block ends is where its last stage does.
            let ends = [
                "", ".conv", ".repeat", ".upsamplers.0.conv.conv", ".downsamplers.0.conv.conv", ".downsamplers.0.conv",
                ".proj",
            ]
            let stage = ends.map { path + $0 }.first(where: stages.contains)
                ?? stages.filter { $0.hasPrefix(path + ".resnets.") || $0.hasPrefix(path + ".upsamplers.") }.max()
            let name = try #require(stage, "\(tensor)")
            let expected = try io.tensor(tensor)[0]
            let frames = (0..<expected.shape[1]).compactMap { traced["\(name)/\($0)"] }
            #expect(frames.count == expected.shape[1] && traced["\(name)/\(frames.count)"] == nil, "\(tensor)")
            let error = Golden.difference(Tensor.clip(frames), expected)
            #expect(error.relative < 2e-5, "\(tensor) at \(name): \(error)")
            compared += 1
        }
        #expect(compared >= 5)
    }

    @Test(arguments: names)
    func bf16IsClose(_ name: String) throws {
        let golden = try StagedVAEGolden(name)
        let io = try golden.io
        var frames: [Tensor] = []
        try golden.decoder(ComputeContext(threads: 2, precision: .bf16)).decode(
            golden.normalized(io.tensor("decode3.input.latents")[0])
        ) { frames += $0 }
        let expected = try io.tensor("decode3.output.video")[0]
        let limited = Tensor(expected.floats().map { min(max($0, -1), 1) }, shape: expected.shape)
        #expect(Golden.difference(Tensor.clip(frames), limited).relative < 3e-2)
    }

    /// What a released VAE has, by the published counts of parameters.
    @Test func releasedSizesAreThePublishedOnes() {
        let released: [(any DecoderSpecification, encoder: Double, decoder: Double)] = [
            (CogVideoXVAEConfig.small, 92.2, 123.4), (HunyuanVideoVAEConfig.released, 100.3, 146.1),
            (MochiVAEConfig.released, 97.2, 362.5),
        ]
        for (config, encoder, decoder) in released {
            func millions(_ part: String) -> Double {
                Double(config.tensors.filter { $0.name.hasPrefix(part) }.reduce(0) { $0 + $1.shape.reduce(1, *) }) / 1e6
            }
            #expect(abs(millions("encoder.") - encoder) < 0.06, "\(config.summary) \(millions("encoder."))")
            #expect(abs(millions("decoder.") - decoder) < 0.06, "\(config.summary) \(millions("decoder."))")
        }
        #expect([released[0].0, released[2].0].map { $0.tensors.count } == [436, 437])
        // Of whole clips: 49×480×720, 61×544×960, 163×480×848.
        let work = [
            released[0].0.decodeFLOPs(height: 480, width: 720, frames: 13),
            released[2].0.decodeFLOPs(height: 480, width: 848, frames: 28),
        ]
        for (found, published) in zip(work, [315e12, 1081e12]) { #expect(abs(found / published - 1) < 0.03) }
        // Six latent frames are pieces of five and three, seven of five and four; tiles overlap.
        let pieces = [3, 4, 6, 7].map { released[1].0.decodeFLOPs(height: 256, width: 256, frames: $0) }
        #expect(abs((pieces[2] - pieces[0]) / (pieces[3] - pieces[1]) - 1) < 1e-9)
        #expect(released[1].0.decodeFLOPs(height: 256, width: 448, frames: 3) > 1.9 * pieces[0])
    }
}
