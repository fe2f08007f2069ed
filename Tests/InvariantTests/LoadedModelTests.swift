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
        let loaded = try LoadedModel(model, RenderSettings(RenderRequest(), model: model.specification, sampler: model.scheduler))
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
}
