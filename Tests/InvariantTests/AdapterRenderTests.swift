import Foundation
import TestSupport
import Testing
import VDiT

/// Adapters in whole jobs: what the run is identified by, what is recorded, what is refused.
struct AdapterRenderTests {
    static let adapter = Golden.sample("wan-mini/lora/4-step.safetensors")

    static func job(_ folder: String, _ adapters: [AdapterChoice]) throws -> RenderJob {
        var job = try GenerationRenderTests.job(folder)
        job.request.steps = 2
        job.request.guidanceScale = 1
        job.adapters = adapters
        return job
    }

    @Test func anAdapterChangesTheLatentsAndStrengthZeroDoesNot() throws {
        try GenerationRenderTests.inFolder { folder in
            let without = try Renderer(Self.job(folder, [])).run()
            let with = try Renderer(Self.job(folder, [AdapterChoice(path: Self.adapter)])).run()
            let none = try Renderer(Self.job(folder, [AdapterChoice(path: Self.adapter, strength: 0)])).run()
            #expect(without.lora == nil && with.latentsSha256 != without.latentsSha256)
            #expect(none.latentsSha256 == without.latentsSha256)
            #expect(none.warnings.contains { $0.contains("strength 0") })
            let recorded = try #require(with.lora?.first)
            #expect(recorded.path == Self.adapter && recorded.strength == 1 && recorded.target == .all)
            #expect(recorded.rank == 32 && recorded.modules == 80)
            #expect(try recorded.sha256 == Digest.sha256(file: Self.adapter))
            #expect(try RunRecord(path: folder + "/out.mkv.json").lora == none.lora)
        }
    }

    @Test func aCheckpointOfAnotherStrengthIsRefusedByName() throws {
        try GenerationRenderTests.inFolder { folder in
            let stop = StopFlag()
            _ = try? Renderer(Self.job(folder, [AdapterChoice(path: Self.adapter)])).run(stop: stop) { event in
                if case .step = event { stop.requestStop() }
            }
            for other in [[], [AdapterChoice(path: Self.adapter, strength: 0.5)]] {
                var job = try Self.job(folder, other)
                job.resume = .required
                let error = try #require(throws: PipelineError.self) { try Renderer(job) }
                #expect(error.kind == .configuration && error.description.contains("lora"))
            }
            var job = try Self.job(folder, [AdapterChoice(path: Self.adapter)])
            job.resume = .required
            #expect(try Renderer(job).run().resumedSteps == 1)
        }
    }

    @Test func whatCannotBeMergedIsRefusedBeforeAnythingIsLoaded() throws {
        try GenerationRenderTests.inFolder { folder in
            for adapters in [
                [AdapterChoice(path: Self.adapter), AdapterChoice(path: Self.adapter, strength: 0.5)],
                [AdapterChoice(path: Self.adapter, strength: .nan)],
                [AdapterChoice(path: Self.adapter, target: .lowNoise)],
            ] {
                let error = try #require(throws: PipelineError.self) { try Renderer(Self.job(folder, adapters)) }
                #expect(error.kind == .usage)
            }
            let foreign = Golden.path("lora/kohya-names/lora.safetensors")
            #expect(throws: ModelError.self) { try Renderer(Self.job(folder, [AdapterChoice(path: foreign)])) }
        }
    }

    @Test func aDistilledAdapterUnderManyGuidedStepsIsANotice() throws {
        try GenerationRenderTests.inFolder { folder in
            var job = try Self.job(folder, [AdapterChoice(path: Self.adapter)])
            #expect(!(try Renderer(job).notices.contains { $0.contains("burnt") }))
            job.request.guidanceScale = 4
            #expect(try Renderer(job).notices.contains { $0.contains("burnt") })
        }
    }

    @Test func aStrengthIsWhatFollowsTheLastEqualsSignIfItIsANumber() {
        #expect(AdapterChoice(written: "a.safetensors=0.8") == AdapterChoice(path: "a.safetensors", strength: 0.8))
        #expect(AdapterChoice(written: "a=b.safetensors") == AdapterChoice(path: "a=b.safetensors"))
        #expect(AdapterChoice(written: "a=b=-1e-1") == AdapterChoice(path: "a=b", strength: -0.1))
    }
}

/// A pipeline whose class says that its model was distilled.
struct DistilledPipelineTests {
    @Test func gatesOfATrainedSparseAttentionAreLeftOutAloud() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        let path = folder.path("model/transformer/diffusion_pytorch_model.safetensors")
        let file = try SafetensorsReader(path)
        var tensors: [String: Tensor] = [:]
        for name in file.names { tensors[name] = try file.tensor(name).copy() }
        for block in 0..<2 {
            tensors["blocks.\(block).to_gate_compress.weight"] = Tensor(.f32, [128, 128])
            tensors["blocks.\(block).to_gate_compress.bias"] = Tensor(.f32, [128])
        }
        try SafetensorsWriter.write(tensors, metadata: [:], to: path, existing: .replace)
        try folder.write(
            #"{"_class_name": "WanDMDPipeline", "transformer_2": [null, null]}"#, "model/model_index.json")
        let model = try ModelDirectory(path: folder.path("model"))
        #expect(model.specification.defaults.fewStep == "fastwan-3")
        var job = RenderJob(
            model: folder.path("model"), promptEmbedding: folder.path("a.safetensors"),
            destination: VideoDestination(path: folder.path("out.mkv")))
        (job.request.width, job.request.height, job.request.numFrames) = (32, 32, 5)
        #expect(try Renderer(job).notices.contains { $0.contains("the gates of its trained sparse attention are left out") })
        // One of another shape is not such a gate.
        tensors["blocks.0.to_gate_compress.bias"] = Tensor(.f32, [64])
        try SafetensorsWriter.write(tensors, metadata: [:], to: path, existing: .replace)
        #expect(throws: TensorError.self) { try ModelDirectory(path: folder.path("model")) }
    }
}
