import VditAttention
import VditMedia
import VditTensor

extension Renderer {
    /// What is embedded in the video and in the latents file.
    var fileMetadata: [String: String] {
        var metadata = [
            "comment": "vdit \(vditVersion), \(plan.model.defaults.name), seed \(settings.seed), "
                + "\(settings.steps) steps, guidance \(settings.guidanceScale), "
                + "\(settings.scheduler.kind.rawValue), flow shift \(settings.scheduler.flowShift), "
                + "attention \(settings.sparse)"
        ]
        if let cache = plan.cache { metadata["comment"]? += ", step cache \(cache.name)" }
        if !model.adapters.isEmpty {
            metadata["comment"]? += ", " + model.adapters.summaries.joined(separator: ", ")
        }
        // Files have no place for a NUL, which a prompt may have.
        metadata["title"] = prompts.prompt.prompt?.filter { $0 != "\0" }
        return metadata
    }

    func record(
        output: RunRecord.Output, attention: [AttentionContext], caches: [CacheContext], timing: RunRecord.Timing,
        latents: Tensor, instructionSet: InstructionSet
    ) -> RunRecord {
        func embedding(_ prompt: PromptEmbedding) -> RunRecord.Embedding? {
            prompt.source.map {
                RunRecord.Embedding(
                    path: $0.embedding, sha256: prompt.digest, shape: prompt.storedShape,
                    dtype: prompt.storedType.rawValue)
            }
        }
        return RunRecord(
            command: job.command,
            model: RunRecord.Model(
                family: plan.model.defaults.name, path: model.path, files: model.files,
                dtype: model.storedType, parts: model.reference.isWhole ? nil : model.reference),
            lora: model.adapters.records,
            inputs: RunRecord.Inputs(
                promptEmbedding: embedding(prompts.prompt),
                negativePromptEmbedding: embedding(prompts.negative), prompt: prompts.prompt.prompt,
                negativePrompt: prompts.negative.encoder == nil ? nil : prompts.negative.prompt,
                textEncoder: prompts.encoder,
                latents: job.latents, latentsSha256: inputs.noiseDigest, image: job.image,
                lastImage: job.lastImage, video: settings.video),
            sampling: RunRecord.Sampling(settings),
            attention: RunRecord.Attention(
                method: plan.method, table: job.sparseTable, contexts: attention, pairs: plan.pairs,
                headDim: plan.model.transformer.headDim,
                predictedStateBytes: estimate.methodBytes, instructionSet: instructionSet),
            caching: RunRecord.Caching(
                caches, calibration: job.cacheCalibration, layers: plan.model.transformer.layers,
                works: plan.parts.map(\.work), predictedStateBytes: estimate.cacheBytes),
            output: output, timing: timing, latentsSha256: latents.withBytes { Digest.sha256($0) },
            resumedSteps: resumed?.completed, warnings: notices)
    }
}
