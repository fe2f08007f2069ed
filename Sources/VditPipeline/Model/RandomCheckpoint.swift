import VditFiles
import VditModels
import VditTensor
import VditText

/// A checkpoint of random weights in diffusers' layout, in a published size: for measuring memory and time where
/// no real checkpoint is at hand. What it renders is noise.
public struct RandomCheckpoint: Sendable {
    public var model: PublishedModel
    public var promptTokens: Int
    public var seed: UInt64
    /// Whether Wan's text encoder is written too; a tokenizer is not.
    public var hasTextEncoder = false
    /// Whether zeros that take no room on a disk stand for all weights but the prompt's: enough to inspect a model and
    /// to plan its runs.
    public var isHollow = false
    /// Most bytes of weights in a shard.
    public var shardBytes = 1 << 30

    /// - Parameter promptTokens: of the prompt that is written beside it; the model's own length if nil.
    public init(_ model: PublishedModel, promptTokens: Int? = nil, seed: UInt64 = 0) {
        self.model = model
        self.promptTokens = promptTokens ?? model.specification.defaults.textLength ?? 512
        self.seed = seed
    }

    /// Writes `model_index.json`, `transformer/`, `vae/`, `scheduler/` and `prompt.safetensors` into a new folder, and
    /// the image encoder of a model that takes one.
    ///
    /// - Throws: `FileError` when something cannot be written, or the folder already exists.
    public func write(to folder: String) throws {
        if folder.isEmpty { throw FileError.emptyPath("checkpoint") }
        if FilePath.isTaken(folder) {
            throw FileError.inaccessible(path: folder, reason: "exists already", kind: .cannotCreate)
        }
        let specification = model.specification
        if hasTextEncoder, specification.family != "wan" {
            throw PipelineError.unsupported(
                "text encoder", found: "one of \(specification.family)", expected: "a model of wan")
        }
        var components = specification.transformers.map {
            ($0.component, $0.specification.configuration, $0.specification.tensors)
        }
        components.append(("vae", specification.decoder.configuration, specification.decoder.tensors))
        for part in components.map(\.0) + ["scheduler"] {
            try FilePath.makeFolder("\(folder)/\(part)")
        }
        try json(model.index, "\(folder)/model_index.json")
        try json(model.scheduler, "\(folder)/scheduler/scheduler_config.json")
        if hasTextEncoder { try textEncoder("\(folder)/text_encoder") }
        for (component, configuration, tensors) in components {
            try json(configuration, "\(folder)/\(component)/config.json")
            try weights(tensors, "\(folder)/\(component)")
        }
        let needs = specification.transformer.conditioning
        if needs.imageWidth != nil { try imageEncoder(folder) }
        var prompt = [
            "prompt_embeds": try RandomWeights([("prompt", [promptTokens, needs.promptWidth])], seed: seed)
                .tensor("prompt")
        ]
        if needs.takesMask {
            prompt["prompt_attention_mask"] = Tensor(Array(repeating: 1, count: promptTokens))
        }
        if let width = needs.pooledWidth {
            prompt["pooled_prompt_embeds"] = try RandomWeights([("pooled", [width])], seed: seed).tensor("pooled")
        }
        try SafetensorsWriter.write(
            prompt, metadata: ["prompt": "random numbers"], to: "\(folder)/prompt.safetensors", existing: .refuse)
    }

    private func textEncoder(_ folder: String) throws {
        try FilePath.makeFolder(folder)
        let config = "\(folder)/config.json"
        try AtomicFile.write(Array(UMT5XXL.configuration.utf8), to: config, existing: .refuse)
        try weights(UMT5XXL.tensors(ConfigFile(path: config)), folder)
    }

    /// The one that Wan 2.1 is published with, and how it wants its pictures.
    private func imageEncoder(_ folder: String) throws {
        let (encoder, processor) = ("\(folder)/image_encoder", "\(folder)/image_processor")
        for folder in [encoder, processor] { try FilePath.makeFolder(folder) }
        let config = "\(encoder)/config.json"
        try AtomicFile.write(Array(CLIPVisionConfig.viTH.utf8), to: config, existing: .refuse)
        try weights(CLIPVisionConfig(ConfigFile(path: config)).tensors, encoder)
        try json(
            [
                "image_mean": .numbers([0.48145466, 0.4578275, 0.40821073]),
                "image_std": .numbers([0.26862954, 0.26130258, 0.27577711]), "resample": .integer(3),
            ], "\(processor)/preprocessor_config.json")
    }

    private func json(_ object: [String: ConfigurationValue], _ path: String) throws {
        try AtomicFile.write(configurationJSON(object), to: path, existing: .refuse)
    }

    private func weights(_ tensors: [(name: String, shape: [Int])], _ folder: String) throws {
        let entries = tensors.map { SafetensorsWriter.Entry(name: $0.name, dtype: .bf16, shape: $0.shape) }
        if isHollow {
            let path = "\(folder)/\(ShardedWriter.name).safetensors"
            return try SafetensorsWriter.writeHollow(entries, to: path, existing: .refuse)
        }
        let source = RandomWeights(tensors, seed: seed)
        try ShardedWriter(entries, shardBytes: shardBytes).write(to: folder) { try source.tensor($0.name) }
    }
}
