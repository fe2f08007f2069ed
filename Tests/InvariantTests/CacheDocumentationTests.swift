import Foundation
import Testing
import TestSupport
import VDiT

/// docs/caches.md says what the catalogue says.
@Test func everyStepCacheIsDocumentedWithItsOptionsAndPresets() throws {
    let page = try String(contentsOf: Golden.root.appendingPathComponent("docs/caches.md"), encoding: .utf8)
    let parts = page.components(separatedBy: "\n### ")
    for cache in CacheCatalogue.caches {
        #expect(page.contains("| `\(cache.name)` |"))
        if let paper = cache.paper { #expect(page.contains(paper.arXiv)) }
        let part = try #require(parts.first { $0.hasPrefix("\(cache.name)\n") }, "\(cache.name)")
        for option in cache.options {
            let row = "| `\(option.name)` | `\(option.defaultSetting.text)` | \(option.range) | \(option.summary) |"
            #expect(part.contains(row), "\(cache.name)")
        }
        for preset in cache.presets {
            let values = preset.values.sorted { $0.key < $1.key }.map { "`\($0.key)=\($0.value)`" }
                .joined(separator: " ")
            #expect(part.contains("| `\(preset.name)` | \(preset.models.joined(separator: ", ")) | \(values) |"), "\(cache.name)")
        }
    }
}

/// Every preset's values are within the ranges of its options, and its models get it.
@Test func everyCachePresetIsWithinItsOwnRanges() throws {
    for cache in CacheCatalogue.caches {
        #expect(!cache.summary.isEmpty)
        for preset in cache.presets {
            let named = try CacheChoice(cache: cache.name, options: ["preset": preset.name])
            let spelt = try CacheChoice(cache: cache.name, options: preset.values)
            #expect(named.configured().options == spelt.configured().options)
            for model in preset.models { #expect(cache.preset(forModel: model)?.name == preset.name) }
        }
    }
}
