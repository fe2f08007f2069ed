import Foundation
import TestSupport
import Testing
import VDiT

/// Adapter files that must be refused, and what is said of them: Tests/Golden/lora/bad and files made here.
struct AdapterBadInput {
    struct Case: Decodable, CustomTestStringConvertible {
        let file, verdict, why: String
        var testDescription: String { file }
    }
    private struct Manifest: Decodable { let cases: [Case] }

    static let cases: [Case] = {
        guard let data = FileManager.default.contents(atPath: Golden.path("lora/bad/manifest.json")),
            let manifest = try? JSONDecoder().decode(Manifest.self, from: data)
        else { return [] }
        return manifest.cases
    }()
    static let unsupported: Set = [
        "text-encoder-only", "dora", "dora-peft", "loha", "lokr", "mid-weight",
    ]

    static func names(_ base: String = "t2v-2heads-dim64") throws -> AdapterNames {
        try WanTransformerConfig(ConfigFile(path: Golden.path("wan-transformer/\(base)/config.json"))).adapterNames
    }

    @Test func everyCaseIsRead() { #expect(Self.cases.count == 27) }

    @Test(arguments: cases)
    func everyVerdictIsTheManifests(entry: Case) throws {
        let path = Golden.path("lora/bad/\(entry.file)")
        let names = try Self.names()
        if entry.verdict == "accept" {
            let adapter = try Adapter(AdapterFile(path), for: names)
            #expect(adapter.notices.isEmpty == (entry.file == "ok-only-one-layer.safetensors"))
            return
        }
        let error = try #require(throws: ModelError.self) { try Adapter(AdapterFile(path), for: names) }
        let stem = entry.file.replacingOccurrences(of: ".safetensors", with: "")
        #expect(error.kind == (Self.unsupported.contains(stem) ? .unsupported : .badData), "\(error)")
        #expect(error.description.hasPrefix(path) && !error.description.contains("\n"))
    }

    /// An adapter made of tensors given here.
    static func adapter(
        _ tensors: [String: Tensor], _ metadata: [String: String] = [:], base: String = "t2v-2heads-dim64"
    ) throws -> Adapter {
        let folder = try TemporaryDirectory()
        let path = folder.path("adapter.safetensors")
        try SafetensorsWriter.write(tensors, metadata: metadata, to: path, existing: .replace)
        return try Adapter(AdapterFile(path), for: names(base))
    }

    static func pair(_ module: String, inputs: Int = 128, outputs: Int = 128) -> [String: Tensor] {
        var random = TorchRandom(seed: 4)
        return [
            module + ".lora_down.weight": random.normal([2, inputs]),
            module + ".lora_up.weight": random.normal([outputs, 2]),
        ]
    }

    @Test(arguments: [
        "diffusion_model.blocks.0.self_attn.q", "blocks.0.self_attn.q", "model.blocks.0.self_attn.q",
        "model.diffusion_model.blocks.0.self_attn.q", "base_model.model.blocks.0.attn1.to_q",
        "transformer.blocks.0.attn1.to_q", "lora_unet_blocks_0_self_attn_q", "lora_unet_blocks_0_attn1_to_q",
        "lora_unet_blocks_0.self_attn.q",
    ])
    func everySpellingOfAModuleIsKnown(module: String) throws {
        #expect(try Self.adapter(Self.pair(module)).changedTensors == ["blocks.0.attn1.to_q.weight"])
    }

    @Test func mixedPrefixesAddUpAndPeftsBiasIsScaled() throws {
        var tensors = Self.pair("diffusion_model.blocks.0.self_attn.q")
        tensors["blocks.0.attn1.to_k.lora_A.style.weight"] = Tensor(.f32, [2, 128])
        tensors["blocks.0.attn1.to_k.lora_B.style.weight"] = Tensor(.f32, [128, 2])
        tensors["blocks.0.attn1.to_k.lora_B.style.bias"] = Tensor(.f32, [128])
        #expect(
            try Self.adapter(tensors).changedTensors == [
                "blocks.0.attn1.to_k.bias", "blocks.0.attn1.to_k.weight", "blocks.0.attn1.to_q.weight",
            ])
    }

    @Test func imageLayersAreLeftOutOfATextModelAndTakenByAnImageModel() throws {
        var tensors = Self.pair("diffusion_model.blocks.0.self_attn.q")
        tensors.merge(Self.pair("diffusion_model.blocks.0.cross_attn.k_img")) { $1 }
        let adapter = try Self.adapter(tensors)
        #expect(adapter.notices.count == 1 && adapter.notices[0].contains("1 modules"))
        let image = try Self.adapter(
            Self.pair("blocks.0.self_attn.q", inputs: 64, outputs: 64), base: "i2v-2heads-dim32-image-embeds")
        #expect(image.notices.isEmpty)
    }

    @Test func aTextEncodersPartIsLeftOutBesideOthers() throws {
        var tensors = Self.pair("lora_unet_blocks_0_self_attn_q")
        tensors.merge(Self.pair("lora_te_encoder_q")) { $1 }
        #expect(try Self.adapter(tensors).notices.count == 1)
    }

    @Test func anAdapterOfALargerModelIsCalledOne() throws {
        var tensors = Self.pair("blocks.0.self_attn.q", inputs: 5120, outputs: 5120)
        tensors.merge(Self.pair("blocks.0.self_attn.k", inputs: 5120, outputs: 5120)) { $1 }
        let error = try #require(throws: ModelError.self) { try Self.adapter(tensors) }
        #expect(error.description.contains("made for a 14B model"))
    }

    @Test func allThatIsWrongIsSaidAtOnceAndTenKeysAreNamed() throws {
        var tensors: [String: Tensor] = [:]
        for index in 0..<30 { tensors.merge(Self.pair("blocks.0.nothing\(index)")) { $1 } }
        tensors["blocks.1.self_attn.q.alpha"] = Tensor([1], shape: [])
        let error = try #require(throws: ModelError.self) { try Self.adapter(tensors) }
        let text = error.description
        #expect(text.contains("no such module") && text.contains("alpha without factors"))
        #expect(text.components(separatedBy: "nothing").count - 1 <= 10 && text.contains("more keys"))
    }

    @Test(arguments: [
        "{", "[]", #"{"transformer.lora_alpha": "8"}"#, #"{"transformer.use_rslora": 1}"#,
        #"{"transformer.alpha_pattern": [1]}"#, #"{"transformer.lora_alpha": 1e999}"#,
    ])
    func damagedMetadataIsNamed(text: String) throws {
        let error = try #require(throws: FileError.self) {
            try Self.adapter(Self.pair("blocks.0.self_attn.q"), ["lora_adapter_metadata": text])
        }
        #expect(error.kind == .badData && error.description.contains("lora_adapter_metadata"))
    }

    @Test(arguments: [
        #"{"transformer.use_dora": true}"#, #"{"transformer.alpha_pattern": {"blocks\\.[0-9].attn1": 2}}"#,
    ])
    func kindsThatMetadataTellsAreUnsupported(text: String) throws {
        let error = try #require(throws: ModelError.self) {
            try Self.adapter(Self.pair("blocks.0.self_attn.q"), ["lora_adapter_metadata": text])
        }
        #expect(error.kind == .unsupported)
    }

    @Test func aPickleIsRefusedWithTheLinesThatConvertIt() throws {
        let folder = try TemporaryDirectory()
        try folder.write("PK\u{3}\u{4}0123456789", "adapter.pt")
        let error = try #require(throws: ModelError.self) { try AdapterFile(folder.path("adapter.pt")) }
        #expect(error.kind == .unsupported && error.description.contains("save_file"))
        let missing = try #require(throws: FileError.self) { try AdapterFile(folder.path("nothing")) }
        #expect(missing.kind == .missingInput)
    }
}
