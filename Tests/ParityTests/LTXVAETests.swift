import Testing
import TestSupport
import VDiT

/// The LTX-Video VAE computes what diffusers computes, in all three layouts.
@Suite struct LTXVAETests {
    static let layouts = [
        "v090-plain-decoder", "v091-timestep-noise-injection", "v095-timestep-space-to-depth",
    ]

    static func vae(_ name: String, _ compute: ComputeContext, use: LTXVAE.Use = .both) throws -> LTXVAE {
        let folder = Golden.path("ltx-vae/\(name)")
        let config = try LTXVAEConfig(ConfigFile(path: folder + "/config.json"))
        let store = try WeightStore(folder)
        try store.check(config.tensors)
        return try LTXVAE(config: config, weights: store, use: use, compute: compute)
    }

    static func io(_ name: String) throws -> SafetensorsReader {
        try SafetensorsReader(Golden.path("ltx-vae/\(name)/io.safetensors"))
    }

    /// The decoder's own output is not limited; ours is what goes into a frame.
    private static func limited(_ video: Tensor) -> Tensor {
        Tensor(video.floats().map { min(max($0, -1), 1) }, shape: video.shape)
    }

    private static func noise(_ name: String, _ io: SafetensorsReader) throws -> DecodeNoise {
        let names = io.names.filter { $0.hasPrefix("\(name).inject_noise.") }.sorted()
        return .given(try names.map { try io.tensor($0) })
    }

    private static func decoded(
        _ vae: LTXVAE, _ io: SafetensorsReader, _ name: String, latents: String? = nil, together: Int = 2,
        trace: Trace? = nil
    ) throws -> Tensor {
        let timestep = io.info("decode.timestep") == nil ? 0 : Double(try io.tensor("decode.timestep").floats()[0])
        var frames: [Tensor] = []
        try vae.decode(
            denormalized: io.tensor("\(latents ?? name).input.latents")[0],
            timestep: name.hasSuffix("_t0") ? 0 : timestep, noise: noise(name, io), together: together, trace: trace
        ) { frames += $0 }
        return Tensor.clip(frames)
    }

    @Test(arguments: layouts, InstructionSet.supported)
    func decodedVideoIsTheReferences(_ name: String, _ set: InstructionSet) throws {
        let compute = ComputeContext(pool: WorkPool(threads: 2), instructionSet: set, precision: .fp32)
        let vae = try Self.vae(name, compute, use: .decoding)
        let io = try Self.io(name)
        let outputs = io.names.filter { $0.hasSuffix(".output.video") }.map { String($0.dropLast(13)) }
        // diffusers' own savings are not the same video.
        let cases = outputs.filter { !$0.hasPrefix("tiled") && !$0.hasPrefix("framewise") }
        #expect(cases.count >= 3)
        for golden in cases {
            let latents = golden.hasSuffix("_t0") ? String(golden.dropLast(3)) : golden
            let video = try Self.decoded(vae, io, golden, latents: latents)
            let expected = Self.limited(try io.tensor("\(golden).output.video")[0])
            #expect(video.shape == expected.shape)
            let error = Golden.difference(video, expected)
            #expect(error.relative < 2e-5 && error.maximum < 1e-4, "\(golden): \(error)")
        }
    }

    @Test(arguments: layouts)
    func intermediatesAreTheReferences(_ name: String) throws {
        let vae = try Self.vae(name, ComputeContext(threads: 2, precision: .fp32))
        let io = try Self.io(name)
        let trace = Trace()
        _ = try Self.decoded(vae, io, "decode2", trace: trace)
        // Where there is a longer clip, its first frames.
        let isPart = io.info("encode17.input.video") != nil
        let clip = try io.tensor(isPart ? "encode17.input.video" : "encode9.input.video")[0]
        let video = Tensor(.f32, [3, 9] + clip.shape.dropFirst(2))
        for channel in 0..<3 { video[channel].assign(clip[channel].slice(0..<9)) }
        _ = try vae.distribution(of: video, trace: trace)
        let traced = trace.recorded
        // Where a block ends is where its last stage does.
        let stages = Set(traced.keys.compactMap { $0.split(separator: "/").first.map(String.init) }).sorted()
        func stage(_ part: String, _ golden: String) -> String? {
            let path = "\(part).\(golden)"
            let ofBlock = stages.filter {
                $0.hasPrefix(path + ".resnets.") || $0 == "\(path).conv_out" || $0 == path
                    || $0.hasPrefix("\(path).downsamplers")
            }
            if golden.hasSuffix("upsampler") { return stages.first { $0.hasPrefix("\(path)s.0") } }
            if golden.hasSuffix("downsampler") { return stages.first { $0.hasPrefix("\(path)s.0") } }
            if let end = ofBlock.first(where: { $0.hasSuffix(".conv_out") }) { return end }
            if let end = ofBlock.first(where: { $0.contains(".downsamplers") }) { return end }
            return ofBlock.last ?? stages.first { $0 == path || $0 == "\(path).conv" }
        }
        var compared = 0
        for (part, prefix) in [("decoder", "decode2.mid."), ("encoder", "encode9.mid.")] {
            for info in io.tensors where info.name.hasPrefix(prefix) {
                let golden = String(info.name.dropFirst(prefix.count))
                if golden.contains("time_embedder") || golden == "conv_act" { continue }
                // The last level of 0.9.0 has no downsampler, though the reference names its place.
                guard let stage = stage(part, golden) else { continue }
                let expected = try io.tensor(info.name)[0]
                let frames = (0..<expected.shape[1]).compactMap { traced["\(stage)/\($0)"] }
                #expect(frames.count == expected.shape[1], "\(golden)")
                let found = Tensor(.f32, expected.shape)
                for (index, frame) in frames.enumerated() { found.setFrame(index, channelsLast: frame) }
                #expect(Golden.difference(found, expected).relative < 2e-5, "\(golden) at \(stage)")
                compared += 1
            }
        }
        #expect(compared >= 9)
    }

    /// However many frames enter at once, and on however many threads.
    @Test(arguments: layouts)
    func cuttingAClipChangesNothing(_ name: String) throws {
        let io = try Self.io(name)
        let golden = io.info("long_decode.input.latents") != nil
            ? "long_decode" : io.info("decode3.input.latents") != nil ? "decode3" : "decode2"
        var videos: [Tensor] = []
        for (threads, together) in [(1, 100), (2, 1), (3, 2), (2, 3)] {
            let vae = try Self.vae(name, ComputeContext(threads: threads, precision: .fp32), use: .decoding)
            videos.append(try Self.decoded(vae, io, golden, together: together))
        }
        for video in videos.dropFirst() { #expect(Golden.difference(video, videos[0]).relative < 5e-6) }
        #expect(videos[1].floats() == (try Self.decoded(
            Self.vae(name, ComputeContext(threads: 1, precision: .fp32)), io, golden, together: 1)).floats())
    }

    @Test(arguments: layouts, InstructionSet.supported)
    func encodedDistributionIsTheReferences(_ name: String, _ set: InstructionSet) throws {
        let compute = ComputeContext(pool: WorkPool(threads: 2), instructionSet: set, precision: .fp32)
        let vae = try Self.vae(name, compute, use: .encoding)
        let io = try Self.io(name)
        let cases = ["encode1", "encode9", "encode17"].filter { io.info("\($0).input.video") != nil }
        #expect(cases.count == 2)
        for golden in cases {
            let found = try vae.distribution(of: io.tensor("\(golden).input.video")[0])
            let mean = Golden.difference(found.mean, try io.tensor("\(golden).output.mean")[0])
            #expect(mean.relative < 2e-5, "\(golden)")
            let variance = Golden.difference(found.logVariance, try io.tensor("\(golden).output.logvar_clamped")[0])
            #expect(variance.relative < 2e-5, "\(golden)")
        }
    }

    @Test(arguments: layouts)
    func bf16IsClose(_ name: String) throws {
        let vae = try Self.vae(name, ComputeContext(threads: 2, precision: .bf16), use: .decoding)
        let io = try Self.io(name)
        let video = try Self.decoded(vae, io, "decode2")
        let expected = Self.limited(try io.tensor("decode2.output.video")[0])
        #expect(Golden.difference(video, expected).relative < 2e-2)
    }

    /// What a released VAE has, by the published counts of parameters.
    @Test func releasedSizesAreThePublishedOnes() {
        for (config, encoder, decoder) in [
            (LTXVAEConfig.plain, 180.4, 238.8), (.timed, 180.4, 754.6), (.folded, 694.1, 552.8),
        ] {
            func millions(_ part: String) -> Double {
                Double(config.tensors.filter { $0.name.hasPrefix(part) }.reduce(0) { $0 + $1.shape.reduce(1, *) }) / 1e6
            }
            #expect(abs(millions("encoder.") - encoder) < 0.06 && abs(millions("decoder.") - decoder) < 0.06)
        }
        #expect([LTXVAEConfig.plain, .timed, .folded].map { $0.tensors.count } == [190, 294, 226])
        let work = [LTXVAEConfig.plain, .timed, .folded].map {
            $0.decodeFLOPs(height: 512, width: 768, frames: 16) / 1e12
        }
        for (found, published) in zip(work, [41.5, 67.7, 60.2]) { #expect(abs(found - published) < 1) }
    }
}
