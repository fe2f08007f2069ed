import Foundation
import VDiT

/// A golden run of a pipeline whose model has text inside self-attention, and its tiny model.
public struct JointGolden: Sendable, CustomStringConvertible {
    public let family: String
    /// The run's folder.
    public let name: String
    public let transformerClass: String
    public let decoderClass: String
    public let pipeline: String
    public let schedulerClass: String
    public let width: Int
    public let height: Int
    public let frames: Int
    public let steps: Int
    public let guidance: Double
    /// Whether its latents are `[frames, channels, height, width]`.
    public let isFramesFirst: Bool
    private let transformer: String
    private let decoder: String
    public var description: String { family }

    public static let cogVideoX = JointGolden(
        family: "cogvideox", name: "cogvideox-vae/pipeline-t2v-dpm-dynamic-guidance",
        transformerClass: "CogVideoXTransformer3DModel", decoderClass: "AutoencoderKLCogVideoX",
        pipeline: "CogVideoXPipeline", schedulerClass: "CogVideoXDPMScheduler", width: 96, height: 64, frames: 9,
        steps: 4, guidance: 6, isFramesFirst: true, transformer: "cogvideox/rotary-2heads-dim64",
        decoder: "cogvideox-vae/conv-cache-spatial-norm")
    public static let hunyuanVideo = JointGolden(
        family: "hunyuan-video", name: "hunyuan-vae/pipeline-t2v-shift7",
        transformerClass: "HunyuanVideoTransformer3DModel", decoderClass: "AutoencoderKLHunyuanVideo",
        pipeline: "HunyuanVideoPipeline", schedulerClass: "FlowMatchEulerDiscreteScheduler", width: 48, height: 32,
        frames: 9, steps: 4, guidance: 1, isFramesFirst: false, transformer: "hunyuan-video/t2v-2heads-dim32-guidance",
        decoder: "hunyuan-vae/causal-groupnorm-mid-attention")
    public static let mochi = JointGolden(
        family: "mochi", name: "mochi-vae/pipeline-t2v-linear-quadratic", transformerClass: "MochiTransformer3DModel",
        decoderClass: "AutoencoderKLMochi", pipeline: "MochiPipeline",
        schedulerClass: "FlowMatchEulerDiscreteScheduler", width: 48, height: 32, frames: 13, steps: 6, guidance: 4.5,
        isFramesFirst: false, transformer: "mochi/2heads-dim32", decoder: "mochi-vae/asymmetric")
    public static let all = [cogVideoX, hunyuanVideo, mochi]

    public var io: SafetensorsReader {
        get throws { try SafetensorsReader(Golden.path("\(name)/io.safetensors")) }
    }

    /// A tensor of latents as `[channels, frames, height, width]`, without its batch axis.
    public func latents(_ tensor: String, batch: Int = 0) throws -> Tensor {
        let stored = try io.tensor(tensor)[batch]
        return isFramesFirst ? Golden.swappingFirstAxes(stored) : stored.converted(to: .f32)
    }

    /// What the sampler's configuration says, its class with it.
    public func scheduler() throws -> String {
        try String(contentsOfFile: Golden.path("\(name)/scheduler_config.json"), encoding: .utf8)
            .replacingOccurrences(of: "{", with: #"{"_class_name": "\#(schedulerClass)","#)
    }

    /// Writes `model`, a pipeline folder, `prompt.safetensors` with its negative prompt and `noise.safetensors`.
    public func write(to folder: TemporaryDirectory) throws {
        let files = FileManager.default
        try files.createDirectory(atPath: folder.path("model/scheduler"), withIntermediateDirectories: true)
        for (part, path) in [("transformer", transformer), ("vae", decoder)] {
            try files.createSymbolicLink(
                atPath: folder.path("model/\(part)"), withDestinationPath: Golden.path(path))
        }
        try folder.write(
            """
            {"_class_name": "\(pipeline)", "transformer": ["diffusers", "\(transformerClass)"],
             "vae": ["diffusers", "\(decoderClass)"], "scheduler": ["diffusers", "\(schedulerClass)"]}
            """, "model/model_index.json")
        try folder.write(scheduler(), "model/scheduler/scheduler_config.json")
        try writePrompt(to: folder.path("prompt.safetensors"))
        try SafetensorsWriter.write(
            ["latents": latents("initial_noise")], metadata: [:], to: folder.path("noise.safetensors"),
            existing: .replace)
    }

    /// - Parameter names: what of the prompt is written; all if nil.
    public func writePrompt(to path: String, only names: [String]? = nil) throws {
        let io = try io
        var prompt: [String: Tensor] = [:]
        for name in names ?? ["prompt_embeds", "prompt_attention_mask", "pooled_prompt_embeds"] {
            for name in [name, "negative_\(name)"] where io.info(name) != nil { prompt[name] = try io.tensor(name) }
        }
        try SafetensorsWriter.write(prompt, metadata: [:], to: path, existing: .replace)
    }

    /// A render of it as the reference made it, from its noise.
    public func job(in folder: TemporaryDirectory, _ output: String = "out.mkv") -> RenderJob {
        var options = VideoOptions(frameRate: .sixteen)
        options.codec = .ffv1
        options.existing = .replace
        var job = RenderJob(
            model: folder.path("model"), promptEmbedding: folder.path("prompt.safetensors"),
            destination: VideoDestination(path: folder.path(output), options: options))
        job.latents = folder.path("noise.safetensors")
        (job.request.width, job.request.height, job.request.numFrames) = (width, height, frames)
        (job.request.steps, job.request.guidanceScale) = (steps, guidance)
        (job.request.precision, job.request.seed, job.request.threads) = (.fp32, 5, 2)
        return job
    }
}
