import Foundation
import Testing
import TestSupport
import VDiT

/// docs/methods.md says what the catalogue says.
@Test func everyMethodOptionAndPresetIsDocumentedWithItsDefault() throws {
    let page = try String(contentsOf: Golden.root.appendingPathComponent("docs/methods.md"), encoding: .utf8)
    for method in MethodCatalogue.methods {
        #expect(page.contains("| `\(method.name)` |"))
        if let paper = method.paper { #expect(page.contains(paper.arXiv)) }
        for option in method.options {
            #expect(page.contains("| `\(option.name)` | `\(option.defaultSetting.text)` |"), "\(method.name)")
        }
        for preset in method.presets {
            let values = preset.values.sorted { $0.key < $1.key }.map { "`\($0.key)=\($0.value)`" }
                .joined(separator: " ")
            let row = "| `\(preset.name)` | \(preset.models.joined(separator: ", ")) | \(values) |"
            #expect(page.contains(row), "\(method.name)")
        }
    }
}
