import Foundation
import Testing
import TestSupport
import VDiT

/// The Wan VAE computes what diffusers computes, with every instruction set this machine has.
@Suite struct WanVAETests {
    static let models = ["wan21-base6", "wan21-base4-1res-traced", "wan22-residual-base4-4"]

    static func vae(_ name: String, _ compute: ComputeContext) throws -> WanVAE {
        try WanVAE(directory: Golden.path("wan-vae/\(name)"), use: .both, compute: compute)
    }

    static func io(_ name: String) throws -> SafetensorsReader {
        try SafetensorsReader(Golden.path("wan-vae/\(name)/io.safetensors"))
    }

    static func cases(_ kind: String, _ io: SafetensorsReader) -> [String] {
        (1...13).map { "\(kind)\($0)" }.filter { name in
            io.tensors.contains { $0.name.hasPrefix(name + ".input") }
        }
    }

    @Test(arguments: models, InstructionSet.supported)
    func decodedVideoIsTheReferences(_ name: String, _ set: InstructionSet) throws {
        let compute = ComputeContext(pool: WorkPool(threads: 2), instructionSet: set, precision: .fp32)
        let vae = try Self.vae(name, compute)
        let io = try Self.io(name)
        let cases = Self.cases("decode", io)
        #expect(!cases.isEmpty)
        for golden in cases {
            let latents = try io.tensor("\(golden).input.normalized_latents")[0]
            let expected = try io.tensor("\(golden).output.video")[0]
            let video = try vae.decodedClip(latents)
            #expect(video.shape == expected.shape)
            let error = Golden.difference(video, expected)
            #expect(error.relative < 5e-6, "\(golden)")
            #expect(error.maximum < 5e-5, "\(golden)")
        }
    }

    @Test(arguments: [
        ("wan21-base6", VAETiling(tileHeight: 32, tileWidth: 40, strideHeight: 24, strideWidth: 24)),
        ("wan22-residual-base4-4", VAETiling(tileHeight: 48, tileWidth: 48, strideHeight: 32, strideWidth: 32)),
    ])
    func tiledDecodeBlendsLikeTheReference(_ name: String, _ tiling: VAETiling) throws {
        let vae = try Self.vae(name, ComputeContext(threads: 2, precision: .fp32))
        let io = try Self.io(name)
        let latents = try io.tensor("tiled_decode.input.denormalized_latents")[0].copy()
        for channel in 0..<vae.config.latentChannels {
            latents[channel].withMutableFloats { values in
                for index in values.indices {
                    values[index] =
                        (values[index] - vae.config.latentsMean[channel]) / vae.config.latentsStd[channel]
                }
            }
        }
        let expected = try io.tensor("tiled_decode.output.video")[0]
        var frames: [Tensor] = []
        try vae.decode(latents, tiling: tiling) { frames += $0 }
        let error = Golden.difference(Tensor.clip(frames), expected)
        #expect(error.relative < 5e-6)
        #expect(error.maximum < 5e-5)
    }

    @Test(arguments: models, InstructionSet.supported)
    func encodedLatentsAreTheReferences(_ name: String, _ set: InstructionSet) throws {
        let compute = ComputeContext(pool: WorkPool(threads: 2), instructionSet: set, precision: .fp32)
        let vae = try Self.vae(name, compute)
        let io = try Self.io(name)
        let cases = Self.cases("encode", io)
        #expect(!cases.isEmpty)
        for golden in cases {
            let latents = try vae.encode(io.tensor("\(golden).input.video")[0])
            let expected = try io.tensor("\(golden).output.normalized_mode")[0]
            #expect(latents.shape == expected.shape)
            let error = Golden.difference(latents, expected)
            #expect(error.relative < 5e-6, "\(golden)")
            #expect(error.maximum < 5e-5, "\(golden)")
        }
    }

    /// Golden intermediates are recorded chunk by chunk, ours frame by frame.
    @Test(arguments: [
        ("wan21-base4-1res-traced", "decode3", "upsamplers.0", [2, 2, 2]),
        ("wan22-residual-base4-4", "decode2", "upsampler", [3, 3, 3]),
    ])
    func everyStageOfADecodeIsTheReferences(
        _ name: String, _ golden: String, _ upsampler: String, _ blocks: [Int]
    ) throws {
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let io = try Self.io(name)
        let trace = Trace()
        try Self.vae(name, compute).decode(
            io.tensor("\(golden).input.normalized_latents")[0], trace: trace) { _ in }
        let ours = trace.recorded
        var stages = [
            "conv_in": "conv_in", "mid_block.resnets.0": "mid_block.resnets.0",
            "mid_block.attentions.0": "mid_block.attentions.0", "mid_block": "mid_block.resnets.1",
            "conv_out_before_clamp": "conv_out",
        ]
        for (level, count) in (blocks + [blocks[0]]).enumerated() {
            let last = "up_blocks.\(level).resnets.\(count - 1)"
            stages["up_blocks.\(level).before_upsampler"] = level < 3 ? last : nil
            stages["up_blocks.\(level)"] = level < 3 ? "up_blocks.\(level).\(upsampler).resample.1" : last
        }
        for (theirs, our) in stages {
            var compared = 0
            for chunk in 0..<3 {
                let key = "\(golden).mid.chunk\(chunk).\(theirs)"
                guard io.info(key) != nil else { continue }
                let expected = try io.tensor(key)[0]
                for frame in 0..<expected.shape[1] {
                    let found = try #require(ours["decoder.\(our)/\(compared)"], "\(our) \(compared)")
                    let planar = found.planarFrame()
                    let error = Golden.difference(planar, expected.frame(frame))
                    #expect(error.relative < 5e-6, "\(theirs) chunk \(chunk) frame \(frame)")
                    compared += 1
                }
            }
            #expect(compared > 0, "\(theirs)")
        }
    }

    @Test func everyStageOfAnEncodeIsTheReferences() throws {
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let name = "wan21-base4-1res-traced"
        let io = try Self.io(name)
        let trace = Trace()
        _ = try Self.vae(name, compute).encode(io.tensor("encode9.input.video")[0], trace: trace)
        let ours = trace.recorded
        let stages = [
            "conv_in": "conv_in", "down_blocks.0": "down_blocks.0", "down_blocks.1": "down_blocks.1.resample.1",
            "down_blocks.2": "down_blocks.2", "down_blocks.3": "down_blocks.3.time_conv",
            "down_blocks.4": "down_blocks.4", "down_blocks.5": "down_blocks.5.time_conv",
            "down_blocks.6": "down_blocks.6", "mid_block": "mid_block.resnets.1", "conv_out": "conv_out",
        ]
        for (theirs, our) in stages {
            var compared = 0
            for chunk in 0..<3 {
                let expected = try io.tensor("encode9.mid.chunk\(chunk).\(theirs)")[0]
                for frame in 0..<expected.shape[1] {
                    let found = try #require(ours["encoder.\(our)/\(compared)"], "\(our) \(compared)")
                    let error = Golden.difference(found.planarFrame(), expected.frame(frame))
                    #expect(error.relative < 5e-6, "\(theirs) chunk \(chunk) frame \(frame)")
                    compared += 1
                }
            }
        }
    }

    @Test(arguments: [
        (Precision.fp32, 70.0, "08-pink-heart-grows-160x96-17f-12steps-unipc"),
        (Precision.bf16, 50.0, "08-pink-heart-grows-160x96-17f-12steps-unipc"),
        (Precision.fp32, 70.0, "01-red-ball-right-320x192-17f-12steps-unipc"),
        (Precision.bf16, 50.0, "01-red-ball-right-320x192-17f-12steps-unipc"),
    ])
    func theSampleModelsFramesAreTheReferences(
        _ precision: Precision, _ decibel: Double, _ run: String
    ) throws {
        let compute = try ComputeContext(threads: 2, precision: precision)
        let vae = try WanVAE(directory: Golden.sample("wan-mini/vae"), compute: compute)
        let reference = try SafetensorsReader(Golden.sample("wan-mini/reference/\(run).safetensors"))
        let latents = try reference.tensor("latents")
        let video = try vae.decodedClip(
            (latents.rank == 5 ? latents[0] : latents).converted(to: .f32))
        let frames = try reference.tensor("frames_uint8")
        let indices = Golden.numbers(try reference.tensor("frame_index")).map { Int($0) }
        let (height, width) = (video.shape[2], video.shape[3])
        let values = video.floats()
        let bytes = frames.withBytes { Array($0) }
        var squares = 0.0
        for (place, frame) in indices.enumerated() {
            for pixel in 0..<height * width {
                for channel in 0..<3 {
                    let value = values[(channel * video.shape[1] + frame) * height * width + pixel]
                    let ours = ((value + 1) * 127.5).rounded(.toNearestOrEven)
                    let difference =
                        Double(ours) - Double(bytes[(place * height * width + pixel) * 3 + channel])
                    squares += difference * difference
                }
            }
        }
        let mean = squares / Double(indices.count * height * width * 3)
        let psnr = mean == 0 ? 200 : 10 * log10(255 * 255 / mean)
        #expect(psnr > decibel, "\(psnr) dB")
    }
}

extension WanVAE {
    /// The whole clip, `[3, frames, height, width]`.
    func decodedClip(_ latents: Tensor) throws -> Tensor {
        var frames: [Tensor] = []
        try decode(latents) { frames += $0 }
        return Tensor.clip(frames)
    }
}

extension Tensor {
    /// Frames `[height, width, channels]` as one clip `[channels, frames, height, width]`.
    static func clip(_ frames: [Tensor]) -> Tensor {
        let shape = frames[0].shape
        let clip = Tensor(.f32, [shape[2], frames.count, shape[0], shape[1]])
        for (number, frame) in frames.enumerated() { clip.setFrame(number, channelsLast: frame) }
        return clip
    }

    /// Frame `index` of `[channels, frames, height, width]`.
    fileprivate func frame(_ index: Int) -> Tensor {
        let frame = Tensor(.f32, [shape[0], shape[2], shape[3]])
        for channel in 0..<shape[0] { frame[channel].assign(self[channel][index]) }
        return frame
    }

    /// `[height, width, channels]` as `[channels, height, width]`.
    fileprivate func planarFrame() -> Tensor {
        let (height, width, channels) = (shape[0], shape[1], shape[2])
        let values = floats()
        var planar = [Float](repeating: 0, count: values.count)
        for pixel in 0..<height * width {
            for channel in 0..<channels {
                planar[channel * height * width + pixel] = values[pixel * channels + channel]
            }
        }
        return Tensor(planar, shape: [channels, height, width])
    }
}
