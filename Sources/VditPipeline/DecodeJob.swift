import VditMedia
import VditModels
import VditTensor

/// Makes a video from latents on disk: what a `decode` command says.
public struct DecodeJob: Sendable {
    public var model: String
    public var latents: String
    public var destination: VideoDestination
    /// Nil is the latents file's own, else the model's.
    public var frameRate: FrameRate?
    public var precision = Precision.bf16
    public var threads = usableProcessors()
    public var command: [String] = []

    public init(model: String, latents: String, destination: VideoDestination) {
        self.model = model
        self.latents = latents
        self.destination = destination
    }

    /// Decodes and writes.
    ///
    /// - Throws: an error that conforms to `Failure`; `PipelineError.cancelled` when `stop` was raised.
    public func run(
        stop: StopFlag = StopFlag(), onEvent: (RenderEvent) throws -> Void = { _ in }
    ) throws -> RunRecord {
        let directory = try ModelDirectory(path: model)
        let (values, metadata) = try LatentsFile.read(latents, channels: directory.vae.zDim)
        let size = directory.videoSize(latentShape: values.shape)
        let rate =
            try frameRate ?? metadata["fps"].map { try FrameRate(parsing: $0) }
            ?? FrameRate(directory.defaults.frameRate)
        _ = try destination.validate(
            width: size.width, height: size.height, frameCount: size.numFrames, frameRate: rate)
        let compute = try ComputeContext(threads: threads, precision: precision)
        var timing = RunRecord.Timing()
        let start = ContinuousClock.now
        try onEvent(.loading("vae"))
        let decoder = try directory.loadDecoder(compute)
        timing.load = start.secondsUntilNow
        let output = try VideoOutput(
            destination, width: size.width, height: size.height, frameCount: size.numFrames,
            frameRate: rate,
            metadata: metadata.filter { ["title", "comment"].contains($0.key) }, pool: compute.pool)
        let decoding = ContinuousClock.now
        try decode(values, with: decoder, to: output, frameCount: size.numFrames, stop, onEvent)
        timing.encode = output.seconds
        timing.decode = decoding.secondsUntilNow - output.seconds
        let record = RunRecord(
            command: command,
            model: RunRecord.Model(
                family: directory.defaults.name, path: directory.path, files: directory.files,
                dtype: directory.storedType),
            inputs: RunRecord.Inputs(prompt: metadata["title"], latents: latents), sampling: nil,
            attention: nil, output: output.record(of: rate), timing: timing,
            latentsSha256: values.withBytes { Digest.sha256($0) }, resumedSteps: nil, warnings: [])
        if destination.record == .write {
            try record.write(to: destination.recordPath, existing: destination.existing)
        }
        try onEvent(.finished(record))
        return record
    }

    /// The decoder's own frames, without an encoder in between: `[3, frames, height, width]` f32 in −1…1.
    public func frames() throws -> Tensor {
        let directory = try ModelDirectory(path: model)
        let (values, _) = try LatentsFile.read(latents, channels: directory.vae.zDim)
        let size = directory.videoSize(latentShape: values.shape)
        let compute = try ComputeContext(threads: threads, precision: precision)
        return try collectFrames(values, directory.loadDecoder(compute), frameCount: size.numFrames)
    }
}

/// All decoded frames in one tensor `[3, frames, height, width]`; for files of floats and for comparing.
public func collectFrames(
    _ latents: Tensor, _ decoder: any VideoDecoder, frameCount: Int
) throws -> Tensor {
    var video: Tensor?
    var done = 0
    try decoder.decode(latents) { frames in
        let whole = video ?? Tensor(.f32, [3, frameCount] + frames.shape.dropFirst(2))
        for channel in 0..<3 {
            whole[channel].slice(done..<done + frames.shape[1]).assign(frames[channel])
        }
        done += frames.shape[1]
        video = whole
    }
    return video ?? Tensor(.f32, [3, 0, 0, 0])
}
