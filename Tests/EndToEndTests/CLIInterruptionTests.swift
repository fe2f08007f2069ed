import Foundation
import Glibc
import TestSupport
import Testing
import VDiT

/// A run that is stopped loses nothing and leaves nothing.
struct CLIInterruptionTests {
    static let steps = 120

    /// The bytes of the run nobody disturbs.
    static func undisturbed(_ folder: TemporaryDirectory) throws -> Data {
        let path = folder.path("whole.y4m")
        #expect(try CommandRun.run(smallRender(path, steps: steps, "--seed", "5", "--quiet")).status == 0)
        return try bytes(path)
    }

    @Test(arguments: [(SIGINT, 130), (SIGTERM, 143), (SIGHUP, 129)] as [(Int32, Int32)])
    func stoppedRunResumesToTheSameBytes(_ signal: Int32, _ status: Int32) throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("a.y4m")
        let job = smallRender(path, steps: Self.steps, "--seed", "5", "--log-format", "json")
        let run = try CommandRun(job)
        #expect(run.waits(for: #""step":3,"#))
        run.send(signal)
        let stopped = try run.finish()
        #expect(stopped.status == status)
        #expect(stopped.lines.last?.contains("--resume") == true, "\(stopped.errors)")
        #expect(folder.contents == ["a.y4m.vdit-checkpoint"])

        let resumed = try CommandRun.run(job + ["--resume"])
        #expect(resumed.status == 0, "\(resumed.errors)")
        #expect(resumed.errors.contains(#""event":"resumed""#))
        #expect(folder.contents == ["a.y4m", "a.y4m.json"])
        #expect(try bytes(path) == Self.undisturbed(folder))
    }

    @Test func killedRunResumesToTheSameBytes() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("a.y4m")
        let job = smallRender(path, steps: Self.steps, "--seed", "5", "--checkpoint-every", "1", "-v")
        let run = try CommandRun(job)
        #expect(run.waits(for: "step   4/"))
        run.send(SIGKILL)
        #expect(try run.finish().status == 128 + SIGKILL)
        #expect(!FileManager.default.fileExists(atPath: path))
        let resumed = try CommandRun.run(job + ["--resume"])
        #expect(resumed.status == 0, "\(resumed.errors)")
        #expect(resumed.errors.contains("resuming after step"))
        #expect(try bytes(path) == Self.undisturbed(folder))
    }

    @Test func resumeRefusesOtherSettingsAndTakesASeedThatWasDrawn() throws {
        let folder = try TemporaryDirectory()
        let job = smallRender(folder.path("a.y4m"), steps: Self.steps, "--log-format", "json")
        let run = try CommandRun(job)
        #expect(run.waits(for: #""step":2,"#))
        run.send(SIGTERM)
        #expect(try run.finish().status == 143)
        let other = try CommandRun.run(job + ["--resume", "--guidance-scale", "3"])
        #expect(other.status == 78)
        #expect(other.errors.contains("guidance_scale"), "\(other.errors)")
        #expect(try CommandRun.run(job + ["--resume"]).status == 0)
    }

    @Test func aFinishedRunIsResumedByDoingNothing() throws {
        let folder = try TemporaryDirectory()
        let job = smallRender(folder.path("a.y4m"), steps: 1, "--seed", "5", "--resume")
        #expect(try CommandRun.run(job).status == 0)
        let before = try bytes(folder.path("a.y4m.json"))
        let again = try CommandRun.run(job)
        #expect(again.status == 0 && again.errors.contains("there already"), "\(again.errors)")
        #expect(try bytes(folder.path("a.y4m.json")) == before)
        // Nothing of other settings is done.
        #expect(try CommandRun.run(job + ["--guidance-scale", "3"]).status == 78)
        #expect(try CommandRun.run(job + ["--overwrite"]).status == 0)
    }

    @Test func aModelFileThatIsCutShortIsNamed() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        let weights = folder.path("model/vae/diffusion_pytorch_model.safetensors")
        let run = try CommandRun([
            "render", "--model", folder.path("model"), "--prompt-embedding", folder.path("a.safetensors"), "--size",
            "96x64", "--num-frames", "5", "--steps", "900", "--log-format", "json", "-o", folder.path("a.y4m"),
        ])
        #expect(run.waits(for: #""step":2,"#))
        #expect(truncate(weights, 9000) == 0)
        let result = try run.finish()
        #expect(result.status == 74 && result.lines.last?.contains(weights) == true, "\(result.errors.suffix(300))")
    }

    @Test func userSignalSavesTheStateAndTheRunGoesOn() throws {
        let folder = try TemporaryDirectory()
        let run = try CommandRun(
            smallRender(
                folder.path("a.y4m"), steps: Self.steps, "--checkpoint-every", "\(Self.steps)", "--log-format",
                "json"))
        #expect(run.waits(for: #""step":2,"#))
        run.send(SIGUSR1)
        let result = try run.finish()
        #expect(result.status == 0)
        // The last step is always saved; the other one was asked for.
        #expect(result.lines.count { $0.contains(#""event":"checkpoint""#) } == 2, "\(result.errors)")
    }

    /// A render whose three steps take half a second each, more or less, stopped in the middle of the second.
    private struct LongSteps {
        let folder: TemporaryDirectory
        let run: CommandRun
        let job: [String]
        var output: String { folder.path("long.y4m") }

        init() throws {
            // Held there, as the step does not wait for a test that the machine has no time for.
            while true {
                let folder = try TemporaryDirectory()
                let run = try CommandRun(Self.job(folder))
                #expect(run.waits(for: #""step":1,"#))
                let step = try #require(run.errorsSoFar.firstMatch(of: /"seconds":([0-9.]+),"step":1,/))
                #expect(run.waits(forWork: 0.2 * (try #require(Double(step.1)))))
                run.send(SIGSTOP)
                usleep(20_000)
                if !run.errorsSoFar.contains(#""step":2,"#) {
                    (self.folder, self.run, job) = (folder, run, Self.job(folder))
                    return
                }
                run.send(SIGKILL)
                _ = try run.finish()
            }
        }

        /// Sends a signal and lets the run go on.
        func send(_ signal: Int32) {
            run.send(signal)
            run.send(SIGCONT)
        }

        var savedSteps: Int? { try? Checkpoint(path: Checkpoint.path(forOutput: output)).completed }

        /// Goes on, and expects the bytes of a run nobody disturbed.
        func resumes() throws {
            let resumed = try CommandRun.run(job + ["--resume"])
            #expect(resumed.status == 0, "\(resumed.errors)")
            #expect(folder.contents == ["long.y4m", "long.y4m.json"])
            #expect(try Digest.sha256(file: output) == Self.undisturbed.get())
        }

        private static let undisturbed = Result {
            let folder = try TemporaryDirectory()
            #expect(try CommandRun.run(job(folder)).status == 0)
            return try Digest.sha256(file: folder.path("long.y4m"))
        }

        private static func job(_ folder: TemporaryDirectory) -> [String] {
            [
                "render", "--model", Golden.sample("wan-mini"), "--prompt-embedding",
                Golden.sample("prompts/01-red-ball-right.safetensors"), "--size", "320x192", "--num-frames", "17",
                "--steps", "3", "--seed", "5", "--threads", "1", "--log-format", "json", "-o",
                folder.path("long.y4m"),
            ]
        }
    }

    @Test func theFirstSignalLetsTheStepAtWorkEnd() throws {
        let long = try LongSteps()
        long.send(SIGINT)
        let stopped = try long.run.finish()
        #expect(stopped.status == 130)
        #expect(stopped.errors.contains(#""event":"finishing","seconds""#), "\(stopped.errors)")
        #expect(stopped.lines.count { $0.contains(#""event":"step""#) } == 2)
        #expect(stopped.lines.last?.contains("after step 2 of 3") == true && long.savedSteps == 2)
        try long.resumes()
    }

    @Test func theSecondSignalGivesTheStepUp() throws {
        let long = try LongSteps()
        long.send(SIGTERM)
        #expect(long.run.waits(for: #""event":"finishing""#))
        // What is finished is on disk by now, whoever may be in a hurry.
        #expect(long.savedSteps == 1)
        long.run.send(SIGINT)
        let stopped = try long.run.finish()
        #expect(stopped.status == 143)
        #expect(stopped.errors.contains(#""event":"giving_up""#), "\(stopped.errors)")
        #expect(stopped.lines.last?.contains("after step 1 of 3") == true && long.savedSteps == 1)
        try long.resumes()
    }

    @Test func theThirdSignalEndsTheProcessAndLosesNoFinishedStep() throws {
        let long = try LongSteps()
        long.send(SIGINT)
        #expect(long.run.waits(for: #""event":"finishing""#))
        // Both before it can do anything about the first.
        long.run.send(SIGSTOP)
        for signal in [SIGHUP, SIGTERM, SIGCONT] { long.run.send(signal) }
        let stopped = try long.run.finish()
        #expect([128 + SIGHUP, 128 + SIGTERM].contains(stopped.status), "\(stopped.status)")
        #expect(long.savedSteps == 1)
        try long.resumes()
    }

    @Test func aRunStoppedWhileDecodingGoesOnWithTheLatentsItKept() throws {
        let folder = try TemporaryDirectory()
        let job = smallRender(
            folder.path("a.y4m"), steps: 1, "--seed", "5", "--save-latents", folder.path("kept.safetensors"), "-v")
        let run = try CommandRun(job)
        #expect(run.waits(for: "latents in "))
        run.send(SIGTERM)
        let stopped = try run.finish()
        #expect(stopped.status == 143 && stopped.errors.contains("while decoding"), "\(stopped.errors)")
        let resumed = try CommandRun.run(job + ["--resume"])
        #expect(resumed.status == 0, "\(resumed.errors)")
        #expect(folder.contents == ["a.y4m", "a.y4m.json", "kept.safetensors"])
    }

    @Test func fileSizeLimitIsAnErrorAndLeavesNothingUnderTheFinalName() throws {
        let folder = try TemporaryDirectory()
        let result = try CommandRun.run(
            smallRender(folder.path("a.y4m"), steps: 1), script: #"ulimit -f 4; exec "$VDIT" "$@""#)
        #expect(result.status == 74, "\(result.errors)")
        #expect(result.lines.last?.hasPrefix("vdit: ") == true)
        #expect(!folder.contents.contains("a.y4m"))
        #expect(!folder.contents.contains { $0.hasSuffix(".part") })
    }
}
