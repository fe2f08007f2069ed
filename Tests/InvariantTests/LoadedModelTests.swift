import Foundation
import TestSupport
import Testing
import VDiT

@testable import VditPipeline

struct LoadedModelTests {
    /// A batch's first job may have room for both transformers and its second for one only.
    @Test func ofSeveralTransformersOnlyTheOneAskedForStays() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        try FileManager.default.copyItem(
            atPath: folder.path("model/transformer"), toPath: folder.path("model/transformer_2"))
        let part = #"["diffusers", "WanTransformer3DModel"]"#
        try folder.write(
            #"{"_class_name": "WanPipeline", "boundary_ratio": 0.875, "transformer": \#(part), "transformer_2": \#(part)}"#,
            "model/model_index.json")
        let model = try ModelDirectory(path: folder.path("model"))
        let plan = try RenderPlan(RenderRequest(), model: model.specification, sampler: model.scheduler)
        let loaded = try LoadedModel(model, plan)
        _ = try loaded.transformer(0)
        let one = loaded.heldBytes
        _ = try loaded.transformer(1)
        #expect(one > 0 && loaded.heldBytes == one)
        loaded.keepsAllTransformers = true
        _ = try loaded.transformer(0)
        #expect(loaded.heldBytes == 2 * one)
        loaded.keepsAllTransformers = false
        _ = try loaded.transformer(0)
        #expect(loaded.heldBytes == one)
    }

    /// What has no room packed runs from its file, in the same bytes; who says `packed` is told.
    @Test func weightsStayInTheirFileWherePackedOnesHaveNoRoom() throws {
        let folder = try TemporaryDirectory()
        var job = RenderJob.sample(in: folder, width: 96, height: 64, "dense")
        job.request.precision = .fp32
        let packed = try Renderer(job)
        let (most, least) = (packed.estimate.peakBytes, packed.plan.least.estimate.peakBytes)
        #expect(packed.plan.keeping == .packed && least < most - 1000)
        _ = try packed.run()
        let video = try Data(contentsOf: URL(fileURLWithPath: job.destination.path))

        job.destination.path = folder.path("stored.y4m")
        job.memoryLimit = most - 1
        let stored = try Renderer(job)
        #expect(stored.plan.keeping == .stored && stored.estimate.peakBytes == least)
        #expect(stored.notices.contains { $0.hasPrefix("weights as-stored: packed") })
        _ = try stored.run()
        #expect(try Data(contentsOf: URL(fileURLWithPath: job.destination.path)) == video)

        job.destination.path = folder.path("refused.y4m")
        job.memoryLimit = least - 1
        #expect(throws: PipelineError.self) { _ = try Renderer(job) }
        job.memoryLimit = most - 1
        job.request.weights = .packed
        #expect(throws: PipelineError.self) { _ = try Renderer(job) }
    }
}
