import Foundation
import TestSupport
import Testing
import VDiT
@testable import VditCommand

/// Every subcommand serves a family that no file of the program knows.
///
/// The commands run in this process, which the family is made known to; the program itself would not know it.
struct ToyFamilyCommandTests {
    private let folder: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory()
        try ToyFamily.write(to: folder)
    }

    private func vdit(_ line: String, _ prompt: String? = "a") throws {
        let files = ["--model", folder.path("model")]
            + (prompt.map { ["--prompt-embedding", folder.path("\($0).safetensors")] } ?? [])
        var command = try Vdit.parseAsRoot(line.split(separator: " ").map(String.init) + files)
        try command.run()
    }

    private func exists(_ names: String...) -> Bool { names.allSatisfy { FilePath.exists(folder.path($0)) } }

    private static let draft = "--sparse draft --sparse-option pool-height=1 --sparse-option pool-width=2"

    @Test func rendersAndContinues() throws {
        let run = "render --num-frames 9 --steps 4 --seed 3 --threads 1 \(Self.draft) -o \(folder.path("clip.mkv"))"
        try vdit(run + " --dry-run")
        #expect(!exists("clip.mkv"))
        try vdit(run + " --save-latents \(folder.path("latents.safetensors"))")
        #expect(exists("clip.mkv", "clip.mkv.json", "latents.safetensors"))
        let again = "render --from \(folder.path("clip.mkv.json")) --threads 1 -o \(folder.path("again.mkv"))"
        var command = try Vdit.parseAsRoot(again.split(separator: " ").map(String.init))
        try command.run()
        let records = try ["clip", "again"].map { try RunRecord(path: folder.path("\($0).mkv.json")) }
        #expect(records[0].latentsSha256 == records[1].latentsSha256)
    }

    @Test func isComparedWithMethods() throws {
        try vdit(
            "compare --methods draft@0.5,rettention --num-frames 9 --steps 3 --threads 1 -o \(folder.path("report"))")
        #expect(exists("report/report.html", "report/results.json"))
    }

    @Test func isLookedInto() throws {
        let place = "--num-frames 9 --steps 4 --seed 1 --step 2 --layer 1 --threads 1 --sparse rettention"
        try vdit("attention-map \(place) -o \(folder.path("map.png"))")
        try vdit("mask \(place) -o \(folder.path("mask.png"))")
        try ToyFamily.writeInputs(to: folder.path("in.safetensors"))
        try vdit("predict --inputs \(folder.path("in.safetensors")) -o \(folder.path("out.safetensors"))", nil)
        #expect(exists("map.png", "mask.png", "out.safetensors"))
        var inspect = try Vdit.parseAsRoot(["inspect", folder.path("model")])
        try inspect.run()
    }

    @Test func isTimed() throws {
        for what in ["layer", "decode"] {
            let line = "bench \(what) --config toy-mini --size 32x24 --num-frames 5 --threads 1 --repeats 1"
            var command = try Vdit.parseAsRoot(line.split(separator: " ").map(String.init))
            try command.run()
        }
    }

    @Test func goesThroughABatch() throws {
        let path = try folder.write(
            """
            version: 1
            output: "{job}-{seed}.mkv"
            defaults: {model: model, prompt_embedding: b.safetensors, num_frames: 5, steps: 2, threads: 1, codec: ffv1}
            matrix: {seed: [1, 2]}
            jobs: [{name: clip}]
            """, "batch.yaml")
        var command = try Vdit.parseAsRoot(["batch", path])
        try command.run()
        #expect(exists("clip-1.mkv", "clip-2.mkv"))
    }
}
