import Foundation
import TestSupport
import Testing
import VDiT

/// A prompt embedding that does not fit the model is refused with the file, the field and what was expected.
struct PromptEmbeddingBadInput {
    static func read(
        _ tensors: [String: Tensor], metadata: [String: String] = [:], width: Int = 4
    ) throws -> (prompt: PromptEmbedding, negative: PromptEmbedding?) {
        let path = NSTemporaryDirectory() + "vdit-\(UUID().uuidString).safetensors"
        try SafetensorsWriter.write(tensors, metadata: metadata, to: path, existing: .refuse)
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try PromptEmbedding.read(path, needs: ConditioningNeeds(promptWidth: width))
    }

    struct Bad: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let tensor: Tensor
        let word: String
    }
    static let bad: [Bad] = [
        Bad(testDescription: "width", tensor: Tensor(.f32, [3, 5]), word: "width"),
        Bad(testDescription: "rank 1", tensor: Tensor(.f32, [4]), word: "shape"),
        Bad(testDescription: "rank 4", tensor: Tensor(.f32, [1, 1, 3, 4]), word: "shape"),
        Bad(testDescription: "batch 2", tensor: Tensor(.f32, [2, 3, 4]), word: "batch"),
        Bad(testDescription: "no token", tensor: Tensor(.f32, [0, 4]), word: "tokens"),
        Bad(testDescription: "integers", tensor: Tensor(.i64, [3, 4]), word: "dtype"),
        Bad(testDescription: "NaN", tensor: Tensor([1, .nan, 0, 0], shape: [1, 4]), word: "values"),
        Bad(
            testDescription: "infinity in bf16",
            tensor: Tensor([1, .infinity, 0, 0], shape: [1, 4]).converted(to: .bf16), word: "values"),
        Bad(testDescription: "5000 tokens", tensor: Tensor(.f32, [5000, 4]), word: "tokens"),
    ]

    @Test(arguments: bad)
    func unfitTensorsAreNamed(entry: Bad) throws {
        let error = try #require(throws: PipelineError.self) {
            try Self.read(["prompt_embeds": entry.tensor])
        }
        #expect(error.kind == .badData)
        #expect(error.description.contains("prompt_embeds: \(entry.word)"))
        #expect(!error.description.contains("\n"))
    }

    @Test func anUnfitNegativeIsNamedToo() throws {
        let error = try #require(throws: PipelineError.self) {
            try Self.read([
                "prompt_embeds": Tensor(.f32, [3, 4]), "negative_prompt_embeds": Tensor(.f32, [3, 5]),
            ])
        }
        #expect(error.description.contains("negative_prompt_embeds"))
    }

    @Test func aFileWithoutThePromptSaysWhatItHolds() throws {
        let error = try #require(throws: PipelineError.self) {
            try Self.read(["weights": Tensor(.f32, [3, 4])])
        }
        #expect(error.description.contains("weights") && error.description.contains("prompt_embeds"))
    }

    @Test func missingFilesAndPicklesAreRefused() throws {
        let missing = try #require(throws: FileError.self) {
            try PromptEmbedding.read("/nowhere/prompt.safetensors", needs: ConditioningNeeds(promptWidth: 4))
        }
        #expect(missing.kind == .missingInput)
        let pickle = try #require(throws: FileError.self) {
            try PromptEmbedding.read("prompt.pt", needs: ConditioningNeeds(promptWidth: 4))
        }
        #expect(pickle.description.contains("save_file"))
    }

    @Test(arguments: [DType.f32, .f16, .bf16])
    func allAcceptedFormsGiveTheSameTokens(dtype: DType) throws {
        let values = Tensor([1, 2, -3, 0.5, 0, 4, 8, -1], shape: [2, 4])
        let stored = values.converted(to: dtype)
        for (name, tensor) in [
            ("prompt_embeds", stored), ("prompt_embeds", stored.reshaped([1, 2, 4])),
            ("varlen_t5_bf16", stored),
        ] {
            let read = try Self.read([name: tensor], metadata: ["prompt": "a ball"])
            #expect(read.prompt.tokens.floats() == values.floats())
            #expect(read.prompt.prompt == "a ball" && read.negative == nil)
        }
    }

    @Test func shortPromptsArePaddedAndLongOnesCutWithANotice() throws {
        let prompt = try Self.read(["prompt_embeds": Tensor([1, 2, 3, 4, 5, 6, 7, 8], shape: [2, 4])]).prompt
        let padded = prompt.fitted(to: 3)
        #expect(padded.tokens.floats() == [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0])
        #expect(padded.notice?.contains("padded with zeros to 3") == true)
        let cut = prompt.fitted(to: 1)
        #expect(cut.tokens.floats() == [1, 2, 3, 4])
        #expect(cut.notice?.contains("the end of the prompt is lost") == true)
        #expect(prompt.fitted(to: 2).notice == nil)
    }

    @Test func withoutANegativePromptGuidanceUsesZerosAndSaysSo() throws {
        let path = NSTemporaryDirectory() + "vdit-\(UUID().uuidString).safetensors"
        try SafetensorsWriter.write(
            ["prompt_embeds": Tensor([1, 2, 3, 4], shape: [1, 4])], to: path, existing: .refuse)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let pair = try PromptPair(
            .embedding(path), negative: nil, needs: ConditioningNeeds(promptWidth: 4), length: nil)
        #expect(pair.unconditional.floats() == [0, 0, 0, 0])
        #expect(pair.lacksNegative)
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        var job = RenderJob(
            model: folder.path("model"), promptEmbedding: folder.path("a.safetensors"),
            destination: VideoDestination(path: folder.path("a.mkv")))
        (job.request.width, job.request.height, job.request.numFrames) = (32, 32, 5)
        #expect(try Renderer(job).notices.contains { $0.contains("all-zero") })
        job.request.guidanceScale = 1
        #expect(try !Renderer(job).notices.contains { $0.contains("all-zero") })
    }
}
