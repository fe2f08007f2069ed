import Foundation
import TestSupport
import Testing
import VDiT

/// Configurations of the VAEs of CogVideoX, HunyuanVideo and Mochi that cannot be served are refused by the key at
/// fault, as is input that does not fit.
struct StagedVAEBadInputTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func file(_ golden: String, _ key: String, _ value: Any?) throws -> ConfigFile {
        try ConfigFile(golden: golden, key, value, in: folder)
    }

    private func refused(
        _ golden: String, _ mistakes: [(String, Any)], _ read: (ConfigFile) throws -> any DecoderSpecification
    ) throws {
        for (key, value) in mistakes {
            let error = try #require(throws: FileError.self, "\(key) \(value)") { try read(file(golden, key, value)) }
            #expect("\(error)".contains(key) && !"\(error)".contains("\n"), "\(error)")
        }
    }

    @Test func cogVideoXNamesTheKey() throws {
        try refused(
            "cogvideox-vae/conv-cache-spatial-norm",
            [
                ("_class_name", "AutoencoderKL"), ("in_channels", 4), ("norm_eps", 1e-5), ("use_quant_conv", true),
                ("use_post_quant_conv", true), ("act_fn", "gelu"), ("latents_mean", [0.5]), ("shift_factor", 0.1),
                ("latent_channels", 0), ("block_out_channels", []), ("block_out_channels", [8, 2.5]),
                ("down_block_types", ["CogVideoXDownBlock3D"]), ("up_block_types", ["UpBlock3D"]),
                ("layers_per_block", 1e9), ("norm_num_groups", 3), ("temporal_compression_ratio", 3),
                ("temporal_compression_ratio", 16), ("scaling_factor", 0), ("scaling_factor", "0.7"),
                ("invert_scale_latents", 1),
            ]
        ) { try CogVideoXVAEConfig($0) }
    }

    @Test func hunyuanVideoNamesTheKey() throws {
        try refused(
            "hunyuan-vae/causal-groupnorm-mid-attention",
            [
                ("_class_name", "AutoencoderKLHunyuanVideo15"), ("out_channels", 4), ("act_fn", "relu"),
                ("block_out_channels", [8, 8, 16, 0]), ("down_block_types", ["DownBlock3D"]),
                ("up_block_types", []), ("layers_per_block", -1), ("norm_num_groups", 16),
                ("mid_block_add_attention", "yes"), ("temporal_compression_ratio", 6),
                ("temporal_compression_ratio", 64), ("spatial_compression_ratio", 16), ("scaling_factor", -1),
            ]
        ) { try HunyuanVideoVAEConfig($0) }
        // Five levels could, but pieces of time would not come out even.
        let deep = try folder.write(
            #"{"_class_name": "AutoencoderKLHunyuanVideo", "block_out_channels": [32, 32, 32, 32, 32], "#
                + #""temporal_compression_ratio": 16}"#, "deep.json")
        let error = try #require(throws: FileError.self) { try HunyuanVideoVAEConfig(ConfigFile(path: deep)) }
        #expect("\(error)".contains("temporal_compression_ratio") && "\(error)".contains("up to 8"), "\(error)")
    }

    @Test func mochiNamesTheKey() throws {
        try refused(
            "mochi-vae/asymmetric",
            [
                ("_class_name", "AutoencoderKL"), ("in_channels", 12), ("act_fn", "swish"),
                ("decoder_block_out_channels", [32]), ("decoder_block_out_channels", [32, 32, 32, 48]),
                ("encoder_block_out_channels", [32, 32]), ("encoder_block_out_channels", [32, 32, 32, 16]),
                ("layers_per_block", [1, 1]), ("temporal_expansions", [1, 2]), ("temporal_expansions", [1, 2, 9]),
                ("spatial_expansions", [2, 2, 1]), ("add_attention_block", [true]), ("latents_mean", [0.5]),
                ("latents_std", Array(repeating: 0, count: 12)), ("scaling_factor", 0),
            ]
        ) { try MochiVAEConfig($0) }
        let error = try #require(throws: FileError.self) {
            try MochiVAEConfig(file("mochi-vae/asymmetric", "latents_std", nil))
        }
        #expect("\(error)".contains("latents_std"))
    }

    @Test(arguments: StagedVAEGolden.names)
    func latentsAndVideosOfAnotherShapeAreRefused(_ name: String) throws {
        let golden = try StagedVAEGolden(name)
        let compute = try ComputeContext(threads: 1, precision: .fp32)
        let decoder = try golden.decoder(compute)
        let channels = golden.specification.latentChannels
        for shape in [[channels, 1, 4], [channels - 1, 1, 2, 2], [channels, 0, 2, 2], [1, channels, 1, 2, 2]] {
            #expect(throws: ModelError.self) { try decoder.decode(Tensor(.f32, shape)) { _ in } }
        }
        #expect(throws: ModelError.self) { try decoder.decode(Tensor(.f16, [channels, 1, 2, 2])) { _ in } }
        guard try golden.specification.loadEncoder(WeightStore(golden.folder), compute) != nil else { return }
        for shape in [[3, 2, 16, 16], [3, 1, 12, 16], [3, 1, 16, 9], [4, 1, 16, 16], [3, 0, 16, 16]] {
            #expect(throws: ModelError.self) { try golden.encoder(compute).encode(Tensor(.f32, shape), noise: nil) }
        }
    }

    @Test(arguments: StagedVAEGolden.names)
    func weightsOfAnotherShapeAreNamed(_ name: String) throws {
        let store = try WeightStore(StagedVAEGolden(name).folder)
        let read: (ConfigFile) throws -> any DecoderSpecification =
            name.contains("mochi")
            ? { try MochiVAEConfig($0) } : name.contains("hunyuan")
                ? { try HunyuanVideoVAEConfig($0) } : { try CogVideoXVAEConfig($0) }
        let key = name.contains("mochi") ? "temporal_expansions" : "layers_per_block"
        let config = try read(file(name, key, name.contains("mochi") ? [1, 2, 2] : 2))
        let error = try #require(throws: TensorError.self) { try store.check(config.tensors) }
        #expect("\(error)".contains(name.contains("mochi") ? "decoder.up_blocks.0.proj.weight" : "resnets"), "\(error)")
    }
}
