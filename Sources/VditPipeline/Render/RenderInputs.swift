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
    let picture: Picture?

    /// A picture in the video's size.
    struct Picture: Sendable {
        /// `[3, 1, height, width]` f32 in -1...1.
        let pixels: Tensor
        let digest: String
        let notices: [String]

        /// - Source: `VideoProcessor.preprocess` of diffusers, which stretches.
        init(_ path: String, width: Int, height: Int, _ fit: ImageFit) throws(MediaError) {
            let image = try StillImage(path)
            let own = image.frame
            let cover = own.covering(width: width, height: height)
            // Scaling a strip until it covers the video would take memory for what is then cut off.
            guard cover.width <= 16 * width, cover.height <= 16 * height else {
                throw .malformed(
                    path: path, found: "a picture of \(own.width)x\(own.height)",
                    expected: "one whose shape is nearer to the video's \(width)x\(height)")
            }
            let fitted = own.fitted(width: width, height: height, fit)
            digest = fitted.pixels.withBytes { Digest.sha256($0) }
            let values = fitted.pixels.withBytes { bytes in bytes.map { Float($0) / 127.5 - 1 } }
            pixels = Tensor(.f32, [3, 1, height, width])
            pixels.setFrame(0, channelsLast: Tensor(values, shape: [height, width, 3]))
            let change = (own.width, own.height) == (width, height)
                ? [] : ["\(path): \(own.width)x\(own.height) made \(width)x\(height) (\(fit.rawValue), Lanczos)"]
            notices = image.notices + change
        }
    }

    /// - Throws: `TensorError` or `PipelineError` naming file, field, what was found and what was expected.
    init(
        _ job: RenderJob, settings: RenderSettings, model: ModelSpecification, _ book: PromptBook, encodes: Bool
    ) throws {
        let conditioning = model.transformer.conditioning
        prompts = try PromptPair(
            job.prompt, negative: job.negativePrompt, needs: conditioning, length: model.defaults.textLength,
            reading: job.reading(book, settings, encodes: encodes))
        let latents = model.decoder.latentShape(
            width: settings.width, height: settings.height, numFrames: settings.numFrames)
        noise = try job.latents.map { path in
            try blaming("latents") {
                try LatentsFile.read(
                    path, channels: latents.channels, extents: [latents.frames, latents.height, latents.width]
                ).latents
            }
        }
        noiseDigest = noise?.withBytes { Digest.sha256($0) }
        picture = try job.image.map { path in
            guard model.defaults.pictureStart != nil else {
                throw PipelineError.setting(
                    "image", found: path, expected: "none: this model makes videos of text alone")
            }
            return try blaming("image") {
                try Picture(path, width: settings.width, height: settings.height, settings.imageFit ?? .crop)
            }
        }
        (cacheTables, cacheTablesDigest) = try blaming("cache_calibration") { () throws -> (CacheTables, String?) in
            guard let path = job.cacheCalibration else { return (.published, nil) }
            guard settings.cache != nil else {
                throw PipelineError.setting("cache_calibration", found: path, expected: "none without a step cache")
            }
            return (try CacheTables.published.with(file: path), try Digest.sha256(file: path))
        }
    }

    func notices(_ job: RenderJob, _ plan: RenderPlan) -> [String] {
        var notices = prompts.notices + (picture?.notices ?? [])
        if plan.isGuided, prompts.lacksNegative {
            notices.append("no negative prompt embedding given: guidance uses an all-zero one")
        }
        if let negative = job.negativePrompt, !plan.isGuided, plan.isFewStep {
            notices.append("\(negative.path ?? "the negative prompt"): has no effect without guidance")
        }
        if let path = job.latents, job.request.seed != nil, !plan.drawsNoise(hasPicture: picture != nil) {
            notices.append("the seed has no effect: the run starts from \(path)")
        }
        return notices
    }
}
