import Foundation
import TestSupport
import Testing
import VDiT

/// Ids of every fixture text are the reference's, to the last one.
@Suite struct TokenizerTests {
    struct Row: CustomTestStringConvertible, Sendable {
        let text: String
        let ids: [Int32]
        /// Where the fixture cuts and fills up.
        var length: Int?
        var realCount = 0
        var testDescription: String { "\(text.prefix(40).debugDescription) \(length.map(String.init) ?? "")" }
    }

    static func object(_ file: String) -> [String: Any] {
        let data = FileManager.default.contents(atPath: Golden.path("text-encoders/\(file)")) ?? Data()
        return (try? JSONSerialization.jsonObject(with: data)) as? [String: Any] ?? [:]
    }

    static func rows(_ file: String, _ key: String) -> [Row] {
        (object(file)["cases"] as? [[String: Any]] ?? []).map {
            Row(text: $0["text"] as? String ?? "?", ids: ($0[key] as? [Int] ?? []).map(Int32.init))
        }
    }

    static func padded(_ file: String) -> [Row] {
        (object(file)["padded"] as? [[String: Any]] ?? []).map {
            Row(
                text: $0["text"] as? String ?? "?", ids: ($0["ids"] as? [Int] ?? []).map(Int32.init),
                length: $0["max_length"] as? Int, realCount: $0["length"] as? Int ?? 0)
        }
    }

    static let umt5 = "tokenizer-umt5-like"
    static let t5 = "tokenizer-t5-like"

    static func path(_ file: String) -> String { Golden.path("text-encoders/\(file)") }

    @Test func theFixturesAreComplete() {
        #expect(Self.rows("\(Self.umt5)/cases.json", "hf_ids").count == 80)
        #expect(Self.rows("\(Self.t5)/cases.json", "hf_ids").count == 80)
        #expect(Self.rows("wordpiece-minilm/cases.json", "ids").count == 80)
    }

    @Test func everyTextHasTheReferencesIDsWithTheJSONFile() throws {
        let tokenizer = try UnigramTokenizer(json: Self.path("\(Self.umt5)/tokenizer.json"))
        for row in Self.rows("\(Self.umt5)/cases.json", "hf_ids") {
            #expect(try tokenizer.ids(row.text) == row.ids, "\(row.testDescription)")
        }
    }

    @Test(arguments: [(umt5, 30), (t5, 100)])
    func everyTextHasTheReferencesIDsWithTheSentencePieceFile(folder: String, sentinels: Int) throws {
        let tokenizer = try UnigramTokenizer(sentencePiece: Self.path("\(folder)/spiece.model"), sentinels: sentinels)
        for row in Self.rows("\(folder)/cases.json", "hf_ids") {
            #expect(try tokenizer.ids(row.text) == row.ids, "\(row.testDescription)")
        }
    }

    @Test(arguments: [(umt5, 30), (t5, 100)])
    func textsAreCutAndFilledUpAsTheReferenceDoes(folder: String, sentinels: Int) throws {
        let tokenizer = try UnigramTokenizer(sentencePiece: Self.path("\(folder)/spiece.model"), sentinels: sentinels)
        let rows = Self.padded("\(folder)/cases.json")
        #expect(rows.count > 20)
        for row in rows {
            let length = try #require(row.length)
            let sequence = try tokenizer.sequence(row.text, length: length)
            #expect(sequence.ids.count == row.realCount)
            let filled = sequence.ids + [Int32](repeating: tokenizer.paddingID, count: length - sequence.ids.count)
            #expect(filled == row.ids, "\(row.testDescription)")
        }
    }

    @Test func everyTextHasTheReferencesWordPieces() throws {
        let tokenizer = try WordPieceTokenizer(vocabulary: Self.path("wordpiece-minilm/vocab.txt"))
        for row in Self.rows("wordpiece-minilm/cases.json", "ids") {
            #expect(tokenizer.ids(row.text) == row.ids, "\(row.testDescription)")
        }
        var cut = 0
        for row in Self.rows("wordpiece-minilm/cases.json", "ids_cut_to_32") where !row.ids.isEmpty {
            #expect(try tokenizer.sequence(row.text, length: 32).ids == row.ids, "\(row.testDescription)")
            cut += 1
        }
        #expect(cut > 3)
    }

    @Test func whatIsCutOffIsToldAsText() throws {
        let pieces = try UnigramTokenizer(sentencePiece: Self.path("\(Self.umt5)/spiece.model"), sentinels: 30)
        let lost = try #require(try pieces.sequence("a cat on the grass", length: 4).lost)
        #expect("a cat on the grass".hasSuffix(lost) && lost.count > 3, "\(lost)")
        #expect(try pieces.sequence("a cat on the grass", length: 32).lost == nil)
        let words = try WordPieceTokenizer(vocabulary: Self.path("wordpiece-minilm/vocab.txt"))
        #expect(try words.sequence("a red ball moves unbelievably", length: 5).lost == "moves unbelievably")
    }
}
