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
        for _ in 0..<Int.random(in: 1...8, using: &random) {
            let place = Int.random(in: 0...bytes.count, using: &random)
            let length = min(bytes.count - place, Int.random(in: 0...16, using: &random))
            switch Int.random(in: 0..<6, using: &random) {
            case 0 where place < bytes.count: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: bytes.insert(contentsOf: liked.randomElement(using: &random) ?? [], at: place)
            case 2: bytes.removeSubrange(place..<place + length)
            case 3: bytes.insert(contentsOf: bytes[place..<place + length], at: place)
            case 4: bytes.replaceSubrange(place..<place + length, with: liked.randomElement(using: &random) ?? [])
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
        let good = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        #expect(kind.verdict(on: path) == .accepted)
        let accepted = await SeededGenerator.accepted(of: Self.count) { number in
            var random = SeededGenerator(seed: UInt64(number))
            let damaged = folder.path("\(number)")
            defer { unlink(damaged) }
            do {
                try Data(Self.mutated(good, &random)).write(to: URL(fileURLWithPath: damaged))
            } catch {
                Issue.record("\(error)")
                return false
            }
            let verdict = kind.verdict(on: damaged)
            if case .wrong(let error) = verdict { Issue.record("input \(number): \(error)") }
            return verdict == .accepted
        }
        // Most changes are found out; where text is free, not all can be.
        #expect(accepted < Self.count * 9 / 10)
    }
}
