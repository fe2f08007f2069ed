import Foundation
import TestSupport
import Testing
import VDiT

/// Whatever bytes a reader is given, it answers with a value or an error: it never traps, and takes no more memory than
/// the file is worth.
///
/// `make fuzz` gives each a million; docs/reliability.md has what came of it.
struct MutationTests {
    private static let count = SeededGenerator.mutatedFiles(orFew: 1500)

    /// One to eight changes: bits, bytes that formats like, pieces cut out, repeated or overwritten, a shorter file.
    private static func mutated(_ bytes: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
        let liked: [[UInt8]] = [
            [0], [0xff], Array("{".utf8), Array("[".utf8), Array("\"".utf8), Array("-".utf8), Array("9".utf8),
            Array("18446744073709551615".utf8), Array("1e999".utf8), Array("null".utf8), Array("\u{2028}".utf8),
            Array("\\u0000".utf8), Array("\\ud800".utf8), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            Array(": *a\n".utf8), Array("&a [*a]".utf8), Array(repeating: UInt8(ascii: "["), count: 300),
        ]
        var bytes = bytes
        // Most of many files is one table of like things: half of the damage goes to their two ends.
        func place() -> Int {
            let whole = Int.random(in: 0...bytes.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: return whole % (min(bytes.count, 400) + 1)
            case 1: return bytes.count - whole % (min(bytes.count, 400) + 1)
            default: return whole
            }
        }
        for _ in 0..<Int.random(in: 1...8, using: &random) {
            let place = place()
            let length = min(bytes.count - place, Int.random(in: 0...16, using: &random))
            switch Int.random(in: 0..<7, using: &random) {
            case 0 where place < bytes.count: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: bytes.insert(contentsOf: liked.randomElement(using: &random) ?? [], at: place)
            case 2: bytes.removeSubrange(place..<place + length)
            case 3: bytes.insert(contentsOf: bytes[place..<place + length], at: place)
            case 4: bytes.replaceSubrange(place..<place + length, with: liked.randomElement(using: &random) ?? [])
            case 5: for index in place..<place + length { bytes[index] = 0 }
            default: if Int.random(in: 0..<8, using: &random) == 0 { bytes.removeLast(bytes.count - place) }
            }
        }
        return bytes
    }

    @Test(arguments: FileKind.allCases)
    func damagedFilesAreRefusedOrWork(_ kind: FileKind) async throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("file")
        try kind.write(to: path)
        #expect(kind.verdict(on: path) == .accepted)
        let found = try kind.corpus()
        for (name, bytes) in found {
            if case .wrong(let error) = kind.verdict(on: try folder.write(bytes, name)) {
                Issue.record("Tests/Fuzz/corpus/\(name): \(error)")
            }
        }
        // As many from the good file as from all that the fuzzer found.
        let good = [Array(try Data(contentsOf: URL(fileURLWithPath: path)))]
        let accepted = await SeededGenerator.accepted(of: Self.count) { number in
            var random = SeededGenerator(seed: UInt64(number))
            let damaged = folder.path("\(number)")
            defer { unlink(damaged) }
            let sources = number % 2 == 0 || found.isEmpty ? good : found.map(\.bytes)
            let source = sources.randomElement(using: &random) ?? []
            do {
                try Data(Self.mutated(source, &random)).write(to: URL(fileURLWithPath: damaged))
            } catch {
                Issue.record("\(error)")
                return false
            }
            let verdict = kind.verdict(on: damaged)
            if case .wrong(let error) = verdict { Issue.record("input \(number): \(error)") }
            return verdict == .accepted
        }
        let kept = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
        }.filter { $0.hasPrefix(folder.path("")) }
        #expect(kept.isEmpty, "\(kept.count) files were left open")
        // Many changes are found out; where text is free, not all can be.
        #expect(accepted < Self.count)
    }
}
