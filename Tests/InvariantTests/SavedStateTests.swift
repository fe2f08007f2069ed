import Foundation
import TestSupport
import Testing
import VDiT

/// What a run computed is never lost: not by forgetting a flag, not in any instant of its end.
struct SavedStateTests {
    private let folder: TemporaryDirectory
    private var job: RenderJob

    init() throws {
        folder = try TemporaryDirectory()
        job = try GenerationRenderTests.job(folder.path)
        job.destination.options.existing = .refuse
    }

    private var state: String { Checkpoint.path(forOutput: job.destination.path) }

    private func stop(_ job: RenderJob, after step: Int) throws {
        let stop = StopFlag()
        #expect(throws: PipelineError.self) {
            try Renderer(job).run(stop: stop) { event in
                if case .step(step, _, _) = event { stop.requestStop() }
            }
        }
    }

    private func undisturbed() throws -> String? {
        let other = try TemporaryDirectory()
        var whole = job
        whole.destination.path = other.path("out.mkv")
        return try Renderer(whole).run().output.sha256
    }

    @Test func aRunThatIsStartedAgainGoesOnWithoutBeingTold() throws {
        try stop(job, after: 3)
        let resumed = try Renderer(job).run()
        #expect(resumed.resumedSteps == 3)
        #expect(try resumed.output.sha256 == undisturbed())
    }

    @Test func theStateOfAnotherRunIsKept() throws {
        try stop(job, after: 3)
        var other = job
        other.request.guidanceScale = 2
        let renderer = try Renderer(other)
        #expect(renderer.notices.contains { $0.contains("guidance_scale") && $0.hasSuffix("kept as \(state).1") })
        #expect(try renderer.run().resumedSteps == nil)
        #expect(folder.contents == ["out.mkv", "out.mkv.json", "out.mkv.vdit-checkpoint.1"])
        // Under its own name again it is as good as it was.
        for name in ["out.mkv", "out.mkv.json"] { try FileManager.default.removeItem(atPath: folder.path(name)) }
        try FileManager.default.moveItem(atPath: state + ".1", toPath: state)
        var again = job
        again.resume = .required
        #expect(try Renderer(again).run().resumedSteps == 3)
    }

    @Test func aFileThatIsNoStateIsKept() throws {
        try folder.write("no state", "out.mkv.vdit-checkpoint")
        try folder.write("nor this", "out.mkv.vdit-checkpoint.1")
        #expect(try Renderer(job).run().resumedSteps == nil)
        #expect(try String(contentsOfFile: state + ".2", encoding: .utf8) == "no state")
        #expect(try String(contentsOfFile: state + ".1", encoding: .utf8) == "nor this")
    }

    @Test func aTrajectoryIsWhole() throws {
        try stop(job, after: 2)
        var traced = job
        traced.saveTrajectory = folder.path("steps")
        #expect(try Renderer(traced).run().resumedSteps == nil)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("steps")).count == 5)
        #expect(FileManager.default.fileExists(atPath: state + ".1"))
    }

    /// The files of a finished run, with the state it would have left if it had been killed shortly before.
    private func finishedWithState(_ job: RenderJob) throws -> RunRecord {
        let kept = Checkpoint.path(forOutput: job.destination.path)
        let latents = kept.replacingOccurrences(of: ".vdit-checkpoint", with: ".latents.safetensors")
        let record = try Renderer(job).run { event in
            // Other names of the same files, with the times they have.
            if case .frames(5, of: 5) = event { for path in [kept, latents] { _ = link(path, path + ".kept") } }
        }
        for path in [kept, latents] { #expect(rename(path + ".kept", path) == 0) }
        return record
    }

    /// Files that are not there yet, counted from the last that is made.
    @Test(arguments: 0...3)
    func everyInstantOfFinishingIsFollowedByTheRest(_ missing: Int) throws {
        var job = job
        job.destination.contactSheet = folder.path("sheet.png")
        let whole = try finishedWithState(job)
        for name in ["out.mkv.json", "sheet.png", "out.mkv"].prefix(missing) {
            try FileManager.default.removeItem(atPath: folder.path(name))
        }
        job.resume = .ifPossible
        let resumed = try Renderer(job).run()
        #expect(resumed.output.sha256 == whole.output.sha256 && resumed.resumedSteps == 4)
        #expect(folder.contents == ["out.mkv", "out.mkv.json", "sheet.png"])
    }

    @Test func framesThatHaveTheirNamesAlreadyStay() throws {
        var job = job
        job.destination.path = folder.path("%03d.png")
        job.destination.options = VideoOptions(frameRate: try FrameRate(16))
        _ = try finishedWithState(job)
        for name in ["003.png", "004.png", "sequence.json"] {
            try FileManager.default.removeItem(atPath: folder.path(name))
        }
        _ = try Renderer(job).run()
        #expect(folder.contents == ["000.png", "001.png", "002.png", "003.png", "004.png", "sequence.json"])
    }

    @Test func aFileOfSomebodyElseIsNeverTakenForItsOwn() throws {
        // Older than the state: there before the run, and nothing needs to be computed to tell.
        _ = try finishedWithState(job)
        let output = job.destination.path
        try FileManager.default.setAttributes([.modificationDate: Date(timeIntervalSince1970: 1)], ofItemAtPath: output)
        #expect(throws: (any Error).self) { try Renderer(job) }
        // Younger, with other bytes.
        try folder.write("somebody else's", "out.mkv")
        let renderer = try Renderer(job)
        let error = try #require(try #require(throws: (any Error).self) { try renderer.run() } as? any Failure)
        #expect(error.kind == .cannotCreate && error.description.contains("another content"))
        #expect(try String(contentsOfFile: output, encoding: .utf8) == "somebody else's")
        #expect(FileManager.default.fileExists(atPath: state))
    }

    @Test func twoRunsNeverWorkOnOneOutput() throws {
        var refused = 0
        _ = try Renderer(job).run { event in
            guard case .step(1, _, _) = event else { return }
            let error = try #require(throws: FileError.self) { try Renderer(job).run() }
            #expect(error.kind == .temporary && error.description.contains("out.mkv"))
            refused += 1
        }
        #expect(refused == 1)
        #expect(folder.contents == ["out.mkv", "out.mkv.json"])
    }

    @Test(arguments: [231, 232])
    func aNameTooLongForWhatLiesBesideItIsRefusedBeforeAnythingIsComputed(_ count: Int) throws {
        var job = job
        job.destination.path = folder.path(String(repeating: "n", count: count) + ".mkv")
        if count == 231 {
            #expect(try Renderer(job).run().output.frames == 5)
            #expect(folder.contents.count == 2)
        } else {
            let error = try #require(try #require(throws: (any Error).self) { try Renderer(job) } as? any Failure)
            #expect(error.kind == .cannotCreate && error.description.contains("too long"))
        }
    }

    @Test func aPreviewIsAFrameOfTheVideoThatTheStepPointsTo() throws {
        var job = job
        job.request.numFrames = 9
        job.destination.path = folder.path("%03d.png")
        job.destination.options = VideoOptions(frameRate: try FrameRate(16))
        job.destination.metadata = .omit
        job.preview = (every: 4, path: folder.path("preview.png"))
        _ = try Renderer(job).run()
        let (preview, frame) = (folder.path("preview.png"), folder.path("004.png"))
        #expect(FileManager.default.contents(atPath: preview) == FileManager.default.contents(atPath: frame))
    }

    @Test func aDecoderThatChangedDuringTheRunIsNotUsed() throws {
        try TinyModel.write(to: folder)
        var job = job
        job.model.path = folder.path("model")
        job.prompt = .embedding(folder.path("a.safetensors"))
        job.negativePrompt = nil
        let weights = folder.path("model/vae/diffusion_pytorch_model.safetensors")
        let error = try #require(throws: FileError.self) {
            try Renderer(job).run { event in
                guard case .step(1, _, _) = event else { return }
                let file = try #require(FileHandle(forWritingAtPath: weights))
                try file.seek(toOffset: 20_000)
                try file.write(contentsOf: Data(repeating: 0x3c, count: 1000))
            }
        }
        #expect(error.kind == .ioError && error.description.contains(weights), "\(error)")
        #expect(!FileManager.default.fileExists(atPath: job.destination.path))
    }
}
