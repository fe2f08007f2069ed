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

/// A preset's values hold for the models it is made for.
@Test func aModelsPresetDecidesItsOptions() throws {
    let decay = try ["wan-mini", "wan2.1-t2v-1.3b", "wan2.1-t2v-14b", "wan2.2-t2v-a14b"].map {
        try MethodChoice("radial").configured(forModel: $0).options["decay"]
    }
    #expect(decay == ["0.5", "0.5", "0.2", "0.8"])
}
