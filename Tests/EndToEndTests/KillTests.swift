import Foundation
import Glibc
import TestSupport
import Testing
import VDiT

/// A render, a batch or a comparison that is killed again and again, at moments nobody chose, still makes the bytes of
/// one that nobody disturbed, and leaves nothing else behind.
///
/// `VDIT_KILLS` sets how many runs are killed: of renders with each method, of batches and of comparisons with all
/// methods. Figures of long runs are in docs/reliability.md.
struct KillTests {
    private static let count = ProcessInfo.processInfo.environment["VDIT_KILLS"].flatMap { Int($0) } ?? 6

    private static let methods = MethodCatalogue.methods.filter { $0.trained == nil }.map(\.name)

    /// Runs a command to its end, then kills it at moments of the time that took.
    ///
    /// - Parameter anew: removes what it made where it was faster.
    private func kill(_ start: () throws -> CommandRun, whole: () throws -> CommandRun, anew: () throws -> Void) throws {
        let started = ContinuousClock.now
        let undisturbed = try whole().finish()
        #expect(undisturbed.status == 0, "\(undisturbed.errors)")
        let seconds = started.secondsUntilNow
        var random = SeededGenerator(seed: 16)
        var killed = 0
        while killed < Self.count {
            let run = try start()
            usleep(UInt32(Double.random(in: 0...seconds, using: &random) * 1e6))
            run.send(SIGKILL)
            let ended = try run.finish()
            if ended.status == 128 + SIGKILL {
                killed += 1
            } else {
                try #require(ended.status == 0, "\(ended.errors)")
                try anew()
            }
        }
        let last = try start().finish()
        #expect(last.status == 0, "\(last.errors)")
    }

    private func render(_ output: String, _ method: String) -> [String] {
        smallRender(output, steps: 6, "--seed", "5", "--sparse", method, "--checkpoint-every", "1", "-q", "--resume")
            + (method == "dense" ? [] : ["--dense-steps", "1"])
    }

    @Test(arguments: methods)
    func aRenderKilledAtAnyMomentGoesOnToTheSameBytes(_ method: String) throws {
        let folder = try TemporaryDirectory()
        try kill { try CommandRun(render(folder.path("a.y4m"), method)) } whole: {
            try CommandRun(render(folder.path("whole.y4m"), method))
        } anew: {
            for name in ["a.y4m", "a.y4m.json"] { unlink(folder.path(name)) }
        }
        #expect(try bytes(folder.path("a.y4m")) == bytes(folder.path("whole.y4m")))
        #expect(folder.contents == ["a.y4m", "a.y4m.json", "whole.y4m", "whole.y4m.json"], "\(folder.contents)")
    }

    @Test func aBatchOfAllMethodsKilledAtAnyMomentGoesOnToTheSameBytes() throws {
        let methods = Self.methods.map { "{name: \($0), sparse: \($0)}" }.joined(separator: ", ")
        let fixtures = try (0..<2).map { _ in
            try BatchFixture(
                "matrix:\n  method: [\(methods)]", steps: 6, extra: ["checkpoint_every: 1", "sparse_fallback: dense"],
                output: "out/{job}-{method}.mkv")
        }
        func run(_ fixture: BatchFixture) throws -> CommandRun { try fixture.start(["batch", "batch.yaml", "-q"]) }
        try kill { try run(fixtures[0]) } whole: { try run(fixtures[1]) } anew: {
            try FileManager.default.removeItem(atPath: fixtures[0].folder.path("out"))
        }
        #expect(try fixtures[0].videos() == fixtures[1].videos() && fixtures[0].videos().count == Self.methods.count)
        #expect(try fixtures[0].leftovers() == [])
    }

    @Test func aComparisonOfAllMethodsKilledAtAnyMomentGoesOnToTheSameBytes() throws {
        let folder = try TemporaryDirectory()
        func run(_ report: String) throws -> CommandRun {
            try CommandRun([
                "compare", "--model", Golden.sample("wan-mini"), "--prompt-embedding",
                Golden.sample("prompts/01-red-ball-right.safetensors"), "--negative-prompt-embedding",
                Golden.sample("prompts/empty.safetensors"), "--size", "96x64", "--num-frames", "5", "--steps", "6",
                "--methods", Self.methods.joined(separator: ","), "--sparse-option", "dense-steps=1",
                "--sparse-fallback", "dense", "-q", "-o", folder.path(report),
            ])
        }
        try kill { try run("a") } whole: { try run("whole") } anew: {
            try FileManager.default.removeItem(atPath: folder.path("a"))
        }
        func files(_ report: String) -> [String: Data?] {
            let paths = FileManager.default.subpaths(atPath: folder.path(report)) ?? []
            // Tables and records tell where the folder is and how long things took.
            let others = ["html", "csv", "sqlite", "json"]
            return Dictionary(uniqueKeysWithValues: paths.map { path in
                let isOther = others.contains { path.hasSuffix($0) }
                return (path, isOther ? nil : FileManager.default.contents(atPath: folder.path("\(report)/\(path)")))
            })
        }
        let (found, expected) = (files("a"), files("whole"))
        #expect(found == expected, "\(Set(found.keys).symmetricDifference(expected.keys))")
        #expect(expected.keys.count { $0.hasSuffix(".mkv") } == Self.methods.count)
    }
}
