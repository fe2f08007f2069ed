import VditFiles
import VditMedia
import VditModels
import VditTensor

/// Makes a video from latents on disk: what a `decode` command says.
public struct DecodeJob: Sendable {
    /// A pipeline folder or that of a VAE; nil is the model the latents file names.
    public var model: String?
    public var latents: String
    public var destination: VideoDestination
    /// Nil is the latents file's own, else the model's.
    public var frameRate: FrameRate?
    public var precision = Precision.bf16
    public var threads = usableProcessors()
    /// Whether the threads keep to memory nodes (`WorkerPlaces`).
    public var numa = false
    public var command: [String] = []

    public init(model: String? = nil, latents: String, destination: VideoDestination) {
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
        var files = FileRoles()
        destination.add(to: &files)
        let (directory, values, metadata) = try open(files)
        let conditions = try DecodeConditions(metadata: metadata, path: latents)
        let size = directory.specification.videoSize(of: LatentShape(values.shape))
        let rate =
            try frameRate ?? metadata["fps"].map { try FrameRate(parsing: $0) }
            ?? FrameRate(directory.frameRate)
        _ = try destination.validate(
            width: size.width, height: size.height, frameCount: size.numFrames, frameRate: rate)
        let compute = try ComputeContext(threads: threads, numa: numa, precision: precision)
        for notice in compute.notices { try onEvent(.notice(notice)) }
        var timing = RunRecord.Timing()
        let start = ContinuousClock.now
        try onEvent(.loading("vae"))
        let decoder = try directory.decoder(compute)
        timing.load = start.secondsUntilNow
        let output = try VideoOutput(
            destination, width: size.width, height: size.height, frameCount: size.numFrames,
            frameRate: rate,
            metadata: metadata.filter { ["title", "comment"].contains($0.key) }, pool: compute.pool)
        let decoding = ContinuousClock.now
        try decode(values, conditions, with: decoder, to: output, frameCount: size.numFrames, stop, onEvent)
        timing.encode = output.seconds
        timing.decode = decoding.secondsUntilNow - output.waited
        let record = RunRecord(
            command: command,
            model: RunRecord.Model(
                family: directory.family, path: directory.path, files: directory.files,
                dtype: directory.storedType),
            inputs: RunRecord.Inputs(prompt: metadata["title"], latents: latents), sampling: nil,
            attention: nil, output: try output.record(of: rate), timing: timing,
            latentsSha256: values.withBytes { Digest.sha256($0) }, resumedSteps: nil, warnings: [])
        if destination.record == .write {
            try record.write(to: destination.recordPath, existing: destination.existing)
        }
        try onEvent(.finished(record))
        return record
    }

    /// Decodes to a safetensors file without an encoder in between: tensor `frames`, f32
    /// `[3, frames, height, width]` in −1…1.
    ///
    /// - Throws: an error that conforms to `Failure`; `PipelineError.cancelled` when `stop` was raised.
    public func writeFrames(
        stop: StopFlag = StopFlag(), onEvent: (RenderEvent) throws -> Void = { _ in }
    ) throws {
        let (directory, values, metadata) = try open(FileRoles(makes: ["frames": destination.path]))
        try AtomicFile.checkStream(destination.path, existing: destination.existing)
        let conditions = try DecodeConditions(metadata: metadata, path: latents)
        let count = directory.specification.videoSize(of: LatentShape(values.shape)).numFrames
        let compute = try ComputeContext(threads: threads, numa: numa, precision: precision)
        for notice in compute.notices { try onEvent(.notice(notice)) }
        try onEvent(.loading("vae"))
        var done = 0
        let video = try collectFrames(values, directory.decoder(compute), conditions, frameCount: count) { frames in
            try stop.throwIfStopping()
            done += frames
            try onEvent(.frames(done, of: count))
        }
        try SafetensorsWriter.write(
            ["frames": video], to: destination.path, existing: destination.existing)
    }

    /// - Parameter made: files of the command; none may be one that is read, the model that the latents name among them.
    private func open(
        _ made: FileRoles
    ) throws -> (DecoderDirectory, latents: Tensor, metadata: [String: String]) {
        var files = made
        files.read(latents, as: "latents")
        try files.check()
        guard let model = try model ?? LatentsFile.metadata(latents)["model"] else {
            throw PipelineError.invalid(
                "\(latents): metadata", found: "no model's name", expected: "a model to decode with", kind: .usage)
        }
        files.read(model, as: "model")
        try files.check()
        let directory = try DecoderDirectory(path: model)
        let (values, metadata) = try LatentsFile.read(latents, channels: directory.specification.latentChannels)
        return (directory, values, metadata)
    }
}

/// All decoded frames in one tensor `[3, frames, height, width]`; for files of floats and for comparing.
public func collectFrames(
    _ latents: Tensor, _ decoder: any VideoDecoder, _ conditions: DecodeConditions = DecodeConditions(),
    frameCount: Int, onFrames: (Int) throws -> Void = { _ in }
) throws -> Tensor {
    var video: Tensor?
    var done = 0
    try decoder.decode(latents, conditions) { frames in
        for frame in frames {
            let whole = video ?? Tensor(.f32, [3, frameCount, frame.shape[0], frame.shape[1]])
            whole.setFrame(done, channelsLast: frame)
            done += 1
            video = whole
        }
        try onFrames(frames.count)
    }
    return video ?? Tensor(.f32, [3, 0, 0, 0])
}
