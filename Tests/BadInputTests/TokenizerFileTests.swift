import Foundation
import TestSupport
import Testing
import VDiT

/// Damaged tokenizer files: an error that names the file, or ids the file has; never a trap.
@Suite struct TokenizerFileTests {
    enum Kind: String, CaseIterable {
        case sentencePiece = "spiece.model"
        case json = "tokenizer.json"
        case vocabulary = "vocab.txt"
    }

    static func open(_ kind: Kind, _ bytes: [UInt8], path: String = "x") throws(FileError) -> any Tokenizer {
        switch kind {
        case .sentencePiece: try UnigramTokenizer(sentencePiece: bytes, path: path, sentinels: 30)
        case .json: try UnigramTokenizer(json: bytes, path: path)
        case .vocabulary: try WordPieceTokenizer(vocabulary: bytes, path: path)
        }
    }

    @Test func truncatedSentencePieceFilesAreRefused() throws {
        let folder = try TemporaryDirectory()
        let whole = folder.path("whole")
        try FileKind.sentencePiece.write(to: whole)
        let original = Array(try Data(contentsOf: URL(fileURLWithPath: whole)))
        func verdict(_ length: Int) throws -> FileKind.Verdict {
            FileKind.sentencePiece.verdict(on: try folder.write(Array(original[..<length]), "cut"))
        }
        // Fields of the message end where the next begins: a cut between two leaves a shorter file that is one.
        for length in stride(from: 1, to: original.count, by: 977) {
            let verdict = try verdict(length)
            #expect(verdict == .refused || verdict == .accepted, "length \(length)")
        }
        #expect(try verdict(0) == .refused)
        #expect(try verdict(original.count - 1) == .refused)
    }

    // MARK: defects one at a time

    func expect(
        _ kind: Kind, _ bytes: [UInt8], _ parts: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) {
        do throws(FileError) {
            _ = try Self.open(kind, bytes, path: "folder/file")
            Issue.record("was accepted", sourceLocation: sourceLocation)
        } catch {
            #expect(error.kind == .badData, sourceLocation: sourceLocation)
            for part in ["folder/file: "] + parts {
                #expect(error.description.contains(part), "\(error)", sourceLocation: sourceLocation)
            }
        }
    }

    static func field(_ number: Int, _ bytes: [UInt8]) -> [UInt8] {
        [UInt8(number << 3 | 2), UInt8(bytes.count)] + bytes
    }

    /// A piece of a SentencePiece file: text, score 0, type.
    static func piece(_ text: String, type: UInt8 = 1, score: Float = 0) -> [UInt8] {
        let bits = score.bitPattern
        let word = (0..<4).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }
        return field(1, field(1, Array(text.utf8)) + [0x15] + word + [0x18, type])
    }

    static let specials = piece("<pad>", type: 3) + piece("</s>", type: 3) + piece("<unk>", type: 2)
    /// Trainer: unk_id 2.
    static let trainer = field(2, [0xc0, 0x02, 2])

    @Test func defectsOfASentencePieceFileAreNamed() throws {
        let good = Self.specials + Self.piece("▁a") + Self.trainer
        let tokenizer = try UnigramTokenizer(sentencePiece: good, path: "x", sentinels: 2)
        #expect(try tokenizer.ids("a b <extra_id_1>") == [3, 2, 2, 4, 1])
        expect(.sentencePiece, good + Self.piece("▁a"), "piece 4", "again")
        expect(.sentencePiece, good + Self.piece(""), "piece 4", "0 bytes")
        expect(.sentencePiece, good + Self.piece("b", score: .nan), "piece 4", "finite")
        expect(.sentencePiece, good + Self.piece("b", score: -.infinity), "piece 4", "finite")
        expect(.sentencePiece, good + Self.field(1, Self.field(1, [0xff])), "piece 4", "UTF-8")
        expect(.sentencePiece, good + Self.field(2, [0x18, 2]), "model_type", "found 2")
        expect(.sentencePiece, good + Self.field(2, [0xc0, 0x02, 99]), "unk_id", "99")
        expect(.sentencePiece, good + Self.field(3, [0x18, 0]), "add_dummy_prefix")
        expect(.sentencePiece, good + Self.field(3, Self.field(2, [1, 2, 3])), "precompiled_charsmap", "3 bytes")
        expect(.sentencePiece, good + Self.field(3, Self.field(2, [8, 0, 0, 0, 1, 1, 1, 1])), "precompiled_charsmap")
        expect(.sentencePiece, good + [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], "a field of 4294967295 bytes")
        expect(.sentencePiece, good + [0x0b], "wire type 3")
        expect(.sentencePiece, good + [0x08] + [UInt8](repeating: 0xff, count: 11), "more than 10 bytes")
        expect(.sentencePiece, Self.piece("a") + Self.trainer, "unk_id")
        expect(.sentencePiece, Self.specials, "unk_id", "found 0, pieces of type unknown: [2]")
        expect(.sentencePiece, good + Self.piece("<unknown>", type: 2), "unk_id", "[2, 4]")
        expect(.sentencePiece, Self.piece("<unk>", type: 2), "no <pad>")
        expect(.sentencePiece, Array("<html>".utf8), "byte")
    }

    static func json(
        vocab: String = #"["<pad>",0],["</s>",0],["<unk>",0],["▁a",-1]"#, model: String = #""type":"Unigram","unk_id":2"#,
        added: String = #"{"id":0,"content":"<pad>"},{"id":1,"content":"</s>"}"#,
        rest: String = #""pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}"#
    ) -> [UInt8] {
        Array(#"{"added_tokens":[\#(added)],"model":{\#(model),"vocab":[\#(vocab)]},\#(rest)}"#.utf8)
    }

    @Test func defectsOfATokenizerJSONAreNamed() throws {
        #expect(try UnigramTokenizer(json: Self.json(), path: "x").ids("a a b") == [3, 3, 2, 1])
        expect(.json, Self.json(model: #""type":"BPE","unk_id":2"#), "model.type", "BPE")
        expect(.json, Self.json(model: #""type":"Unigram""#), "model.unk_id")
        expect(.json, Self.json(model: #""type":"Unigram","unk_id":4"#), "unk_id", "4 pieces")
        expect(.json, Self.json(model: #""type":"Unigram","unk_id":2,"byte_fallback":true"#), "byte_fallback")
        expect(.json, Self.json(vocab: #"["<pad>",0],["<pad>",0],["<unk>",0]"#), "piece 1", "again")
        expect(.json, Self.json(vocab: #"["<pad>"],["</s>",0],["<unk>",0]"#), "score")
        expect(.json, Self.json(vocab: #"["<pad>",1e999]"#), "piece 0", "finite")
        expect(.json, Self.json(vocab: #"["<pad>",[0]]"#), "number")
        expect(.json, Self.json(added: #"{"id":0,"content":"<pad>"}"#), "no </s>")
        expect(.json, Self.json(added: #"{"id":0,"content":""}"#), "added_tokens[0]")
        expect(.json, Self.json(added: #"{"id":4294967296,"content":"a"}"#), "added_tokens[0]")
        expect(.json, Self.json(rest: #""pre_tokenizer":{"type":"ByteLevel"}"#), "pre_tokenizer", "ByteLevel")
        expect(.json, Self.json(rest: #""normalizer":{"type":"NFC"}"#), "normalizer", "NFC")
        expect(.json, Self.json(rest: #""normalizer":{"type":"Precompiled","precompiled_charsmap":"!"}"#), "base64")
        let nested = String(repeating: #"{"type":"Sequence","normalizers":["#, count: 9)
        expect(.json, Self.json(rest: #""normalizer":"# + nested), "nested")
        expect(.json, Array("[]".utf8), "object")
        expect(.json, Array("{".utf8), "byte")
    }

    @Test func defectsOfAVocabularyAreNamed() throws {
        let good = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n"
        #expect(try WordPieceTokenizer(vocabulary: Array(good.utf8), path: "x").ids("Ab c") == [2, 5, 6, 1, 3])
        let windows = Array(good.replacing("\n", with: "\r\n").utf8)
        #expect(try WordPieceTokenizer(vocabulary: windows, path: "x").count == 7)
        expect(.vocabulary, Array((good + "a\n").utf8), "line 8", "again")
        expect(.vocabulary, Array((good + "\nb\n").utf8), "line 8", "0 bytes")
        expect(.vocabulary, Array(good.replacing("[SEP]\n", with: "").utf8), "no [SEP]")
        expect(.vocabulary, Array(good.utf8) + [0xff], "UTF-8")
        expect(.vocabulary, [], "no [PAD]")
    }
}
