import VDiT

extension RenderJob {
    /// Nine frames and four steps of the sample model with a method, as `out.y4m` in a folder.
    public static func sample(
        in folder: TemporaryDirectory, width: Int, height: Int, _ method: String, _ options: [String: String] = [:]
    ) -> RenderJob {
        var job = RenderJob(
            model: Golden.sample("wan-mini"),
            promptEmbedding: Golden.sample("prompts/01-red-ball-right.safetensors"),
            destination: VideoDestination(path: folder.path("out.y4m"), options: VideoOptions(frameRate: .sixteen)))
        job.request.width = width
        job.request.height = height
        job.request.numFrames = 9
        job.request.steps = 4
        job.request.seed = 3
        job.request.threads = 2
        job.request.sparse = method
        job.request.sparseOptions = options
        return job
    }
}
