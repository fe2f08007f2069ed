import Foundation
import TestSupport
import Testing
import VDiT

/// What a killed process leaves half-written does not stay.
struct LeftoverTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private var parts: [String] { folder.contents.filter { $0.hasSuffix(".part") } }

    private func job(_ name: String, _ more: String...) -> [String] {
        [
            "render", "--model", Golden.sample("wan-mini"), "--prompt-embedding",
            Golden.sample("prompts/01-red-ball-right.safetensors"), "--size", "320x192", "--num-frames", "33",
            "--steps", "1", "--seed", "5", "-q", "-o", folder.path(name),
        ] + more
    }

    /// A render that was stopped from running in the middle of its encoding.
    private func heldWhileEncoding(_ name: String) throws -> CommandRun {
        let run = try CommandRun(job(name))
        let isOfVideo = { (part: String) in part.hasPrefix(".\(name).") && !part.contains("latents") }
        while !parts.contains(where: isOfVideo) { try #require(run.waits(forWork: 0.01)) }
        run.send(SIGSTOP)
        #expect(parts.contains(where: isOfVideo))
        return run
    }

    @Test(arguments: ["a.y4m", "frame%03d.png"])
    func theNextRunRemovesWhatAKilledOneLeft(_ name: String) throws {
        let run = try heldWhileEncoding(name)
        run.send(SIGKILL)
        #expect(try run.finish().status == 128 + SIGKILL)
        #expect(parts.count == 1)
        let again = try CommandRun.run(job(name, "--resume"))
        #expect(again.status == 0, "\(again.errors)")
        #expect(folder.contents.allSatisfy { !$0.hasPrefix(".") }, "\(folder.contents)")
    }

    @Test func aRunLeavesAloneWhatALivingOneIsWriting() throws {
        let run = try heldWhileEncoding("a.y4m")
        let held = parts
        let other = try CommandRun.run(job("a.y4m"))
        #expect(other.status == 75, "\(other.errors)")
        #expect(parts == held)
        run.send(SIGCONT)
        #expect(try run.finish().status == 0)
        #expect(folder.contents == ["a.y4m", "a.y4m.json"])
    }
}
