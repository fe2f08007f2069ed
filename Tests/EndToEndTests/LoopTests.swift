import Foundation
import TestSupport
import Testing
import VDiT

/// `loop`, a setting that is a row of the table and its use, everywhere a setting is.
struct LoopTests {
    let folder: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
    }

    /// The count in the application extension that says how often a GIF repeats; nil where it has none.
    private func repeats(_ name: String) throws -> Int? {
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder.path(name))))
        let mark = Array("NETSCAPE2.0".utf8) + [3, 1]
        return (0..<bytes.count - mark.count - 2).first { Array(bytes[$0..<$0 + mark.count]) == mark }
            .map { Int(bytes[$0 + mark.count]) | Int(bytes[$0 + mark.count + 1]) << 8 }
    }

    @Test func aFlagAVariableAndARecordSayHowOftenAGIFRepeats() throws {
        for (name, more, count) in [("a.gif", [], 0), ("b.gif", ["--loop", "300"], 300), ("c.gif", ["--loop=-1"], nil)] {
            let made = try CommandRun.run(arguments(name) + more)
            #expect(made.status == 0, "\(made.errors)")
            #expect(try repeats(name) == count)
        }
        #expect(try CommandRun.run(arguments("d.gif"), environment: ["VDIT_LOOP": "7"]).status == 0)
        #expect(try repeats("d.gif") == 7)
        #expect(try CommandRun.run(["render", "--from", folder.path("b.gif.json"), "-o", folder.path("e.gif")]).status == 0)
        #expect(try repeats("e.gif") == 300)
        #expect(try Data(contentsOf: URL(fileURLWithPath: folder.path("a.gif.json"))).range(of: Data("loop".utf8)) == nil)
    }

    @Test func otherFilesAndOtherNumbersAreRefused() throws {
        let video = try CommandRun.run(arguments("a.mkv") + ["--loop", "3"])
        #expect(video.status == 64 && video.errors.contains("loop of a .mkv output: found 3, expected none"))
        let far = try CommandRun.run(arguments("a.gif") + ["--loop", "65536"])
        #expect(far.status == 64 && far.errors.contains("loop: found 65536, expected -1 to 65535"))
    }

    @Test func aPipelineFileSaysItAndItsLineIsNamed() throws {
        func plan(_ output: String) throws -> BatchPlan {
            let path = try folder.write(
                """
                version: 1
                defaults: {model: model, prompt_embedding: a.safetensors, size: 32x32, num_frames: 5, steps: 2}
                jobs:
                  - name: one
                    output: \(output)
                    loop: 3
                """, "pipeline.yaml")
            return try BatchPlan(PipelineFile(path: path))
        }
        #expect(try plan("a.gif").jobs.first?.renderJob?.destination.options.loop == 3)
        let error = try #require(throws: BatchError.self) { _ = try plan("a.mkv") }
        guard case .pipeline(_, let problems, _) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(problems.map(\.mark.line) == [6])
    }

    private func arguments(_ name: String) -> [String] {
        [
            "render", "--model", folder.path("model"), "--prompt-embedding", folder.path("a.safetensors"), "--size",
            "32x32", "--num-frames", "5", "--steps", "2", "--seed", "1", "-o", folder.path(name),
        ]
    }
}
