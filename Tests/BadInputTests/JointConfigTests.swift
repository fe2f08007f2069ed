import Foundation
import TestSupport
import Testing
import VDiT

/// Configurations that cannot be served are refused by the key at fault.
struct JointConfigTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func file(_ golden: String, _ key: String, _ value: Any?) throws -> ConfigFile {
        try ConfigFile(golden: golden, key, value, in: folder)
    }

    @Test func cogVideoXNamesTheKey() throws {
        let mistakes: [(String, Any)] = [
            ("attention_head_dim", 24), ("use_learned_positional_embeddings", true), ("attention_bias", false),
            ("flip_sin_to_cos", false), ("norm_elementwise_affine", false), ("patch_bias", false),
            ("activation_fn", "silu"), ("timestep_activation_fn", "gelu"), ("freq_shift", 1), ("num_layers", 0),
            ("text_embed_dim", "many"), ("ofs_embed_dim", 64), ("_class_name", "MochiTransformer3DModel"),
        ]
        for (key, value) in mistakes {
            let error = try #require(throws: FileError.self, "\(key)") {
                try CogVideoXTransformerConfig(file("cogvideox/rotary-2heads-dim64", key, value))
            }
            #expect("\(error)".contains(key), "\(error)")
        }
        let new = try file("cogvideox/v15-patch-t2-rotary-dim64-ofs", "use_rotary_positional_embeddings", false)
        #expect(throws: FileError.self) { try CogVideoXTransformerConfig(new) }
    }

    @Test func hunyuanVideoNamesTheKey() throws {
        let mistakes: [(String, Any)] = [
            ("attention_head_dim", 20), ("rope_axes_dim", [4, 14, 16]), ("rope_axes_dim", [5, 13, 14]),
            ("rope_axes_dim", [16, 16]), ("image_condition_type", "latent_concat"), ("qk_norm", "layer_norm"),
            ("mlp_ratio", 0), ("pooled_projection_dim", -1), ("_class_name", "HunyuanVideo15Transformer3DModel"),
        ]
        for (key, value) in mistakes {
            let error = try #require(throws: FileError.self, "\(key)") {
                try HunyuanVideoTransformerConfig(file("hunyuan-video/t2v-2heads-dim32-guidance", key, value))
            }
            #expect("\(error)".contains(key), "\(error)")
        }
    }

    @Test func mochiNamesTheKey() throws {
        let mistakes: [(String, Any)] = [
            ("attention_head_dim", 20), ("activation_fn", "gelu"), ("qk_norm", "layer_norm"), ("text_embed_dim", 20),
            ("time_embed_dim", 33), ("num_layers", 0), ("_class_name", "CogVideoXTransformer3DModel"),
        ]
        for (key, value) in mistakes {
            let error = try #require(throws: FileError.self, "\(key)") {
                try MochiTransformerConfig(file("mochi/2heads-dim32", key, value))
            }
            #expect("\(error)".contains(key), "\(error)")
        }
    }

    /// What a model is conditioned on is checked where it is prepared, whoever calls.
    @Test func conditioningThatDoesNotFitIsNamed() throws {
        let golden = Golden.path("hunyuan-video/t2v-2heads-dim32-guidance")
        let config = try HunyuanVideoTransformerConfig(ConfigFile(path: golden + "/config.json"))
        let model = try config.load(WeightStore(golden), ComputeContext(threads: 1, precision: .fp32))
        var good = Conditioning(
            prompt: Tensor(.f32, [3, 40]), mask: [true, true, false], pooled: Tensor(.f32, [24]))
        good.guidance = 6
        #expect(throws: Never.self) { try model.prepare(good) }
        let changes: [(String, (inout Conditioning) -> Void)] = [
            ("prompt embedding", { $0.prompt = Tensor(.f32, [3, 41]) }), ("prompt mask", { $0.mask = nil }),
            ("prompt mask", { $0.mask = [false, true, true] }), ("prompt mask", { $0.mask = [true] }),
            ("pooled prompt", { $0.pooled = nil }), ("pooled prompt", { $0.pooled = Tensor(.f32, [23]) }),
            ("embedded guidance", { $0.guidance = nil }),
        ]
        for (name, change) in changes {
            var bad = good
            change(&bad)
            let error = try #require(throws: ModelError.self) { try model.prepare(bad) }
            #expect("\(error)".contains(name), "\(error)")
        }
        #expect(throws: ModelError.self) { try config.tokenLayout(LatentShape([16, 3, 5, 6]), textTokens: 2) }
    }
}
