import Foundation
import VDiT

/// A golden run of Wan's image-to-video pipeline, and its tiny model.
public struct WanPictureGolden: Sendable, CustomStringConvertible {
    public let name: String
    public var description: String { name }
    public let frames: Int
    public let steps: Int
    public let guidance: [Double]
    public let boundary: Double
    private let parts: [String: String]

    public static let size = (width: 64, height: 48)

    public init(_ name: String) throws {
        struct Description: Decodable {
            struct Parameters: Decodable {
                let num_frames: Int
                let num_inference_steps: Int
                let guidance_scale: Double
                let guidance_scale_2: Double?
                let boundary_ratio: Double?
            }
            let components: [String: String?]
            let parameters: Parameters
        }
        let path = Golden.path("wan-image/\(name)/io.json")
        let read = try JSONDecoder().decode(Description.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
        self.name = name
        (frames, steps) = (read.parameters.num_frames, read.parameters.num_inference_steps)
        guidance = [read.parameters.guidance_scale] + [read.parameters.guidance_scale_2].compactMap { $0 }
        boundary = read.parameters.boundary_ratio ?? 0
        parts = read.components.compactMapValues { part in
            part.map { $0.hasPrefix("../../") ? String($0.dropFirst(6)) : "wan-image/\(name)/\($0)" }
        }
    }

    public var io: SafetensorsReader {
        get throws { try SafetensorsReader(Golden.path("wan-image/\(name)/io.safetensors")) }
    }

    private var transformers: [String] {
        ["transformer", "transformer_2"].compactMap { parts[$0] }
    }

    /// The reference's own scheduler configuration has no class.
    private func writeScheduler(_ folder: TemporaryDirectory) throws -> String {
        let scheduler = try String(
            contentsOfFile: Golden.path("wan-image/\(name)/scheduler_config.json"), encoding: .utf8)
        return try folder.write(
            scheduler.replacingOccurrences(of: "{", with: #"{"_class_name": "UniPCMultistepScheduler","#),
            "model/scheduler/scheduler_config.json")
    }

    /// The model without an image encoder.
    public func model(in folder: TemporaryDirectory) throws -> ModelDirectory {
        guard let family = ModelCatalogue.family(named: "wan") else { throw CocoaError(.fileNoSuchFile) }
        return try ModelDirectory(
            path: name, family: family,
            .init(
                transformers: transformers.map(Golden.path), boundary: boundary,
                decoder: Golden.path(parts["vae"] ?? ""), scheduler: writeScheduler(folder)))
    }

    /// Writes `model`, a pipeline folder, `prompt.safetensors` with its negative prompt, `noise.safetensors`, and the
    /// pictures `first.png` and, where there is one, `last.png`.
    public func write(to folder: TemporaryDirectory) throws {
        let files = FileManager.default
        _ = try writeScheduler(folder)
        for (index, part) in transformers.enumerated() {
            try files.createSymbolicLink(
                atPath: folder.path("model/transformer" + (index == 0 ? "" : "_2")),
                withDestinationPath: Golden.path(part))
        }
        try files.createSymbolicLink(
            atPath: folder.path("model/vae"), withDestinationPath: Golden.path(parts["vae"] ?? ""))
        try files.copyItem(
            atPath: Golden.path("wan-image/\(name)/model_index.json"), toPath: folder.path("model/model_index.json"))
        try files.createSymbolicLink(
            atPath: folder.path("model/image_encoder"),
            withDestinationPath: Golden.path("wan-image/clip-vision-17-tokens"))
        try folder.write(Self.processor, "model/image_processor/preprocessor_config.json")
        let io = try io
        var prompt: [String: Tensor] = [:]
        for name in ["prompt_embeds", "negative_prompt_embeds"] { prompt[name] = try io.tensor(name) }
        try SafetensorsWriter.write(prompt, metadata: [:], to: folder.path("prompt.safetensors"), existing: .replace)
        try SafetensorsWriter.write(
            ["latents": io.tensor("initial_noise")], metadata: [:], to: folder.path("noise.safetensors"),
            existing: .replace)
        for (name, file) in [("image", "first.png"), ("last_image", "last.png")] where io.info(name) != nil {
            try PNG.write(io.tensor(name).copy(), to: folder.path(file), existing: .replace)
        }
    }

    /// As published, for pictures of 56 pixels a side.
    public static let processor = """
        {"do_center_crop": true, "crop_size": {"height": 56, "width": 56}, "size": {"shortest_edge": 56}, "resample": 3,
        "rescale_factor": 0.00392156862745098, "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711]}
        """

    /// A render of it as the reference made it.
    public func job(in folder: TemporaryDirectory, _ output: String = "out.y4m") throws -> RenderJob {
        var options = VideoOptions(frameRate: .sixteen)
        options.existing = .replace
        var job = RenderJob(
            model: folder.path("model"), promptEmbedding: folder.path("prompt.safetensors"),
            destination: VideoDestination(path: folder.path(output), options: options))
        (job.latents, job.image) = (folder.path("noise.safetensors"), folder.path("first.png"))
        if try io.info("last_image") != nil { job.lastImage = folder.path("last.png") }
        (job.request.width, job.request.height) = Self.size
        (job.request.numFrames, job.request.steps) = (frames, steps)
        job.request.guidanceScale = guidance[0]
        if guidance.count > 1 { job.request.secondGuidanceScale = guidance[1] }
        (job.request.precision, job.request.seed, job.request.threads) = (.fp32, 5, 2)
        return job
    }
}
