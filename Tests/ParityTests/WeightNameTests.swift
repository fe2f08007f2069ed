import Foundation
import TestSupport
import Testing
import VDiT

/// What released files call their tensors is known, and what their shapes say is what their configurations do.
@Suite struct WeightNameTests {
    private static func golden(_ name: String) throws -> [String: Any] {
        let data = try Data(contentsOf: URL(fileURLWithPath: Golden.path("single-file/names/\(name)")))
        return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    /// A file of zeros with a header and no room for its data on the disk.
    private static func file(_ shapes: [String: [Int]], _ path: String) throws {
        var (entries, end) = ([String](), 0)
        for (name, shape) in shapes.sorted(by: { $0.key < $1.key }) {
            let start = end
            end += shape.reduce(2, *)
            entries.append(
                "\"\(name)\":{\"dtype\":\"BF16\",\"shape\":[\(shape.map(String.init).joined(separator: ","))],"
                    + "\"data_offsets\":[\(start),\(end)]}")
        }
        let json = Array("{\(entries.joined(separator: ","))}".utf8)
        let length = (0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) }
        try Data(length + json).write(to: URL(fileURLWithPath: path))
        let handle = try #require(FileHandle(forWritingAtPath: path))
        try handle.truncate(atOffset: UInt64(8 + json.count + end))
        try handle.close()
    }

    private static let released = [
        "2.1 T2V 1.3B", "2.1 T2V 14B and 2.2 T2V A14B", "2.1 I2V 14B", "2.1 FLF2V 14B", "2.2 I2V A14B", "2.2 TI2V 5B",
    ]

    @Test(arguments: released)
    func releasedTransformersAreToldByTheirShapes(_ name: String) throws {
        let models = try #require(try Self.golden("wan-released.json")["models"] as? [String: [String: Any]])
        #expect(models.count == Self.released.count)
        let model = try #require(models[name])
        let patterns = try #require(model["tensors_with_i_from_0_to_layers_minus_1"] as? [String: [Int]])
        let expected = try #require(model["expected"] as? [String: Any])
        let layers = try #require(expected["num_layers"] as? Int)
        var shapes: [String: [Int]] = [:]
        for (pattern, shape) in patterns {
            for layer in 0..<(pattern.contains("{i}") ? layers : 1) {
                shapes[pattern.replacing("{i}", with: "\(layer)")] = shape
            }
        }
        let folder = try TemporaryDirectory()
        try Self.file(shapes, folder.path("model.safetensors"))
        let opened = try ModelCatalogue.openTransformer(folder.path("model.safetensors"))
        let config = try #require(opened.specification as? WanTransformerConfig)
        let found: [String: Int?] = [
            "num_layers": config.layers, "num_attention_heads": config.heads, "attention_head_dim": config.headDim,
            "in_channels": config.inChannels, "out_channels": config.outChannels, "text_dim": config.textDim,
            "freq_dim": config.freqDim, "ffn_dim": config.ffnDim, "image_dim": config.imageDim,
            "added_kv_proj_dim": config.addedKVProjDim, "pos_embed_seq_len": config.posEmbedSeqLen,
        ]
        for (field, value) in found where expected.keys.contains(field) {
            #expect(value == expected[field] as? Int, "\(field)")
        }
    }

    @Test func theNamesOfBothVAEsAreThoseOfTheConversion() throws {
        let nested = try #require(try Self.golden("wan22-vae.json")["names"] as? [String: String])
        let config = WanVAEConfig.wan22
        let shapes = Dictionary(uniqueKeysWithValues: config.tensors.map { ($0.name, $0.shape) })
        #expect(Set(nested.values) == Set(shapes.keys))
        let folder = try TemporaryDirectory()
        try Self.file(nested.mapValues { shapes[$0] ?? [] }, folder.path("vae.safetensors"))
        let opened = try ModelCatalogue.openDecoder(folder.path("vae.safetensors"))
        #expect(opened.specification as? WanVAEConfig == config)

        let data = try Data(contentsOf: URL(fileURLWithPath: Golden.path("single-file/wan21-vae-fp16/io.json")))
        let flat = try #require(
            (try JSONSerialization.jsonObject(with: data) as? [String: Any])?["names"] as? [String: String])
        let store = try ModelCatalogue.openDecoder(Golden.path("single-file/wan21-vae-fp16/vae.safetensors")).weights
        #expect(Set(store.names) == Set(flat.values))
        let file = try SafetensorsReader(Golden.path("single-file/wan21-vae-fp16/vae.safetensors"))
        for (theirs, ours) in flat {
            #expect(try store.bytes(ours).withBytes(Array.init) == file.tensor(theirs).withBytes(Array.init), "\(ours)")
        }
    }

    /// LTX-Video's blocks as their authors number them, by release: ours, theirs.
    private static let blocks = [
        ("0.9.0", LTXVAEConfig.plain, [
            "decoder.mid_block.resnets.3.conv1.conv.weight": "decoder.up_blocks.0.res_blocks.3.conv1.conv.weight",
            "decoder.up_blocks.0.resnets.0.conv2.conv.bias": "decoder.up_blocks.1.res_blocks.0.conv2.conv.bias",
            "decoder.up_blocks.1.upsamplers.0.conv.conv.weight": "decoder.up_blocks.2.conv.conv.weight",
            "decoder.up_blocks.2.conv_in.conv_shortcut.conv.weight": "decoder.up_blocks.4.conv_shortcut.weight",
            "decoder.up_blocks.2.conv_in.norm3.weight": "decoder.up_blocks.4.norm3.norm.weight",
            "decoder.up_blocks.3.resnets.2.conv1.conv.bias": "decoder.up_blocks.9.res_blocks.2.conv1.conv.bias",
            "encoder.down_blocks.0.downsamplers.0.conv.weight": "encoder.down_blocks.1.conv.weight",
            "encoder.down_blocks.1.conv_out.conv1.conv.weight": "encoder.down_blocks.5.conv1.conv.weight",
            "encoder.mid_block.resnets.0.conv1.conv.weight": "encoder.down_blocks.9.res_blocks.0.conv1.conv.weight",
        ]),
        ("0.9.1", .timed, [
            "decoder.time_embedder.timestep_embedder.linear_1.weight":
                "decoder.last_time_embedder.timestep_embedder.linear_1.weight",
            "decoder.scale_shift_table": "decoder.last_scale_shift_table",
            "decoder.up_blocks.2.resnets.0.conv1.conv.weight": "decoder.up_blocks.6.res_blocks.0.conv1.conv.weight",
        ]),
        ("0.9.5", .folded, [
            "encoder.down_blocks.1.downsamplers.0.conv.conv.weight": "encoder.down_blocks.3.conv.conv.weight",
            "encoder.mid_block.resnets.1.conv2.conv.weight": "encoder.down_blocks.8.res_blocks.1.conv2.conv.weight",
        ]),
    ]

    @Test(arguments: blocks.map(\.0))
    func theBlocksOfLTXVideosVAEAreFoundByTheirNumbers(_ release: String) throws {
        let (_, config, some) = try #require(Self.blocks.first { $0.0 == release })
        // The release's own tensors, named as the table of the conversion script has them.
        let plain = release == "0.9.0"
            ? ["mid_block", "up_blocks.0", "up_blocks.1.upsamplers.0", "up_blocks.1", "up_blocks.2.conv_in",
               "up_blocks.2.upsamplers.0", "up_blocks.2", "up_blocks.3.conv_in", "up_blocks.3.upsamplers.0", "up_blocks.3"]
            : ["mid_block", "up_blocks.0.upsamplers.0", "up_blocks.0", "up_blocks.1.upsamplers.0", "up_blocks.1",
               "up_blocks.2.upsamplers.0", "up_blocks.2"]
        let down = release == "0.9.5"
            ? ["down_blocks.0", "down_blocks.0.downsamplers.0", "down_blocks.1", "down_blocks.1.downsamplers.0",
               "down_blocks.2", "down_blocks.2.downsamplers.0", "down_blocks.3", "down_blocks.3.downsamplers.0", "mid_block"]
            : ["down_blocks.0", "down_blocks.0.downsamplers.0", "down_blocks.0.conv_out", "down_blocks.1",
               "down_blocks.1.downsamplers.0", "down_blocks.1.conv_out", "down_blocks.2", "down_blocks.2.downsamplers.0",
               "down_blocks.3", "mid_block"]
        func original(_ name: String) -> String {
            for (part, blocks, word) in [("decoder", plain, "up_blocks"), ("encoder", down, "down_blocks")] {
                let fitting = blocks.enumerated().filter { name.hasPrefix("\(part).\($0.element).") }
                guard let block = fitting.max(by: { $0.element.count < $1.element.count }) else { continue }
                let rest = name.dropFirst("\(part).\(block.element).".count).replacing("resnets", with: "res_blocks")
                    .replacing("conv_shortcut.conv", with: "conv_shortcut").replacing("norm3", with: "norm3.norm")
                return "vae.\(part).\(word).\(block.offset).\(rest)"
            }
            let fixed = [
                "latents_mean": "per_channel_statistics.mean-of-means", "latents_std": "per_channel_statistics.std-of-means",
                "decoder.scale_shift_table": "decoder.last_scale_shift_table",
            ]
            return "vae." + (fixed[name] ?? name.replacing("decoder.time_embedder", with: "decoder.last_time_embedder"))
        }
        for (ours, theirs) in some { #expect(original(ours) == "vae." + theirs) }
        var shapes = Dictionary(uniqueKeysWithValues: config.tensors.map { (original($0.name), $0.shape) })
        shapes["vae.per_channel_statistics.channel"] = [128]
        let folder = try TemporaryDirectory()
        try Self.file(shapes, folder.path("ltx.safetensors"))
        #expect(try ModelCatalogue.openDecoder(folder.path("ltx.safetensors")).specification as? LTXVAEConfig == config)
    }

    @Test func aWholeLTXVideoFileIsATransformerAndAVAE() throws {
        var shapes: [String: [Int]] = [:]
        for (name, shape) in LTXTransformerConfig.ltx2B.tensors {
            var original = name.replacing("proj_in", with: "patchify_proj").replacing("time_embed.", with: "adaln_single.")
            for part in ["q", "k"] { original = original.replacing("norm_\(part)", with: "\(part)_norm") }
            shapes["model.diffusion_model.\(original)"] = shape
        }
        shapes["vae.decoder.conv_in.conv.weight"] = [1]
        let folder = try TemporaryDirectory()
        let path = folder.path("ltx-video.safetensors")
        try Self.file(shapes, path)
        #expect(try ModelCatalogue.holdsDecoder(path))
        let opened = try ModelCatalogue.openTransformer(path)
        #expect(opened.specification as? LTXTransformerConfig == .ltx2B)
    }
}
