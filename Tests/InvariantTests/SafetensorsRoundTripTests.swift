import Foundation
import TestSupport
import Testing
import VDiT

/// What is written is read back, and the same tensors give the same bytes.
@Suite struct SafetensorsRoundTripTests {
    static func filled(_ dtype: DType, _ shape: [Int], seed: UInt64) -> Tensor {
        var generator = SeededGenerator(seed: seed)
        let tensor = Tensor(dtype, shape)
        let bytes = tensor.pointer(bytes: tensor.byteCount)
        for index in 0..<tensor.byteCount { bytes[index] = UInt8.random(in: 0...255, using: &generator) }
        return tensor
    }

    static func bytes(_ tensor: Tensor) -> [UInt8] { tensor.withBytes { Array($0) } }

    @Test func everyTypeAndAwkwardShapeComesBack() throws {
        let shapes: [[Int]] = [[], [0], [1], [3, 0, 5], [7], [2, 3, 5], [1, 1, 1, 1, 1, 1, 1, 2]]
        var tensors: [String: Tensor] = [:]
        for dtype in DType.allCases {
            for (index, shape) in shapes.enumerated() {
                tensors["\(dtype.rawValue).\(index)"] = Self.filled(dtype, shape, seed: UInt64(index))
            }
        }
        let metadata = ["prompt": "a \"red\" ball\n\\ \u{1}\u{7f} – 球", "": ""]
        let directory = try TemporaryDirectory()
        let path = directory.path("a.safetensors")
        try SafetensorsWriter.write(tensors, metadata: metadata, to: path, existing: .refuse)
        #expect(directory.contents == ["a.safetensors"])
        let onDisk = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        #expect(onDisk == (try SafetensorsWriter.bytes(tensors, metadata: metadata)))

        for file in [try SafetensorsReader(path), try SafetensorsReader(bytes: onDisk, name: "memory")] {
            #expect(file.metadata == metadata)
            #expect(Set(file.names) == Set(tensors.keys))
            for (name, tensor) in tensors {
                let read = try file.tensor(name)
                #expect(read.dtype == tensor.dtype && read.shape == tensor.shape, "\(name)")
                #expect(Self.bytes(read) == Self.bytes(tensor), "\(name)")
            }
        }
    }

    @Test func namesWithQuotesAndUnicodeComeBack() throws {
        let names = ["a\"b", "back\\slash", "blöcke.0.重み", "emoji 🎈", "", " ", "a/b", "tab\tnewline\n"]
        let tensors = Dictionary(uniqueKeysWithValues: names.map { ($0, Tensor([Float($0.utf8.count)])) })
        let file = try SafetensorsReader(bytes: SafetensorsWriter.bytes(tensors), name: "memory")
        for name in names { #expect(try file.tensor(name).floats() == [Float(name.utf8.count)]) }
    }

    /// Files written by the official package, read and written again.
    @Test func theOfficialWritersBytesAreReproduced() throws {
        let folder = Golden.sample("prompts")
        let samples = try FileManager.default.contentsOfDirectory(atPath: folder)
            .filter { $0.hasSuffix(".safetensors") }.map { "\(folder)/\($0)" }
        let goldens = ["rng/torch-cpu-x86-avx2", "rng/boxmuller-avx2-trace", "schedulers/unipc-flow"]
            .map { Golden.path($0 + ".safetensors") }
        var compared = 0
        for path in samples + goldens {
            let file = try SafetensorsReader(path)
            // The official writer leaves several metadata entries in no particular order.
            if file.metadata.count > 1 { continue }
            var tensors: [String: Tensor] = [:]
            for name in file.names { tensors[name] = try file.tensor(name) }
            let written = try SafetensorsWriter.bytes(tensors, metadata: file.metadata)
            #expect(written == [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))), "\(path)")
            compared += 1
        }
        #expect(compared >= 3)
    }

    @Test func releasedTensorsReadTheSameAgain() throws {
        let directory = try TemporaryDirectory()
        let tensors = ["a": Self.filled(.f32, [3001], seed: 1), "b": Self.filled(.bf16, [70_001], seed: 2)]
        let path = directory.path("a.safetensors")
        try SafetensorsWriter.write(tensors, to: path, existing: .refuse)
        let file = try SafetensorsReader(path)
        for (name, tensor) in tensors {
            let view = try file.tensor(name)
            #expect(Self.bytes(view) == Self.bytes(tensor))
            file.release(name)
            #expect(Self.bytes(view) == Self.bytes(tensor))
        }
        file.release("no such tensor")
    }

    @Test func aTensorOutlivesItsReader() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path("a.safetensors")
        let tensor = Self.filled(.f32, [100_000], seed: 3)
        try SafetensorsWriter.write(["a": tensor], to: path, existing: .refuse)
        let view = try SafetensorsReader(path).tensor("a")
        #expect(Self.bytes(view) == Self.bytes(tensor))
    }

    @Test func misalignedTensorsAreCopied() throws {
        let header = #"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"F32","shape":[2],"data_offsets":[3,11]}}"#
        let values = Tensor([Float(1.5), -2])
        let data = [UInt8](repeating: 9, count: 3) + Self.bytes(values)
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) }
        let file = try SafetensorsReader(bytes: length + Array(header.utf8) + data, name: "memory")
        #expect(try file.tensor("b").floats() == [1.5, -2])
    }

    /// Headers changed at random: never a crash, and what is accepted is consistent and survives a rewrite.
    @Test(arguments: 0..<8 as Range<UInt64>)
    func acceptedMutationsReadTheSameAgain(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let tensors = [
            "blocks.0.weight": Self.filled(.f32, [2, 3], seed: 1), "b": Self.filled(.bf16, [5], seed: 2),
            "é\n": Self.filled(.u8, [0, 4], seed: 3), "c": Self.filled(.i64, [], seed: 4),
        ]
        let original = try SafetensorsWriter.bytes(tensors, metadata: ["format": "pt"])
        var accepted = 0
        for _ in 0..<4000 {
            let bytes = Mutation.apply(to: original, using: &generator)
            guard let file = try? SafetensorsReader(bytes: bytes, name: "mutated") else { continue }
            accepted += 1
            var end = bytes.count - file.tensors.reduce(0) { $0 + $1.byteRange.count }
            var copy: [String: Tensor] = [:]
            for info in file.tensors {
                #expect(info.byteRange.lowerBound == end, "seed \(seed): \(bytes)")
                end = info.byteRange.upperBound
                if info.dtype != nil { copy[info.name] = try file.tensor(info.name) }
            }
            #expect(end == bytes.count, "seed \(seed): \(bytes)")
            let again = try SafetensorsReader(
                bytes: SafetensorsWriter.bytes(copy, metadata: file.metadata), name: "again")
            #expect(again.metadata == file.metadata)
            for (name, tensor) in copy {
                #expect(Self.bytes(try again.tensor(name)) == Self.bytes(tensor), "seed \(seed): \(bytes)")
            }
        }
        #expect(accepted > 0, "mutations that change only names, values or data are accepted")
    }
}

/// A random change to a safetensors file, mostly of its header.
enum Mutation {
    static let pieces = [
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u0000", "\\ud800", "\\n", "null", "true", "-1", "1.0", "1e3",
        "00", "0", "9223372036854775807", "9223372036854775808", "18446744073709551616", "4294967296", " ", "\n",
        "\u{0}", "\u{1}", "é", "\"__metadata__\":{}", "\"x\":[[[[", "\"dtype\":\"F32\"", "\"F4\"", "\"C64\"",
        "\"shape\":[0]", "[1,1,1,1,1,1,1,1,1]", "\"data_offsets\":[0,0]", ",\"x\":1", ",\"y\":{\"a\":[1,{}]}",
    ].map { Array($0.utf8) }

    static func apply(to original: [UInt8], using generator: inout SeededGenerator) -> [UInt8] {
        let length = Int(original[0]) | Int(original[1]) << 8
        var header = Array(original[8..<8 + length])
        var data = Array(original[(8 + length)...])
        for _ in 0..<Int.random(in: 1...3, using: &generator) {
            let place = Int.random(in: 0..<header.count, using: &generator)
            let stretch = place..<min(header.count, place + Int.random(in: 1...12, using: &generator))
            switch Int.random(in: 0..<8, using: &generator) {
            case 0: header[place] = UInt8.random(in: 0...255, using: &generator)
            case 1: header[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 2: header.removeSubrange(stretch)
            case 3: header.insert(contentsOf: header[stretch], at: place)
            case 4: header.replaceSubrange(stretch, with: pieces.randomElement(using: &generator) ?? [])
            case 5: header.insert(contentsOf: pieces.randomElement(using: &generator) ?? [], at: place)
            case 6:
                let digits = header.indices.filter { (0x30...0x39).contains(header[$0]) }
                if let digit = digits.randomElement(using: &generator) {
                    header[digit] = UInt8.random(in: 0x30...0x39, using: &generator)
                }
            default: data = Array(data.dropLast(Int.random(in: 0...2, using: &generator)))
            }
            if header.isEmpty { header = [0x20] }
        }
        var size = header.count
        if Int.random(in: 0..<20, using: &generator) == 0 { size += Int.random(in: -3...3, using: &generator) }
        return (0..<8).map { UInt8(truncatingIfNeeded: size >> (8 * $0)) } + header + data
    }
}

extension Tensor {
    fileprivate func pointer(bytes count: Int) -> UnsafeMutablePointer<UInt8> {
        rawPointer.bindMemory(to: UInt8.self, capacity: count)
    }
}
