import Foundation
import TestSupport
import Testing
import VDiT

/// A comparison of methods that cannot be made is refused before anything is computed.
@Suite struct CompareJobTests {
    private func message(_ change: (inout ComparisonJob, TemporaryDirectory) throws -> Void) throws -> String {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        var job = ComparisonJob(
            model: folder.path("model"), prompts: [.embedding(folder.path("a.safetensors"))],
            methods: ["dense", "radial"], directory: folder.path("report"))
        job.request.width = 128
        job.request.height = 128
        job.request.numFrames = 9
        job.request.steps = 3
        job.request.threads = 1
        try change(&job, folder)
        do {
            _ = try Comparison(job)
            return "no error"
        } catch {
            // What is refused leaves nothing behind.
            let left = (try? FileManager.default.contentsOfDirectory(atPath: folder.path("report"))) ?? []
            #expect(left.isEmpty || left == ["thesis.txt"])
            return "\(error)"
        }
    }

    @Test func aJobThatIsRightIsAccepted() throws {
        #expect(try message { _, _ in } == "no error")
    }

    @Test func unknownAndRepeatedMethodsAreNamed() throws {
        #expect(try message { job, _ in job.methods = ["dense", "radail"] }.contains("'radail': unknown"))
        #expect(try message { job, _ in job.methods = ["radial", "radial"] }.contains("radial twice"))
        #expect(try message { job, _ in job.methods = ["dense"] }.contains("found dense alone"))
        #expect(try message { job, _ in job.methods = [] }.contains("found none"))
    }

    @Test func densitiesAndSeedsAreChecked() throws {
        #expect(try message { job, _ in job.densities = [0.5, 0.5] }.contains("0.5 twice"))
        for density in [0, -1, 1.5, Double.nan] {
            #expect(try message { job, _ in job.densities = [density] }.contains("density"), "\(density)")
        }
        #expect(try message { job, _ in job.seeds = [] }.contains("seeds: found none"))
        #expect(try message { job, _ in job.seeds = [1, 1] }.contains("seeds: found one twice"))
        #expect(try message { job, _ in job.seeds = [-1] }.contains("seed: found -1"))
    }

    @Test func optionsOfMethodsThatAreNotComparedAreRefused() throws {
        #expect(
            try message { job, _ in job.options = [try ComparisonOption(parsing: "svg2.top-p=0.9")] }
                .contains("found svg2.top-p, expected an option of radial"))
        #expect(
            try message { job, _ in job.options = [try ComparisonOption(parsing: "no-such=1")] }
                .contains("no-such"))
        #expect(throws: ChoiceError.self) { try ComparisonOption(parsing: "nothing") }
        #expect(throws: ChoiceError.self) { try ComparisonOption(parsing: "nobody.block=1") }
    }

    @Test func promptsAreChecked() throws {
        #expect(try message { job, _ in job.prompts = [] }.contains("prompts: found none"))
        #expect(
            try message { job, folder in
                job.prompts = [.embedding(folder.path("a.safetensors")), .embedding(folder.path("x/a.npy"))]
            }.contains("found two named a"))
        #expect(
            try message { job, folder in job.prompts = [.embedding(folder.path("none.safetensors"))] }
                .contains("none.safetensors"))
    }

    @Test func aFolderWithOtherFilesIsNotTouched() throws {
        let found = try message { job, folder in
            try folder.write("mine", "report/thesis.txt")
            job.directory = folder.path("report")
        }
        #expect(found.contains("found a folder with other files"))
        let earlier = try message { job, folder in
            try folder.write("{}", "old/clips/a-seed1-dense.row.json")
            job.directory = folder.path("old")
        }
        #expect(earlier.contains("found a comparison by an earlier version"))
        let file = try message { job, folder in job.directory = try folder.write("mine", "report") }
        #expect(file.contains("cannot be created"))
    }
}
