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
        do {
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
            #expect("\(error)".contains(path), "the message names the file: \(error)")
            #expect(!"\(error)".contains("\n"))
        }
    }
}

/// Defects made here, one at a time: the corpus has no room for large files.
extension SafetensorsTests {
    static func file(_ header: String, data: Int = 0) -> [UInt8] {
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) }
        return length + Array(header.utf8) + [UInt8](repeating: 0, count: data)
    }

    func expectFailure(
        _ bytes: [UInt8], _ parts: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) {
        do throws(FileError) {
            _ = try SafetensorsReader(bytes: bytes, name: "x.safetensors")
            Issue.record("was accepted", sourceLocation: sourceLocation)
        } catch {
            #expect(error.kind == .badData, sourceLocation: sourceLocation)
            #expect(error.description.hasPrefix("x.safetensors: "), sourceLocation: sourceLocation)
            for part in parts {
                #expect(error.description.contains(part), "\(error)", sourceLocation: sourceLocation)
            }
            #expect(error.description.utf8.count < 1000, sourceLocation: sourceLocation)
            #expect(!error.description.utf8.contains { $0 < 0x20 }, sourceLocation: sourceLocation)
        }
    }

    static func entry(_ name: String, _ fields: String) -> String { "{\"\(name)\":{\(fields)}}" }

    @Test func everyTruncationIsRefused() throws {
        let whole = try SafetensorsWriter.bytes(
            ["a": Tensor([Float(1), 2]), "b": Tensor(.u8, [3])], metadata: ["k": "v"])
        for length in whole.indices { expectFailure(Array(whole[..<length])) }
        expectFailure(whole + [0], "size")
    }

    @Test func weAreStricterThanTheOfficialReader() {
        let ones = [String](repeating: "1", count: 9).joined(separator: ",")
        expectFailure(
            Self.file(Self.entry("a", "\"dtype\":\"U8\",\"shape\":[\(ones)],\"data_offsets\":[0,1]"), data: 1),
            "a.shape", "at most 8")
        for name in ["\\u0000", "a\\u001b[31m", "\\u007f", "\\u009b"] {
            expectFailure(
                Self.file(Self.entry(name, "\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]"), data: 1),
                "control characters")
        }
        expectFailure(
            Self.file(
                "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
                    + "\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}"),
            "tensor a", "two entries")
    }

    @Test(arguments: [
        "18446744073709551615", "18446744073709551616", "9223372036854775808", "-0", "1.0", "1e0", "\"1\"", "01",
        "true", "[1]", "{}", "+1", "0x1", "1_000", "٣",
    ])
    func numbersThatAreNoCountsAreRefused(number: String) {
        expectFailure(
            Self.file(Self.entry("a", "\"dtype\":\"U8\",\"shape\":[\(number)],\"data_offsets\":[0,1]"), data: 1))
        expectFailure(
            Self.file(Self.entry("a", "\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,\(number)]"), data: 1),
            "a")
    }

    @Test func whatTheFormatToleratesIsTolerated() throws {
        let fields = "\"shape\":[2],\"data_offsets\":[0,2],\"dtype\":\"U8\""
        for header in [
            " \n\t" + Self.entry("a", fields) + " \r\n   ",
            Self.entry("a", "\"x\":[{\"y\":[1.5e-3,-0,true,false,null,\"\\ud83c\\udf88\"]}],\(fields),\"z\":{}"),
            "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"},\"a\":{\(fields)}}",
        ] {
            #expect(try SafetensorsReader(bytes: Self.file(header, data: 2), name: "x").tensor("a").shape == [2])
        }
        let huge = Self.entry(
            "a", "\"dtype\":\"U8\",\"shape\":[0,4294967296,4294967296,4294967296],\"data_offsets\":[0,0]")
        let file = try SafetensorsReader(bytes: Self.file(huge), name: "x")
        #expect(file.info("a")?.byteRange.count == 0)
        // Its views would multiply the extents behind the zero.
        #expect(throws: TensorError.self) { try file.tensor("a") }
    }

    @Test func typesWeLackAreListedButNotRead() throws {
        let header = Self.entry("a", "\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[0,2]")
        let file = try SafetensorsReader(bytes: Self.file(header, data: 2), name: "x")
        #expect(file.info("a")?.dtypeName == "F8_E4M3" && file.info("a")?.dtype == nil)
        do throws(TensorError) {
            _ = try file.tensor("a")
            Issue.record("was read")
        } catch {
            #expect(error.description.contains("F8_E4M3"))
        }
    }

    @Test func deepNestingIsRefusedWithoutDeepRecursion() {
        for open in ["[", "{\"a\":"] {
            let nest = String(repeating: open, count: 1_000_000)
            expectFailure(Self.file("{\"a\":{\"x\":\(nest)"), "nesting")
            expectFailure(Self.file("{\"a\":\(nest)"))
            expectFailure(Self.file(nest))
        }
    }

    @Test func aMegabyteNameMakesAShortMessage() {
        let name = String(repeating: "n", count: 1_000_000)
        expectFailure(Self.file(Self.entry(name, "\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,1]"), data: 1))
        expectFailure(Self.file(Self.entry("a", "\"dtype\":\"\(name)\"")), "a.dtype")
    }

    @Test func twoHundredThousandTensorsAreRead() throws {
        var header = "{"
        for index in 0..<200_000 {
            header += index == 0 ? "" : ","
            header +=
                "\"model.blocks.\(index).weight\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[\(index),\(index + 1)]}"
        }
        let file = try SafetensorsReader(bytes: Self.file(header + "}", data: 200_000), name: "x")
        #expect(file.tensors.count == 200_000)
        #expect(file.info("model.blocks.199999.weight")?.shape == [1])
    }

    @Test func namesTheFormatReservesAreNotWritten() {
        for name in ["__metadata__", "a\u{0}"] {
            #expect(throws: TensorError.self) { try SafetensorsWriter.bytes([name: Tensor(.u8, [1])]) }
        }
        #expect(throws: TensorError.self) {
            try SafetensorsWriter.bytes(["a": Tensor(.u8, [1, 1, 1, 1, 1, 1, 1, 1, 1])])
        }
    }
}
