import TestSupport
import Testing
import VDiT

@testable import VditPipeline

/// What the jobs of a batch have in common is looked at for the first of them.
struct KnownFilesTests {
    @Test func aRunIsEstimatedOnceForAllItsSeeds() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        let model = try ModelDirectory(path: folder.path("model"))
        let known = KnownFiles()
        /// What is known of a job's cost when it is planned.
        func found(_ change: (inout RenderJob) -> Void) throws -> (known: Estimate?, own: Estimate) {
            var job = RenderJob(
                model: folder.path("model"), promptEmbedding: folder.path("a.safetensors"),
                destination: VideoDestination(path: "o.mkv"))
            (job.request.width, job.request.height, job.request.numFrames, job.request.steps) = (32, 32, 5, 4)
            change(&job)
            let settings = try RenderSettings(job.request, model: model.specification, sampler: model.scheduler)
            var estimate: Estimate?
            let inputs = try RenderInputs(job, settings: settings, model, PromptBook(), encodes: false).planned
            let (plan, _) = try known.plan(job, settings) { inputs } _: { inputs, known in
                estimate = known
                return try RenderPlan(
                    settings, model: model.specification, text: inputs.textTokens, fallback: job.fallback,
                    estimate: known)
            }
            let alone = try RenderPlan(
                settings, model: model.specification, text: inputs.textTokens, fallback: job.fallback)
            #expect(plan.estimate == alone.estimate)
            return (estimate, alone.estimate)
        }
        let first = try found { $0.request.seed = 1 }
        #expect(first.known == nil)
        #expect(try found { $0.request.seed = 2 }.known == first.own)
        #expect(try found { $0.request.frameRate = .sixteen }.known == first.own)
        for other in [
            { $0.request.steps = 5 }, { $0.request.sparse = "radial" }, { $0.request.precision = .int8 },
            { $0.prompt = .embedding(folder.path("b.safetensors")) }, { $0.fallback = .dense },
            { $0.request.weights = .stored }, { $0.request.guidanceScale = 1 },
            { $0.request.threads = 7 },
        ] as [(inout RenderJob) -> Void] {
            #expect(try found(other).known == nil)
        }
    }
}
