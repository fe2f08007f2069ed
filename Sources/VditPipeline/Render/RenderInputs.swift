import VditAttention
import VditFiles
import VditMedia
import VditModels
import VditTensor

/// The files a render reads beside the model.
public struct RenderInputs: Sendable {
    public let prompts: PromptPair
    /// `[channels, frames, height, width]` f32 to start from instead of the seed's noise, and its digest.
    let noise: Tensor?
    let noiseDigest: String?
    /// What step caches know of models, and the digest of what a file adds to it.
    let cacheTables: CacheTables
    let cacheTablesDigest: String?
    /// Patterns for every head, and the digest of their file.
    let headTable: HeadTable?
    let headTableDigest: String?
    let pictures: PictureInputs

    /// What a plan takes from them.
    struct Planned {
        let textTokens: RenderPlan.TextTokens
        let textDigests: [(name: String, digest: String)]
        let cacheTables: CacheTables
        let headTable: HeadTable?
    }

    var planned: Planned {
        Planned(
            textTokens: prompts.textTokens, textDigests: prompts.textDigests, cacheTables: cacheTables,
            headTable: headTable)
    }

    /// - Throws: `TensorError` or `PipelineError` naming file, field, what was found and what was expected.
    init(
        _ job: RenderJob, settings: RenderSettings, _ directory: ModelDirectory, _ book: PromptBook, encodes: Bool
    ) throws {
        let model = directory.specification
        let conditioning = model.transformer.conditioning
        prompts = try PromptPair(
            job.prompt, negative: job.negativePrompt, needs: conditioning, length: model.defaults.textLength,
            reading: job.reading(book, settings, pipeline: model.pipeline, encodes: encodes))
        if let sizes = settings.sizes,
            let given = [("latents", job.latents), ("image", job.image), ("last_image", job.lastImage)]
                .first(where: { $0.1 != nil })
        {
            throw PipelineError.setting(
                "sizes", found: sizes.written, expected: "none with \(given.0), which has one size")
        }
        let latents = model.latentShape(
            width: settings.width, height: settings.height, numFrames: settings.numFrames)
        noise = try job.latents.map { path in
            try blaming("latents") {
                try LatentsFile.read(
                    path, channels: latents.channels, extents: [latents.frames, latents.height, latents.width]
                ).latents
            }
        }
        noiseDigest = noise?.withBytes { Digest.sha256($0) }
        pictures = try PictureInputs(job, settings, model)
        let heads = try HeadTableFile.table(of: job, for: settings.method, directory, settings)
        (headTable, headTableDigest) = (heads?.table, heads?.digest)
        (cacheTables, cacheTablesDigest) = try blaming("cache_calibration") { () throws -> (CacheTables, String?) in
            guard let path = job.cacheCalibration else { return (.published, nil) }
            guard let cache = settings.cache else {
                throw PipelineError.setting("cache_calibration", found: path, expected: "none without a step cache")
            }
            let tables = try CacheTables.published.with(
                file: path, for: cache.table(ofModel: model.defaults.name),
                size: settings.videoSize, weights: directory.weightsDigest())
            return (tables, try Digest.sha256(file: path))
        }
    }

    func notices(_ job: RenderJob, _ plan: RenderPlan) -> [String] {
        var notices = prompts.notices + pictures.notices
        if plan.settings.numa { notices.append("\(WorkerPlaces(workers: plan.settings.threads))") }
        if plan.isGuided, prompts.lacksNegative {
            notices.append("no negative prompt embedding given: guidance uses an all-zero one")
        }
        if let negative = job.negativePrompt, !plan.isGuided, plan.isFewStep {
            notices.append("\(negative.path ?? "the negative prompt"): has no effect without guidance")
        }
        if let path = job.latents, job.request.seed != nil, !plan.drawsNoise {
            notices.append("the seed has no effect: the run starts from \(path)")
        }
        return notices
    }
}
