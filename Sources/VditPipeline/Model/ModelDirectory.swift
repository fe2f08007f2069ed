import Synchronization
import VditAttention
import VditFiles
import VditMedia
import VditModels
import VditTensor

/// A model on disk in diffusers' layout: opened, checked and described, but not loaded.
///
/// Every tensor of every component has been checked for presence, shape and type when this exists.
public struct ModelDirectory: Sendable {
    public let path: String
    public let specification: ModelSpecification
    public let scheduler: SchedulerConfiguration
    /// Of the transformers, in the specification's order.
    public let transformerWeights: [WeightStore]
    public let decoderWeights: WeightStore
    /// Of models that read a picture's tokens beside the prompt.
    public let imageEncoder: ImageEncoder?
    /// What is merged into the transformers when they are loaded.
    public private(set) var adapters = AdapterSet.none
    private let identity = Identity()

    /// Where the parts of a model lie.
    public struct Components: Sendable {
        /// Folders: one, or two of which the second serves below `boundary`.
        public var transformers: [String]
        /// Fraction of the training timesteps.
        public var boundary: Double
        public var decoder: String
        /// The configuration file.
        public var scheduler: String
        /// The image encoder's folder and the configuration file of its pictures, where the model takes one.
        public var imageEncoder: (folder: String, processor: String)?
        /// The `_class_name` of the whole, where there is one.
        var pipeline: String?

        public init(transformers: [String], boundary: Double = 0, decoder: String, scheduler: String) {
            self.transformers = transformers
            self.boundary = boundary
            self.decoder = decoder
            self.scheduler = scheduler
        }
    }

    /// Opens a pipeline folder: `model_index.json`, `transformer/`, `vae/`, `scheduler/`, for models of two
    /// transformers also `transformer_2/`, for those that read a picture's tokens `image_encoder/` and
    /// `image_processor/`.
    ///
    /// - Throws: `FileError` naming the file that is missing or malformed, `TensorError` with all tensors that do not
    ///   fit, `ModelError` (69) for pipelines of other families or other tasks.
    public init(path: String) throws {
        if path.isEmpty { throw FileError.emptyPath("model") }
        let path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        let index = "\(path)/model_index.json"
        if FilePath.exists("\(path)/config.json"), !FilePath.exists(index) {
            throw PipelineError.invalid(
                path, found: "one component of a model",
                expected: "the folder above it, with model_index.json", kind: .badData)
        }
        let file = try ConfigFile(path: index)
        let family = try ModelCatalogue.family(pipeline: file)
        let boundary = try file.numberIfPresent("boundary_ratio", 0...1)
        let hasSecond = try file.stringsIfPresent("transformer_2")?.count == 2
        if hasSecond, boundary == nil {
            throw FileError.malformed(
                path: index, field: "boundary_ratio", found: "nothing",
                expected: "a number from 0 to 1, as there is a transformer_2")
        }
        var components = Components(
            transformers: ["\(path)/transformer"] + (hasSecond ? ["\(path)/transformer_2"] : []),
            boundary: boundary ?? 0, decoder: "\(path)/vae", scheduler: "\(path)/scheduler/scheduler_config.json")
        components.imageEncoder = ("\(path)/image_encoder", "\(path)/image_processor/preprocessor_config.json")
        components.pipeline = try file.stringIfPresent("_class_name")
        try self.init(path: path, family: family, components)
    }

    /// Opens components from anywhere.
    ///
    /// - Parameter path: what to call the whole.
    /// - Throws: as `init(path:)`.
    public init(path: String, family: ModelFamily, _ components: Components) throws {
        self.path = path
        scheduler = try SchedulerConfiguration(ConfigFile(path: components.scheduler))
        let last = components.transformers.count - 1
        let configured = try family.specification(
            transformers: components.transformers.enumerated().map { index, folder in
                (
                    component: index == 0 ? "transformer" : "transformer_\(index + 1)",
                    file: try ConfigFile(path: "\(folder)/config.json"),
                    boundary: index == last ? 0 : components.boundary
                )
            }, decoder: ConfigFile(path: "\(components.decoder)/config.json"), pipeline: components.pipeline)
        var weights: [WeightStore] = []
        for folder in components.transformers { weights.append(try WeightStore(folder)) }
        specification = configured.matching(weights)
        for (part, store) in zip(specification.transformers, weights) { try part.specification.check(store) }
        transformerWeights = weights
        decoderWeights = try WeightStore(components.decoder)
        try decoderWeights.check(specification.decoder.tensors)
        let needs = specification.transformer.conditioning
        imageEncoder = needs.imageWidth == nil
            ? nil
            : try components.imageEncoder.map {
                try ImageEncoder(folder: $0.folder, processor: $0.processor, for: needs)
            }
    }

    /// What a person should know of the checkpoint, and of the sampler with it.
    func notices(_ plan: RenderPlan) -> [String] {
        var notices = adapters.notices(plan)
        let hasGates = specification.transformer.hasGates
        if hasGates, !plan.method.method.takesGates {
            notices.append(
                "\(path): the gates of its trained sparse attention are left out; the model runs without it, and "
                    + "'sparse \(VideoSparseAttention.name)' runs it")
        }
        let isDistilled = specification.defaults.fewStep != nil || hasGates
            || Distillation.isNamed(in: FilePath.name(of: path))
        if isDistilled, let sampling = Distillation.unfit(plan) {
            notices.append("\(path): a distilled model, made for few steps without guidance, runs \(sampling)")
        }
        if plan.isFewStep, !isDistilled, !adapters.isDistilled {
            notices.append(
                "\(path): nothing tells that this model was distilled; few steps of another give a blur")
        }
        return notices
    }

    /// The same model with adapters, in this order.
    ///
    /// - Throws: `FileError`, `ModelError` or `PipelineError` naming the file that cannot be used.
    public func adapted(by choices: [AdapterChoice]) throws -> ModelDirectory {
        var model = self
        model.adapters = try AdapterSet(choices, model: specification)
        return model
    }

    /// The stored element type of the first transformer's largest weights.
    public var storedType: String {
        let largest = specification.transformer.tensors.max { $0.shape.reduce(1, *) < $1.shape.reduce(1, *) }
        return largest.flatMap { transformerWeights[0].info($0.name)?.dtypeName } ?? "unknown"
    }

    /// Serves times from here up, on the sampler's scale.
    public func lowestTimestep(ofTransformer index: Int) -> Float {
        Float(specification.transformers[index].boundary * Double(scheduler.trainTimesteps))
    }

    /// What identifies the files, for run records.
    public var files: [RunRecord.ModelFile] {
        (transformerWeights + [decoderWeights]).flatMap(RunRecord.ModelFile.of)
            + (imageEncoder.map { RunRecord.ModelFile.of($0.files, in: $0.path) } ?? [])
    }

    /// A digest of what encodes pictures, by the headers of the files.
    var encoderFingerprint: String {
        let files = RunRecord.ModelFile.of(decoderWeights)
            + (imageEncoder.map { RunRecord.ModelFile.of($0.files, in: $0.path) } ?? [])
        return Digest.sha256(Array(files.map { "\($0.bytes) \($0.headerSha256)\n" }.joined().utf8))
    }

    /// - Throws: `FileError` when a file is not the one that was opened.
    public func verifyUnchanged() throws(FileError) {
        for store in transformerWeights + [decoderWeights] { try store.verifyUnchanged() }
        try imageEncoder?.verifyUnchanged()
        try adapters.verifyUnchanged()
    }

    /// A digest of the transformers: their headers, and 64 bytes at five places of every tensor. Made once.
    ///
    /// What a checkpoint must agree on. Reading all weights would take minutes; weights of another training, a merged
    /// adapter, another type or a file whose end was lost differ here. Not noticed: a change of single values between
    /// those places, such as a flipped bit, and any change of the VAE, which the latents do not depend on.
    public func fingerprint() throws(TensorError) -> String {
        try identity.digest { () throws(TensorError) in
            var lines: [String] = []
            for store in transformerWeights {
                for file in store.files {
                    lines.append("\(file.name) \(file.byteCount) \(Digest.sha256(file.header))")
                }
                for name in store.names {
                    var values: [UInt8] = []
                    try store.tensor(name).withBytes { bytes in
                        for quarter in 0..<4 { values += bytes.dropFirst(bytes.count / 4 * quarter).prefix(64) }
                        values += bytes.suffix(64)
                    }
                    store.release(name)
                    lines.append("\(name) \(Digest.sha256(values))")
                }
            }
            return Digest.sha256(Array(lines.joined(separator: "\n").utf8))
        }
    }

    /// The digest, once it is known, shared by all copies.
    private final class Identity: Sendable {
        private let known = Mutex<String?>(nil)

        func digest(_ make: () throws(TensorError) -> String) throws(TensorError) -> String {
            if let digest = known.withLock({ $0 }) { return digest }
            let digest = try make()
            known.withLock { $0 = digest }
            return digest
        }
    }
}

extension RunRecord.ModelFile {
    static func of(_ store: WeightStore) -> [RunRecord.ModelFile] { of(store.files, in: store.path) }

    static func of(_ files: [WeightStore.FileIdentity], in folder: String) -> [RunRecord.ModelFile] {
        files.map {
            RunRecord.ModelFile(
                name: "\(FilePath.name(of: folder))/\($0.name)",
                bytes: $0.byteCount, headerSha256: Digest.sha256($0.header))
        }
    }
}
