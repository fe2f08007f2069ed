import Foundation
import TestSupport
import Testing
import VDiT

/// Configurations that cannot be served are refused by the key at fault.
struct LTXConfigTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func file(_ golden: String, _ key: String, _ value: Any?) throws -> ConfigFile {
        try ConfigFile(golden: golden, key, value, in: folder)
    }

    @Test func transformersNameTheKey() throws {
        let mistakes: [(String, Any)] = [
            ("patch_size", 2), ("patch_size_t", 2), ("cross_attention_dim", 100), ("attention_head_dim", 20),
            ("norm_elementwise_affine", true), ("attention_bias", false), ("activation_fn", "silu"),
            ("qk_norm", "layer_norm"), ("num_layers", 0), ("in_channels", -1), ("caption_channels", "many"),
            ("_class_name", "LTX2VideoTransformer3DModel"),
        ]
        for (key, value) in mistakes {
            let error = try #require(throws: FileError.self, "\(key)") {
                try LTXTransformerConfig(file("ltx/2heads-dim32", key, value))
            }
            #expect("\(error)".contains(key), "\(error)")
        }
        #expect(throws: Never.self) { try LTXTransformerConfig(file("ltx/2heads-dim32", "qk_norm", nil)) }
    }

    @Test func decodersNameTheKey() throws {
        let mistakes: [(String, Any)] = [
            ("patch_size_t", 2), ("in_channels", 4), ("decoder_causal", true), ("encoder_causal", false),
            ("scaling_factor", 0.5), ("spatial_compression_ratio", 64), ("temporal_compression_ratio", 16),
            ("block_out_channels", [4, 8, 8, 16]), ("block_out_channels", [4, 7, 8, 16, 16]),
            ("down_block_types", ["LTXVideo095DownBlock3D", "LTXVideoDownBlock3D"]),
            ("downsample_type", ["conv", "conv", "conv", "conv"]),
            ("downsample_type", ["temporal", "temporal", "temporal", "temporal"]),
            ("layers_per_block", [1, 1]), ("decoder_layers_per_block", [1, 1, 1, 0]),
            ("decoder_inject_noise", [true]), ("decoder_spatio_temporal_scaling", [true]),
            ("upsample_residual", [true]), ("upsample_factor", [1, 2]), ("decoder_block_out_channels", [8, 16, 30]),
            ("decoder_block_out_channels", []), ("latent_channels", 0), ("_class_name", "AutoencoderKLLTX2Video"),
        ]
        for (key, value) in mistakes {
            let error = try #require(throws: FileError.self, "\(key)") {
                try LTXVAEConfig(file("ltx-vae/v095-timestep-space-to-depth", key, value))
            }
            #expect("\(error)".contains(key), "\(error)")
        }
    }

    @Test func aMissingTensorIsNamed() throws {
        let config = try LTXVAEConfig(file("ltx-vae/v095-timestep-space-to-depth", "latent_channels", 20))
        let store = try WeightStore(Golden.path("ltx-vae/v095-timestep-space-to-depth"))
        let error = try #require(throws: TensorError.self) { try store.check(config.tensors) }
        #expect("\(error)".contains("decoder.conv_in.conv.weight"), "\(error)")
    }
}
