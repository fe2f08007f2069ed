import Foundation
import TestSupport
import Testing
import VDiT

/// A whole job, from files to files, on the sample model at its smallest.
struct GenerationRenderTests {
    static func job(_ folder: String) throws -> RenderJob {
        var options = VideoOptions(frameRate: try FrameRate(16))
        options.codec = .ffv1
        options.existing = .replace
        var job = RenderJob(
            model: Golden.sample("wan-mini"),
            promptEmbedding: Golden.sample("prompts/01-red-ball-right.safetensors"),
            destination: VideoDestination(path: folder + "/out.mkv", options: options))
        job.negativePrompt = .embedding(Golden.sample("prompts/empty.safetensors"))
        job.request.width = 48
        job.request.height = 32
        job.request.numFrames = 5
        job.request.steps = 4
        job.request.seed = 3
        job.request.threads = 2
        return job
    }

    static func inFolder(_ body: (String) throws -> Void) throws {
        let folder = NSTemporaryDirectory() + "vdit-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    @Test func aJobLeavesTheVideoItsRecordAndWhatWasAskedForAndNothingElse() throws {
        try Self.inFolder { folder in
            var job = try Self.job(folder)
            job.saveLatents = folder + "/latents.safetensors"
            job.saveTrajectory = folder + "/steps"
            job.preview = (2, folder + "/preview.png")
            job.destination.contactSheet = folder + "/out.png"
            var steps = 0
            var frames = 0
            let record = try Renderer(job).run { event in
                if case .step = event { steps += 1 }
                if case .frames(let done, 5) = event { frames = done }
            }
            #expect(steps == 4 && frames == 5)
            let present = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
            #expect(
                present == [
                    "latents.safetensors", "out.mkv", "out.mkv.json", "out.png", "preview.png", "steps",
                ])
            let stored = try RunRecord(path: folder + "/out.mkv.json")
            #expect(stored == record)
            let digest = try Digest.sha256(file: folder + "/out.mkv")
            #expect(record.output.sha256 == digest)
            #expect(record.inputs.prompt == "a red ball moves from left to right over a dark blue background")
            let trajectory = try FileManager.default.contentsOfDirectory(atPath: folder + "/steps")
            #expect(trajectory.count == 5)
            let (latents, _) = try LatentsFile.read(job.saveLatents ?? "", channels: 16)
            let last = try SafetensorsReader(folder + "/steps/step_003.safetensors")
            let final = try last.tensor("latents").floats()
            #expect(final == latents.floats())
        }
    }

    @Test func aStoppedJobResumesToTheSameBytes() throws {
        try Self.inFolder { folder in
            let job = try Self.job(folder)
            let whole = try Renderer(job).run()
            for stopAfter in 1...4 {
                let stop = StopFlag()
                var error: PipelineError?
                do {
                    _ = try Renderer(job).run(stop: stop) { event in
                        if case .step(stopAfter, _, _) = event { stop.requestStop() }
                    }
                } catch let thrown as PipelineError { error = thrown }
                guard case .cancelled(_, _, let checkpoint?) = error else {
                    Issue.record("stopping after \(stopAfter) gave \(String(describing: error))")
                    return
                }
                #expect(FileManager.default.fileExists(atPath: checkpoint))
                var again = job
                again.resume = .required
                let resumed = try Renderer(again).run()
                #expect(resumed.resumedSteps == stopAfter)
                #expect(resumed.latentsSha256 == whole.latentsSha256)
                #expect(resumed.output.sha256 == whole.output.sha256)
                #expect(!FileManager.default.fileExists(atPath: checkpoint))
            }
        }
    }

    @Test func resumingWithOtherSettingsNamesTheField() throws {
        try Self.inFolder { folder in
            let job = try Self.job(folder)
            let stop = StopFlag()
            _ = try? Renderer(job).run(stop: stop) { event in
                if case .step = event { stop.requestStop() }
            }
            var other = job
            other.resume = .required
            other.request.guidanceScale = 5
            let error = try #require(throws: PipelineError.self) { try Renderer(other) }
            #expect(error.description.contains("guidance_scale") && error.kind == .configuration)
        }
    }
}
