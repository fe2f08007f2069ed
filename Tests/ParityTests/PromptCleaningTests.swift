import Foundation
import TestSupport
import Testing
import VDiT

/// Prompts are cleaned as the Wan pipelines clean them.
@Suite struct PromptCleaningTests {
    @Test func everyFixtureIsCleanedAsTheReferenceDoes() {
        let rows = TokenizerTests.object("cleaning/cases.json")["cases"] as? [[String: String]] ?? []
        #expect(rows.count == 125)
        for row in rows {
            // Text that was decoded wrongly once is not repaired.
            let expected = row["cleaned_without_mojibake_repair"] ?? row["cleaned"] ?? "?"
            let found = PromptCleaning.wan.applied(to: row["text"] ?? "?")
            // Not ==, for which a letter with an accent and the two apart are the same.
            #expect(
                found.unicodeScalars.elementsEqual(expected.unicodeScalars),
                "\(row["text"]?.debugDescription ?? ""): \(found.debugDescription)")
        }
    }

    @Test func everyNameOfHTMLIsKnown() {
        let names = TokenizerTests.object("cleaning/html5-entities.json") as? [String: String] ?? [:]
        #expect(names.count == 2231)
        for (name, text) in names {
            // One that cleaning leaves alone tells the two apart.
            let found = PromptCleaning.wan.applied(to: "x&\(name)x")
            let expected = PromptCleaning.wan.applied(to: "x\(text)x")
            #expect(found.unicodeScalars.elementsEqual(expected.unicodeScalars), "&\(name): \(found.debugDescription)")
        }
    }

    @Test func oldLettersStayWhatTheyAre() {
        for text in ["\u{1113}\u{1176}\u{11e4}", "\u{1112}\u{119e}\u{11ab}"] {
            #expect(PromptCleaning.wan.applied(to: text).unicodeScalars.elementsEqual(text.unicodeScalars))
        }
    }

    @Test func cleaningWhatIsCleanChangesNothing() {
        for row in TokenizerTests.rows("cleaning/cases.json", "ids") {
            let once = PromptCleaning.wan.applied(to: row.text)
            let again = PromptCleaning.wan.applied(to: once)
            #expect(again == once || once.contains("&"), "\(once.debugDescription)")
        }
    }
}
