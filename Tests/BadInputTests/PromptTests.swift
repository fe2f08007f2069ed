import Foundation
import TestSupport
import Testing
import VDiT

/// Every text is a prompt or gets a clear error; an encoder that does not fit is refused before it runs.
@Suite struct PromptTests {
    static func compute() -> ComputeContext {
        ComputeContext(pool: WorkPool(threads: 1), instructionSet: .scalar, precision: .fp32)
    }

    @Test(arguments: TinyTextModel.Kind.allCases)
    func everyTextIsAPrompt(kind: TinyTextModel.Kind) throws {
        let model = try TinyTextModel(kind)
        let family = kind == .umt5 ? "wan" : kind == .t5 ? "mochi" : "wan-mini"
        let encoder = try PromptEncoder(TextModelFolder(model.path), family: family)
        let long = Array(repeating: "word", count: 10_000).joined(separator: " ")
        let texts = [
            "", " \n\t ", "🐱👨‍👩‍👧‍👦🇩🇪", "nul\u{0}inside", "\u{0}", long, String(repeating: "x", count: 100_000),
            "\u{fffd}", "\u{202e}\u{200b}e\u{301}\u{301}\u{301}",
        ]
        let found = try encoder.encode(texts, compute: Self.compute())
        for prompt in found {
            #expect(prompt.embedding.shape == [encoder.rules.length, TinyTextModel.width])
            #expect(prompt.embedding.isFinite)
            #expect(1...encoder.rules.length ~= prompt.ids.count && prompt.ids.last == encoder.tokenizer.endID)
        }
        let cut = found[5]
        #expect(cut.ids.count == encoder.rules.length)
        #expect(try #require(cut.lost).hasSuffix("word word"))
        #expect(found[0].lost == nil)
    }

    func expect(
        _ parts: [String], kind: FailureKind = .badData, sourceLocation: SourceLocation = #_sourceLocation,
        _ body: () throws -> Void
    ) {
        do {
            try body()
            Issue.record("was accepted", sourceLocation: sourceLocation)
        } catch {
            let failure = error as? any Failure
            #expect(failure?.kind == kind, "\(error)", sourceLocation: sourceLocation)
            for part in parts { #expect("\(error)".contains(part), "\(error)", sourceLocation: sourceLocation) }
        }
    }

    @Test func aPromptOfMoreThanAMegabyteIsRefused() throws {
        let model = try TinyTextModel(.umt5)
        let encoder = try PromptEncoder(TextModelFolder(model.path))
        expect(["prompt", "1048577 bytes"]) {
            _ = try encoder.tokens(String(repeating: "x", count: 1 << 20 + 1))
        }
    }

    @Test func whatIsMissingIsNamed() throws {
        let model = try TinyTextModel(.umt5)
        func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: model.folder.path(name)) }
        try remove("tokenizer/tokenizer.json")
        // The other file serves as well.
        _ = try PromptEncoder(TextModelFolder(model.path))
        try remove("tokenizer/spiece.model")
        expect(["tokenizer/spiece.model"], kind: .missingInput) {
            _ = try PromptEncoder(TextModelFolder(model.path, tokenizer: model.folder.path("tokenizer")))
        }
        expect(["tokenizer"], kind: .missingInput) { _ = try PromptEncoder(TextModelFolder(model.path)) }
        try remove("text_encoder/config.json")
        expect(["text_encoder/config.json"], kind: .missingInput) {
            _ = try TextModelFolder(model.path, tokenizer: "-").openEncoder()
        }
        expect(["nowhere"], kind: .missingInput) { _ = try TextModelFolder("nowhere") }
    }

    @Test func anEncoderThatDoesNotFitIsRefused() throws {
        let wan = try TinyTextModel(.umt5)
        expect(["umt5", "CogVideoXPipeline"]) {
            _ = try PromptEncoder(TextModelFolder(wan.path), pipeline: "CogVideoXPipeline")
        }
        // Three families have a T5: which one is meant has to be said.
        let t5 = try TinyTextModel(.t5)
        expect(["cogvideox, ltx, mochi"]) { _ = try PromptEncoder(TextModelFolder(t5.path)) }
        _ = try PromptEncoder(TextModelFolder(t5.path), pipeline: "LTXPipeline")
        // Ids beyond the embedding.
        expect(["vocabulary", "930 ids", "800"]) {
            _ = try PromptEncoder(TextModelFolder(t5.path, tokenizer: wan.folder.path("tokenizer")), family: "ltx")
        }
        for (key, value) in [
            ("\"eos_token_id\":1", "\"eos_token_id\":2"), ("\"gated-gelu\"", "\"relu\""),
            ("\"num_layers\":2", "\"num_layers\":3"), ("\"d_kv\":8", "\"d_kv\":16"), ("\"d_kv\":8", "\"d_kv\":-1"),
        ] {
            let model = try TinyTextModel(.umt5)
            let path = model.folder.path("text_encoder/config.json")
            let text = try String(contentsOfFile: path, encoding: .utf8)
            try text.replacing(key, with: value).write(toFile: path, atomically: true, encoding: .utf8)
            expect([model.path]) { _ = try PromptEncoder(TextModelFolder(model.path)) }
        }
    }

    @Test func aPickledEncoderIsRefused() throws {
        let directory = try TemporaryDirectory()
        try directory.write([0x80, 2, 0x7d] + [UInt8](repeating: 0, count: 64), "models_t5_umt5-xxl-enc-bf16.pth")
        expect(["pickle"]) {
            _ = try TextModelFolder(directory.path("models_t5_umt5-xxl-enc-bf16.pth"), tokenizer: "-").openEncoder()
        }
    }
}
