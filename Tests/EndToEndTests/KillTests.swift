import Foundation
import Glibc
import TestSupport
import Testing
import VDiT

/// A render that is killed again and again, at moments nobody chose, still makes the bytes of one that nobody disturbed,
/// and leaves nothing else behind.
///
/// `VDIT_KILLS` sets how many runs of each method are killed; figures of long runs are in docs/reliability.md.
struct KillTests {
    private static let count = ProcessInfo.processInfo.environment["VDIT_KILLS"].flatMap { Int($0) } ?? 6

    private static let methods = MethodCatalogue.methods.filter { $0.trained == nil }.map(\.name)

    private func render(_ output: String, _ method: String) -> [String] {
        smallRender(output, steps: 6, "--seed", "5", "--sparse", method, "--checkpoint-every", "1", "-q")
            + (method == "dense" ? [] : ["--dense-steps", "1"])
    }

    @Test(arguments: methods)
    func killedAtAnyMomentItGoesOnToTheSameBytes(_ method: String) throws {
        let folder = try TemporaryDirectory()
        let started = ContinuousClock.now
        #expect(try CommandRun.run(render(folder.path("whole.y4m"), method)).status == 0)
        let whole = started.secondsUntilNow
        let expected = try bytes(folder.path("whole.y4m"))
        var random = SeededGenerator(seed: 16)
        var killed = 0
        while killed < Self.count {
            let run = try CommandRun(render(folder.path("a.y4m"), method))
            usleep(UInt32(Double.random(in: 0...whole, using: &random) * 1e6))
            run.send(SIGKILL)
            guard try run.finish().status == 128 + SIGKILL else {
                // It was faster.
                for name in ["a.y4m", "a.y4m.json"] { unlink(folder.path(name)) }
                continue
            }
            killed += 1
        }
        let last = try CommandRun.run(render(folder.path("a.y4m"), method) + ["--resume"])
        #expect(last.status == 0, "\(last.errors)")
        #expect(try bytes(folder.path("a.y4m")) == expected)
        #expect(folder.contents == ["a.y4m", "a.y4m.json", "whole.y4m", "whole.y4m.json"], "\(folder.contents)")
    }
}
