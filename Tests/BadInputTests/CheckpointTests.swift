import Foundation
import TestSupport
import Testing
import VDiT

/// A checkpoint that is not this run's is refused by name.
struct CheckpointBadInput {
    static func path() -> String { NSTemporaryDirectory() + "vdit-\(UUID().uuidString)" }

    @Test func anotherRunIsRefusedWithTheFieldThatDiffers() throws {
        let checkpoint = Checkpoint(
            completed: 1, latents: Tensor(.f32, [1, 1, 1, 1]), history: SchedulerHistory(),
            learned: [:], identity: ["seed": "7", "width": "320"])
        try checkpoint.verify(identity: ["seed": "7", "width": "320"], path: "c")
        for (field, identity) in [
            ("width", ["seed": "7", "width": "336"]), ("seed", ["seed": "8", "width": "320"]),
            ("density", ["seed": "7", "width": "320", "density": "0.5"]), ("seed", ["width": "320"]),
        ] {
            let error = try #require(throws: PipelineError.self) {
                try checkpoint.verify(identity: identity, path: "c")
            }
            #expect(error.kind == .configuration)
            #expect(error.description.hasPrefix("c: \(field):"))
        }
    }

    @Test func filesThatAreNoCheckpointAreRefused() throws {
        let missing = try #require(throws: FileError.self) { try Checkpoint(path: "/nowhere/c") }
        #expect(missing.kind == .missingInput)
        let path = Self.path()
        defer { try? FileManager.default.removeItem(atPath: path) }
        for metadata in [[:], ["format": "vdit-checkpoint-1"], ["format": "vdit-checkpoint-2"]] {
            try SafetensorsWriter.write(
                ["latents": Tensor(.f32, [1, 1, 1, 1])], metadata: metadata, to: path, existing: .replace)
            let error = try #require(throws: PipelineError.self) { try Checkpoint(path: path) }
            #expect(error.kind == .badData && error.description.contains(path))
        }
        try Data("not a checkpoint at all".utf8).write(to: URL(fileURLWithPath: path))
        #expect(throws: FileError.self) { try Checkpoint(path: path) }
    }
}
