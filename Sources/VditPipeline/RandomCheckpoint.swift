import Foundation
import VditFiles
import VditModels
import VditTensor

/// A Wan checkpoint of random weights in diffusers' layout, in real sizes: for measuring memory and time where
/// no real checkpoint is at hand. What it renders is noise.
public struct RandomCheckpoint: Sendable {
    public var transformer: WanTransformerConfig
    public var vae: WanVAEConfig
    public var promptTokens: Int
    public var seed: UInt64
    /// Most bytes of weights in a shard.
    public var shardBytes = 1 << 30

    public init(transformer: WanTransformerConfig, vae: WanVAEConfig, promptTokens: Int = 512, seed: UInt64 = 0) {
        self.transformer = transformer
        self.vae = vae
        self.promptTokens = promptTokens
        self.seed = seed
    }

    /// Writes `model_index.json`, `transformer/`, `vae/`, `scheduler/` and `prompt.safetensors` into a new folder.
    ///
    /// - Throws: `FileError` when something cannot be written, or the folder already exists.
    public func write(to folder: String) throws {
        if FileManager.default.fileExists(atPath: folder) {
            throw FileError.inaccessible(path: folder, reason: "exists already", kind: .cannotCreate)
        }
        for part in ["transformer", "vae", "scheduler"] {
            do {
                try FileManager.default.createDirectory(
                    atPath: "\(folder)/\(part)", withIntermediateDirectories: true)
            } catch {
                throw FileError.inaccessible(
                    path: folder, reason: error.localizedDescription, kind: .cannotCreate)
            }
        }
        try json(
            [
                "_class_name": "WanPipeline", "transformer": ["diffusers", "WanTransformer3DModel"],
                "vae": ["diffusers", "AutoencoderKLWan"],
                "scheduler": ["diffusers", "UniPCMultistepScheduler"],
            ], "\(folder)/model_index.json")
        try json(
            [
                "_class_name": "UniPCMultistepScheduler", "flow_shift": 3.0, "use_flow_sigmas": true,
                "prediction_type": "flow_prediction", "num_train_timesteps": 1000,
            ], "\(folder)/scheduler/scheduler_config.json")
        try json(
            [
                "_class_name": "WanTransformer3DModel", "num_layers": transformer.layers,
                "num_attention_heads": transformer.heads, "attention_head_dim": transformer.headDim,
                "in_channels": transformer.inChannels, "out_channels": transformer.outChannels,
                "text_dim": transformer.textDim, "freq_dim": transformer.freqDim,
                "ffn_dim": transformer.ffnDim, "eps": transformer.epsilon, "patch_size": transformer.patch,
                "cross_attn_norm": transformer.crossAttentionNorm, "qk_norm": "rms_norm_across_heads",
                "rope_max_seq_len": transformer.ropeMaxSeqLen,
            ], "\(folder)/transformer/config.json")
        try json(
            [
                "_class_name": "AutoencoderKLWan", "base_dim": vae.baseDim, "z_dim": vae.zDim,
                "dim_mult": vae.dimMult, "num_res_blocks": vae.numResBlocks,
                "temperal_downsample": vae.temporalDownsample, "is_residual": vae.isResidual,
                "in_channels": vae.inChannels, "out_channels": vae.outChannels,
                "latents_mean": vae.latentsMean, "latents_std": vae.latentsStd,
            ], "\(folder)/vae/config.json")
        try weights(transformer.tensors, "\(folder)/transformer")
        try weights(vae.tensors, "\(folder)/vae")
        let prompt = try RandomWeights([("prompt", [promptTokens, transformer.textDim])], seed: seed)
            .tensor("prompt")
        try SafetensorsWriter.write(
            ["prompt_embeds": prompt], metadata: ["prompt": "random numbers"],
            to: "\(folder)/prompt.safetensors", existing: .refuse)
    }

    private func json(_ object: [String: Any], _ path: String) throws {
        let data = try JSONSerialization.data(withJSONObject: object, options: [.prettyPrinted, .sortedKeys])
        try AtomicFile.write([UInt8](data), to: path, existing: .refuse)
    }

    /// Shards of `tensors` and their index.
    private func weights(_ tensors: [(name: String, shape: [Int])], _ folder: String) throws {
        let source = RandomWeights(tensors, seed: seed)
        var shards: [[String]] = [[]]
        var bytes = 0
        for (name, shape) in tensors {
            let size = shape.reduce(2, *)
            if bytes + size > shardBytes, bytes > 0 {
                shards.append([])
                bytes = 0
            }
            shards[shards.count - 1].append(name)
            bytes += size
        }
        var map: [String: String] = [:]
        for (number, names) in shards.enumerated() {
            let file = String(
                format: "diffusion_pytorch_model-%05d-of-%05d.safetensors", number + 1, shards.count)
            var shard: [String: Tensor] = [:]
            for name in names {
                shard[name] = try source.tensor(name)
                map[name] = file
            }
            try SafetensorsWriter.write(shard, metadata: [:], to: "\(folder)/\(file)", existing: .refuse)
        }
        try json(["weight_map": map], "\(folder)/diffusion_pytorch_model.safetensors.index.json")
    }
}
