import Foundation
import TestSupport
import Testing
import VDiT

/// Hidden states are the reference's, within what fp32 and bf16 allow.
@Suite struct TextEncoderTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let folder: String
        let precision: Precision
        /// Attend to padding too, as CogVideoX and LTX do.
        var attendsToPadding = false
        var testDescription: String { "\(folder) \(precision)\(attendsToPadding ? " with padding" : "")" }
    }

    static let folders = [
        "umt5-4heads-dkv16", "umt5-2heads-dkv24-8buckets-bf16-sharded", "umt5-512-tokens", "t5-3heads-dkv20",
        "bert-3heads",
    ]

    static let cases = folders.flatMap { folder in
        [Precision.fp32, .bf16].flatMap { precision in
            [false, true].map { Case(folder: folder, precision: precision, attendsToPadding: $0) }
        }
    }

    static func path(_ folder: String) -> String { Golden.path("text-encoders/\(folder)") }

    static func compute(_ precision: Precision, threads: Int = 2) throws -> ComputeContext {
        try ComputeContext(threads: threads, precision: precision)
    }

    /// The ids of a fixture's rows, and the number of real ones in each.
    static func inputs(_ io: SafetensorsReader) throws -> [(ids: [Int32], count: Int)] {
        let (ids, mask) = (try io.tensor("input.ids"), try io.tensor("input.mask"))
        let (all, ones) = (Golden.numbers(ids), Golden.numbers(mask))
        let length = ids.shape[1]
        return (0..<ids.shape[0]).map { row in
            let range = row * length..<(row + 1) * length
            return (all[range].map { Int32($0) }, ones[range].count { $0 == 1 })
        }
    }

    static func encode(_ folder: String, _ sequences: [[Int32]], _ compute: ComputeContext) throws -> [Tensor] {
        let encoder = try TextModelFolder(path(folder), tokenizer: "-").openEncoder().0
        return try encoder.encode(sequences, compute: compute) { _, _ in }
    }

    @Test(arguments: cases)
    func hiddenStatesAreTheReferences(example: Case) throws {
        let io = try SafetensorsReader(Self.path(example.folder) + "/io.safetensors")
        let name = "output.last_hidden_state" + (example.attendsToPadding ? "_without_mask" : "")
        guard io.info(name) != nil else { return }
        let expected = try io.tensor(name)
        let inputs = try Self.inputs(io)
        let found = try Self.encode(
            example.folder, inputs.map { example.attendsToPadding ? $0.ids : Array($0.ids[..<$0.count]) },
            Self.compute(example.precision))
        for (row, states) in found.enumerated() {
            let reference = expected[row].slice(0..<states.shape[0])
            let (relative, maximum) = Golden.difference(states, reference)
            let isExact = example.precision == .fp32
            #expect(relative < (isExact ? 3e-6 : 1e-2), "row \(row): \(relative)")
            #expect(maximum < (isExact ? 2e-5 : 0.1), "row \(row): \(maximum)")
        }
    }

    @Test func rowsAreCutBeforeTheSampleModelsEncoder() throws {
        let io = try SafetensorsReader(Self.path("bert-3heads") + "/io.safetensors")
        let expected = try io.tensor("output.sample_style_prompt_embeds")
        let cut = try Self.inputs(io).map { row in
            row.count <= 32 ? Array(row.ids[..<row.count]) : Array(row.ids[..<32])
        }
        for (row, states) in try Self.encode("bert-3heads", cut, Self.compute(.fp32)).enumerated() {
            let filled = Tensor(.f32, [32, states.columns])
            filled.slice(0..<states.shape[0]).assign(states)
            #expect(Golden.difference(filled, expected[row]).maximum < 2e-5)
        }
    }

    @Test func bucketsAreTheReferences() throws {
        let tables = try #require(TokenizerTests.object("buckets.json")["tables"] as? [String: [String: Any]])
        #expect(tables.count > 2)
        for (name, table) in tables {
            let buckets = DistanceBuckets(
                count: try #require(table["num_buckets"] as? Int),
                maxDistance: try #require(table["max_distance"] as? Int))
            let first = try #require(table["from"] as? Int)
            let expected = try #require(table["buckets"] as? [Int])
            #expect(expected.indices.map { buckets.bucket(first + $0) } == expected, "\(name)")
        }
    }

    /// Bit for bit: alone or among others, on one thread or several, with every instruction set.
    @Test(arguments: folders, InstructionSet.supported)
    func aPromptsRowsDependOnThePromptAlone(folder: String, set: InstructionSet) throws {
        let io = try SafetensorsReader(Self.path(folder) + "/io.safetensors")
        let sequences = try Self.inputs(io).map { Array($0.ids[..<$0.count]) }
        for precision in [Precision.fp32, .bf16] {
            func context(_ threads: Int) -> ComputeContext {
                ComputeContext(pool: WorkPool(threads: threads), instructionSet: set, precision: precision)
            }
            let together = try Self.encode(folder, sequences.reversed(), context(3)).reversed()
            for (ids, expected) in zip(sequences, together) {
                let alone = try Self.encode(folder, [ids], context(1))[0]
                #expect(alone.withBytes { Array($0) } == expected.withBytes { Array($0) }, "\(ids.count) tokens")
            }
        }
    }
}
