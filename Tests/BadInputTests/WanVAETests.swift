import Foundation
import Testing
import TestSupport
import VDiT

/// A VAE that does not fit its configuration, or input that does not fit the VAE, is refused by name.
@Suite struct WanVAEBadInputTests {
    static let directory = Golden.path("wan-vae/wan21-base6")

    static func compute() throws -> ComputeContext { try ComputeContext(threads: 1, precision: .fp32) }

    /// The golden VAE's directory with `config.json` changed.
    static func withConfig(
        _ changes: [String: Any], _ body: (String) throws -> Void
    ) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let weights = "diffusion_pytorch_model.safetensors"
        try FileManager.default.createSymbolicLink(
            atPath: folder.appendingPathComponent(weights).path, withDestinationPath: "\(directory)/\(weights)")
        let data = try Data(contentsOf: URL(fileURLWithPath: directory + "/config.json"))
        var config = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        config.merge(changes) { $1 }
        try JSONSerialization.data(withJSONObject: config)
            .write(to: folder.appendingPathComponent("config.json"))
        try body(folder.path)
    }

    static func message(_ directory: String) -> String {
        do {
            _ = try WanVAE(directory: directory, compute: compute())
            return "accepted"
        } catch { return "\(error)" }
    }

    @Test func theGoldenConfigurationIsAccepted() throws {
        try Self.withConfig([:]) { #expect(Self.message($0) == "accepted") }
    }

    @Test(arguments: [
        ("base_dim", "0"), ("base_dim", "\"96\""), ("decoder_base_dim", "7"), ("z_dim", "-1"),
        ("dim_mult", "[]"), ("dim_mult", "[1,2.5]"), ("num_res_blocks", "1e9"),
        ("temperal_downsample", "[true]"), ("attn_scales", "[0.5]"), ("patch_size", "2"),
        ("in_channels", "4"), ("latents_mean", "[1,2]"), ("latents_std", "null"),
        ("scale_factor_spatial", "16"), ("scale_factor_temporal", "2"), ("_class_name", "\"AutoencoderKL\""),
    ])
    func aConfigurationThatCannotBeIsRefusedByKey(_ key: String, _ json: String) throws {
        let value = try JSONSerialization.jsonObject(with: Data(json.utf8), options: .fragmentsAllowed)
        try Self.withConfig([key: value]) { directory in
            let message = Self.message(directory)
            #expect(message != "accepted")
            #expect(message.contains(key), "\(message)")
            #expect(!message.contains("\n"))
        }
    }

    @Test(arguments: [("base_dim", 7, "decoder_base_dim"), ("z_dim", 8, "latents_mean")])
    func aValueThatContradictsAnotherIsRefused(_ key: String, _ value: Int, _ other: String) throws {
        try Self.withConfig([key: value]) { directory in
            let message = Self.message(directory)
            #expect(message.contains(key) || message.contains(other), "\(message)")
        }
    }

    @Test func weightsOfAnotherSizeAreAllListed() throws {
        try Self.withConfig(["base_dim": 8, "num_res_blocks": 1]) { directory in
            let message = Self.message(directory)
            #expect(message.contains("decoder.conv_in.weight") || message.contains("wrong shape"))
            #expect(message.contains("unexpected"))
        }
        try Self.withConfig(["num_res_blocks": 3]) { directory in
            #expect(Self.message(directory).contains("missing"))
        }
    }

    @Test(arguments: [[16, 1, 4], [15, 1, 4, 4], [16, 0, 4, 4], [16, 1, 0, 4], [1, 16, 1, 4, 4]])
    func latentsOfAnotherShapeAreRefused(_ shape: [Int]) throws {
        let vae = try WanVAE(directory: Self.directory, compute: Self.compute())
        #expect(throws: ModelError.self) { try vae.decode(Tensor(.f32, shape)) { _ in } }
    }

    @Test func latentsOfAnotherTypeAreRefused() throws {
        let vae = try WanVAE(directory: Self.directory, compute: Self.compute())
        #expect(throws: ModelError.self) { try vae.decode(Tensor(.f16, [16, 1, 2, 2])) { _ in } }
    }

    @Test(arguments: [[3, 2, 16, 16], [3, 4, 16, 16], [3, 1, 12, 16], [3, 1, 16, 9], [4, 1, 16, 16], [3, 0, 16, 16]])
    func videoTheEncoderCannotHalveIsRefused(_ shape: [Int]) throws {
        let vae = try WanVAE(directory: Self.directory, use: .encoding, compute: Self.compute())
        #expect(throws: ModelError.self) { _ = try vae.encode(Tensor(.f32, shape)) }
    }
}
