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

    enum Reader: String, CaseIterable, Sendable {
        case safetensors, gguf, scaled, npy, checkpoint, record, config, pipeline, prompt

        /// A good file of its kind.
        func write(to path: String) throws {
            var random = TorchRandom(seed: 9)
            switch self {
            case .safetensors:
                try SafetensorsWriter.write(
                    ["a": random.normal([3, 5]), "b.c": random.normal([7]).converted(to: .bf16)],
                    metadata: ["format": "pt"], to: path, existing: .replace)
            case .gguf, .scaled:
                let name = self == .gguf ? "gguf/bad/ok-every-value-type.gguf" : "fp8/bad/ok-scaled.safetensors"
                try Data(contentsOf: URL(fileURLWithPath: Golden.path(name))).write(to: URL(fileURLWithPath: path))
            case .npy: try Npy.write(random.normal([4, 6]), to: path, existing: .replace)
            case .checkpoint: try CheckpointExample.make().write(to: path)
            case .record: try Data(Self.recordText.utf8).write(to: URL(fileURLWithPath: path))
            case .config: try Data(Self.configText.utf8).write(to: URL(fileURLWithPath: path))
            case .pipeline: try Data(Self.pipelineText.utf8).write(to: URL(fileURLWithPath: path))
            case .prompt:
                try SafetensorsWriter.write(
                    ["prompt_embeds": random.normal([1, 8, 48])], metadata: ["prompt": "a ball"], to: path,
                    existing: .replace)
            }
        }

        /// Reads a file of its kind as the command does, every tensor of it too.
        func read(_ path: String) throws {
            switch self {
            case .safetensors:
                let file = try SafetensorsReader(path)
                for name in file.names { _ = try file.tensor(name).isFinite }
            case .gguf, .scaled:
                let store = try WeightStore(path)
                for name in store.names where store.info(name)?.isWeight == true { _ = try store.tensor(name) }
            case .npy: _ = try Npy.read(path)
            case .checkpoint: _ = try Checkpoint(path: path)
            case .record: _ = try RunRecord(path: path)
            case .config:
                let file = try ConfigFile(path: path)
                _ = try? file.integerIfPresent("steps", 1...1000)
                _ = try? file.numberIfPresent("shift", 0...1)
                _ = try? file.stringsIfPresent("names")
            case .pipeline: _ = try PipelineFile(path: path).expand()
            case .prompt:
                _ = try PromptEmbedding.read(path, needs: ConditioningNeeds(promptWidth: 48))
            }
        }

        private static let configText =
            #"{"_class_name": "X", "steps": 50, "shift": 0.5, "names": ["a", "b"], "nested": {"a": [1, 2, null]}}"#
        private static let pipelineText =
            "version: 1\ndefaults:\n  model: m\n  prompt_embedding: p\n  steps: 4\noutput: o/{seed}.mp4\n"
            + "matrix:\n  seed: [1, 2]\njobs:\n  - name: a\n  - {name: b, needs: [a], fps: 16}\n"
        private static let recordText =
            #"{"command":["vdit"],"created":"x","inputs":{},"latents_sha256":"x","model":{"dtype":"BF16","family":"f","#
            + #""files":[{"bytes":1,"header_sha256":"x","name":"n"}],"path":"p"},"output":{"fps":"16/1","frames":5,"#
            + #""height":32,"path":"o","width":48},"peak_rss_bytes":1,"schema":1,"timing_s":{"decode":0,"denoise":1.5,"#
            + #""encode":0,"load":0,"per_step":[1,2]},"vdit_version":"0.1.0","warnings":[]}"#
    }

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

    @Test(arguments: Reader.allCases)
    func damagedFilesAreRefusedOrWork(_ reader: Reader) async throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("file")
        try reader.write(to: path)
        let good = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        try reader.read(path)
        let accepted = await SeededGenerator.accepted(of: Self.count) { number in
            var random = SeededGenerator(seed: UInt64(number))
            let damaged = folder.path("\(number)")
            defer { unlink(damaged) }
            do {
                try Data(Self.mutated(good, &random)).write(to: URL(fileURLWithPath: damaged))
                try reader.read(damaged)
                return true
            } catch {
                let failure = error as? any Failure
                #expect(failure != nil && failure?.kind != .internalError, "input \(number): \(error)")
                #expect((failure?.description.utf8.count ?? 0) < 20_000, "input \(number)")
                return false
            }
        }
        // Most changes are found out; where text is free, not all can be.
        #expect(accepted < Self.count * 9 / 10)
    }
}

/// A state with something of everything.
private enum CheckpointExample {
    static func make() -> Checkpoint {
        var random = TorchRandom(seed: 1)
        var history = SchedulerHistory()
        history.tensors = ["output.0": random.normal([2, 1, 3, 3])]
        history.numbers = ["outputs": 1]
        return Checkpoint(
            completed: 3, latents: random.normal([2, 1, 3, 3]), history: history,
            learned: ["0.conditional.2.centroids": random.normal([4, 8])], identity: ["seed": "7"])
    }
}
