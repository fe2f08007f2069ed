import Foundation
import TestSupport
import Testing
import VDiT

/// The corpus of defective files: each verdict as the manifest demands, and ours where we are stricter.
@Suite struct SafetensorsTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let path: String
        let verdicts: [String]
        let isDirectory: Bool
        var testDescription: String { path }
    }

    static let cases: [Case] = {
        let data = FileManager.default.contents(atPath: Golden.path("safetensors-bad/manifest.json")) ?? Data()
        let manifest = (try? JSONSerialization.jsonObject(with: data)) as? [String: Any]
        return (manifest?["cases"] as? [[String: String]] ?? []).map { entry in
            Case(
                path: entry["file"] ?? entry["directory"] ?? "",
                verdicts: [entry["verdict"], entry["also_acceptable_verdict"]].compactMap(\.self),
                isDirectory: entry["directory"] != nil)
        }
    }()

    @Test func theCorpusIsComplete() { #expect(Self.cases.count == 74) }

    @Test(arguments: cases)
    func everyFileOfTheCorpusGetsItsVerdict(example: Case) {
        let path = Golden.path("safetensors-bad/\(example.path)")
        do throws(TensorError) {
            if example.isDirectory {
                let store = try WeightStore(path)
                for name in store.names { _ = try store.tensor(name).copy() }
            } else {
                let file = try SafetensorsReader(path)
                for info in file.tensors where info.dtype != nil { _ = try file.tensor(info.name).copy() }
            }
            #expect(example.verdicts.contains("ok"))
        } catch {
            #expect(example.verdicts.contains("error"), "\(error)")
            #expect(error.description.contains(path), "the message names the file: \(error)")
            #expect(!error.description.contains("\n"))
        }
    }
}
