import Foundation
import VDiT

/// A golden run of an LTX-Video pipeline, and its tiny model.
public struct LTXGolden: Sendable, CustomStringConvertible {
    public let name: String
    public var description: String { name }
    public let frames: Int
    public let steps: Int
    public let guidance: Double
    public let rescale: Double
    public let timesteps: [Double]?
    private let parts: [String: String]

    public static let size = (width: 96, height: 64)
    public static let frameRate = 25.0

    public init(_ name: String) throws {
        struct Description: Decodable {
            struct Parameters: Decodable {
                let num_frames: Int
                let num_inference_steps: Int
                let guidance_scale: Double
                let guidance_rescale: Double?
                let timesteps: [Double]?
            }
            let components: [String: String]
            let parameters: Parameters
        }
        let path = Golden.path("ltx-pipelines/\(name)/io.json")
        let read = try JSONDecoder().decode(Description.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
        self.name = name
        (frames, steps) = (read.parameters.num_frames, read.parameters.num_inference_steps)
        guidance = read.parameters.guidance_scale
        rescale = read.parameters.guidance_rescale ?? 0
        timesteps = read.parameters.timesteps
        parts = read.components.mapValues { $0.replacingOccurrences(of: "../../", with: "") }
    }

    public var io: SafetensorsReader {
        get throws { try SafetensorsReader(Golden.path("ltx-pipelines/\(name)/io.safetensors")) }
    }

    /// Writes `model`, a pipeline folder, `prompt.safetensors` with its negative prompt and `noise.safetensors`.
    public func write(to folder: TemporaryDirectory) throws {
        let files = FileManager.default
        try files.createDirectory(atPath: folder.path("model/scheduler"), withIntermediateDirectories: true)
        for part in ["transformer", "vae"] {
            try files.createSymbolicLink(
                atPath: folder.path("model/\(part)"), withDestinationPath: Golden.path(parts[part] ?? ""))
        }
        try files.copyItem(
            atPath: Golden.path("ltx-pipelines/\(name)/model_index.json"),
            toPath: folder.path("model/model_index.json"))
        // The reference's own has no class.
        let scheduler = try String(
            contentsOfFile: Golden.path("ltx-pipelines/\(name)/scheduler_config.json"), encoding: .utf8)
        try folder.write(
            scheduler.replacingOccurrences(
                of: "{", with: #"{"_class_name": "FlowMatchEulerDiscreteScheduler","#),
            "model/scheduler/scheduler_config.json")
        let io = try io
        var prompt: [String: Tensor] = [:]
        for name in ["prompt_embeds", "prompt_attention_mask"] {
            prompt[name] = try io.tensor(name)
            let negative = "negative_\(name)"
            if io.info(negative) != nil { prompt[negative] = try io.tensor(negative) }
        }
        try SafetensorsWriter.write(prompt, metadata: [:], to: folder.path("prompt.safetensors"), existing: .replace)
        try SafetensorsWriter.write(
            ["latents": io.tensor("initial_noise")], metadata: [:], to: folder.path("noise.safetensors"),
            existing: .replace)
    }

    /// A render of it as the reference made it.
    public func job(in folder: TemporaryDirectory, _ output: String = "out.mkv") throws -> RenderJob {
        var options = VideoOptions(frameRate: try FrameRate(25))
        options.codec = .ffv1
        options.existing = .replace
        var job = RenderJob(
            model: folder.path("model"), promptEmbedding: folder.path("prompt.safetensors"),
            destination: VideoDestination(path: folder.path(output), options: options))
        job.latents = folder.path("noise.safetensors")
        (job.request.width, job.request.height) = Self.size
        (job.request.numFrames, job.request.steps) = (frames, steps)
        job.request.guidanceScale = guidance
        job.request.guidanceRescale = rescale
        job.request.frameRate = try FrameRate(25)
        job.request.precision = .fp32
        job.request.seed = 5
        if let timesteps {
            job.request.sigmas = NumberList(timesteps.map { $0 / 1000 })
        }
        return job
    }
}
