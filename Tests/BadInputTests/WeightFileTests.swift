import Foundation
import TestSupport
import Testing
import VDiT

/// Files of weights that are broken, hostile or of a kind that is not read: each gets its verdict and its exit code.
@Suite struct WeightFileTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let path: String
        let verdicts: [String]
        let exit: Int32?
        var testDescription: String { path }
    }

    static func cases(_ folder: String) -> [Case] {
        let data = FileManager.default.contents(atPath: Golden.path("\(folder)/manifest.json")) ?? Data()
        let manifest = (try? JSONSerialization.jsonObject(with: data)) as? [String: Any]
        return (manifest?["cases"] as? [[String: Any]] ?? []).map { entry in
            Case(
                path: "\(folder)/\(entry["file"] as? String ?? "")",
                verdicts: [entry["verdict"], entry["also_acceptable_verdict"]].compactMap { $0 as? String },
                exit: (entry["exit"] as? Int).map(Int32.init))
        }
    }

    static let all = cases("gguf/bad") + cases("fp8/bad")

    @Test func theCorpusIsComplete() { #expect(Self.all.count == 88) }

    @Test(arguments: all)
    func everyFileGetsItsVerdict(example: Case) {
        let path = Golden.path(example.path)
        do {
            let store = try WeightStore(path)
            for name in store.names { _ = try store.tensor(name).copy() }
            #expect(example.verdicts.contains("ok"))
        } catch {
            #expect(example.verdicts.contains("refuse"), "\(error)")
            #expect((error as? any Failure)?.kind.rawValue == example.exit, "\(error)")
            #expect("\(error)".contains(path), "the message names the file: \(error)")
            #expect(!"\(error)".contains("\n"))
        }
    }

    let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func save(_ names: [String], shape: [Int] = [2, 2]) throws -> String {
        try folder.write(
            SafetensorsWriter.bytes(Dictionary(uniqueKeysWithValues: names.map { ($0, Tensor(.bf16, shape)) })),
            "model.safetensors")
    }

    private func expectRefusal(
        _ path: String, _ kind: FailureKind, _ part: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        do {
            _ = try ModelCatalogue.openTransformer(path)
            Issue.record("was accepted", sourceLocation: sourceLocation)
        } catch {
            #expect((error as? any Failure)?.kind == kind, "\(error)", sourceLocation: sourceLocation)
            #expect("\(error)".contains(part), "\(error)", sourceLocation: sourceLocation)
        }
    }

    @Test(arguments: [
        ("vace_blocks.0.before_proj.weight", "VACE"), ("double_blocks.0.img_attn.qkv.weight", "FLUX"),
        ("blocks.0.attn.qkv_x.weight", "Mochi"), ("casual_audio_encoder.weights", "S2V"), ("x.y", "x.y"),
    ])
    func relativesAreRefusedByName(_ tensor: String, _ says: String) throws {
        expectRefusal(try save([tensor]), .unsupported, says)
    }

    @Test func aTransformerThatIsNotWholeIsRefused() throws {
        let file = try SafetensorsReader(Golden.path("fp8/e4m3-cast/model.safetensors"))
        var tensors = Dictionary(
            uniqueKeysWithValues: try file.names.filter { file.info($0)?.dtype != nil }.map { ($0, try file.tensor($0)) })
        for name in file.names where tensors[name] == nil {
            tensors[name] = Tensor(.bf16, file.info(name)?.shape ?? [])
        }
        try folder.write(
            String(contentsOfFile: Golden.path("fp8/e4m3-cast/config.json"), encoding: .utf8), "config.json")
        func write(_ tensors: [String: Tensor]) throws -> String {
            try folder.write(SafetensorsWriter.bytes(tensors), "model.safetensors")
        }
        _ = try ModelCatalogue.openTransformer(write(tensors))
        var some = tensors
        some["blocks.0.ffn.2.bias"] = nil
        // The configuration beside it describes another file then; without it no file says how large heads are.
        expectRefusal(try write(some), .badData, "size of a head")
        some = tensors
        some["model.diffusion_model.head.modulation"] = tensors["head.modulation"]
        expectRefusal(try write(some), .badData, "one prefix")
        some = tensors
        some["scale_shift_table"] = tensors["head.modulation"]
        expectRefusal(try write(some), .badData, "the same as head.modulation")
    }
}
