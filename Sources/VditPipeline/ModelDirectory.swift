import Foundation
import VditFiles
import VditMedia
import VditModels
import VditTensor

/// A model on disk in diffusers' layout: opened, checked and described, but not loaded.
///
/// Every tensor of every component has been checked for presence, shape and type when this exists.
public struct ModelDirectory: Sendable {
    public struct Transformer: Sendable {
        public let config: WanTransformerConfig
        public let weights: WeightStore
        /// Serves timesteps from this one up; 0 for the last.
        public let lowestTimestep: Float
    }

    public let path: String
    /// In the order they serve the sampler's loop.
    public let transformers: [Transformer]
    public let vae: WanVAEConfig
    public let vaeWeights: WeightStore
    public let scheduler: SchedulerConfiguration
    public let defaults: ModelDefaults

    /// Opens a pipeline folder: `model_index.json`, `transformer/`, `vae/`, `scheduler/`, for Wan 2.2 A14B
    /// also `transformer_2/`.
    ///
    /// - Throws: `FileError` naming the file that is missing or malformed, `TensorError` with all tensors that do not
    ///   fit, `PipelineError.unsupported` (69) for pipelines of other families or other tasks.
    public init(path: String) throws {
        let path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        let index = "\(path)/model_index.json"
        if FileManager.default.fileExists(atPath: "\(path)/config.json"),
            !FileManager.default.fileExists(atPath: index)
        {
            throw PipelineError.invalid(
                path, found: "one component of a model",
                expected: "the folder above it, with model_index.json", kind: .badData)
        }
        let file = try ConfigFile(path: index)
        let known = ["WanPipeline"]
        let className = try file.stringIfPresent("_class_name") ?? "nothing"
        guard known.contains(className) else {
            throw PipelineError.unsupported(
                "\(index): _class_name", found: className,
                expected: expectedNames(known, insteadOf: className))
        }
        let boundary = try file.numberIfPresent("boundary_ratio", 0...1)
        let second = "\(path)/transformer_2"
        let hasSecond = try file.stringsIfPresent("transformer_2")?.count == 2
        if hasSecond, boundary == nil {
            throw FileError.malformed(
                path: index, field: "boundary_ratio", found: "nothing",
                expected: "a number from 0 to 1, as there is a transformer_2")
        }
        try self.init(
            path: path,
            transformers: ["\(path)/transformer"] + (hasSecond ? [second] : []),
            boundary: boundary ?? 0, vae: "\(path)/vae",
            scheduler: "\(path)/scheduler/scheduler_config.json")
    }

    /// Opens components from anywhere.
    ///
    /// - Parameters:
    ///   - path: what to call the whole.
    ///   - transformers: one folder, or two of which the second serves below `boundary`.
    ///   - boundary: fraction of the training timesteps.
    ///   - scheduler: the configuration file.
    public init(
        path: String, transformers: [String], boundary: Double = 0, vae: String, scheduler: String
    ) throws {
        self.path = path
        let schedule = try SchedulerConfiguration(ConfigFile(path: scheduler))
        var opened: [Transformer] = []
        for (index, folder) in transformers.enumerated() {
            let config = try WanTransformerConfig(ConfigFile(path: "\(folder)/config.json"))
            let weights = try WeightStore(folder)
            try weights.check(config.tensors)
            let isLast = index == transformers.count - 1
            opened.append(
                Transformer(
                    config: config, weights: weights,
                    lowestTimestep: isLast ? 0 : Float(boundary * Double(schedule.trainTimesteps))))
        }
        self.transformers = opened
        self.vae = try WanVAEConfig(ConfigFile(path: "\(vae)/config.json"))
        vaeWeights = try WeightStore(vae)
        try vaeWeights.check(self.vae.tensors)
        self.scheduler = schedule
        defaults = .of(opened[0].config, hasSecond: opened.count > 1)
        for transformer in opened {
            let channels = (transformer.config.inChannels, transformer.config.outChannels)
            guard channels == (self.vae.zDim, self.vae.zDim) else {
                throw PipelineError.unsupported(
                    "\(path): a transformer of \(channels.0) input channels with a VAE of \(self.vae.zDim)",
                    found: "this pairing (image-to-video?)", expected: "a text-to-video model")
            }
            guard transformer.config.textDim == opened[0].config.textDim,
                transformer.config.patch == opened[0].config.patch
            else {
                throw PipelineError.unsupported(
                    path, found: "two transformers of different text width or patch size",
                    expected: "two alike")
            }
        }
    }

    /// Pixels that height and width must be multiples of.
    public var pixelMultiple: Int {
        vae.spatialCompression * max(config.patch[1], config.patch[2])
    }
    public var temporalCompression: Int { vae.temporalCompression }

    /// The first transformer's shape.
    public var config: WanTransformerConfig { transformers[0].config }

    /// Extents of the latents `[channels, frames, height, width]` of a video of a checked size.
    public func latentShape(width: Int, height: Int, numFrames: Int) -> [Int] {
        [
            vae.zDim, (numFrames - 1) / vae.temporalCompression + 1,
            height / vae.spatialCompression, width / vae.spatialCompression,
        ]
    }

    /// The stored element type of the first transformer's largest weights.
    public var storedType: String {
        let name = "blocks.0.ffn.net.0.proj.weight"
        return transformers[0].weights.info(name)?.dtypeName ?? "unknown"
    }

    /// Packs the decoder's weights.
    public func loadDecoder(_ compute: ComputeContext) throws -> any VideoDecoder {
        try WanVAE(config: vae, weights: vaeWeights, compute: compute)
    }

    /// What identifies the files, for run records.
    public var files: [RunRecord.ModelFile] {
        (transformers.map(\.weights) + [vaeWeights]).flatMap(RunRecord.ModelFile.of)
    }

    /// A digest of the transformers: their headers, and 64 bytes at five places of every tensor.
    ///
    /// What a checkpoint must agree on. Reading all weights would take minutes; weights of another training, a merged
    /// adapter, another type or a file whose end was lost differ here. Not noticed: a change of single values between
    /// those places, such as a flipped bit, and any change of the VAE, which the latents do not depend on.
    public func fingerprint() throws(TensorError) -> String {
        var lines: [String] = []
        for transformer in transformers {
            for file in transformer.weights.files {
                lines.append("\(file.name) \(file.byteCount) \(Digest.sha256(file.header))")
            }
            for name in transformer.weights.names {
                var values: [UInt8] = []
                try transformer.weights.tensor(name).withBytes { bytes in
                    for quarter in 0..<4 { values += bytes.dropFirst(bytes.count / 4 * quarter).prefix(64) }
                    values += bytes.suffix(64)
                }
                transformer.weights.release(name)
                lines.append("\(name) \(Digest.sha256(values))")
            }
        }
        return Digest.sha256(Array(lines.joined(separator: "\n").utf8))
    }
}

extension RunRecord.ModelFile {
    static func of(_ store: WeightStore) -> [RunRecord.ModelFile] {
        store.files.map {
            RunRecord.ModelFile(
                name: "\((store.path as NSString).lastPathComponent)/\($0.name)",
                bytes: $0.byteCount, headerSha256: Digest.sha256($0.header))
        }
    }
}
