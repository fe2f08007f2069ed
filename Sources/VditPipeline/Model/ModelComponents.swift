import VditFiles
import VditModels

extension ModelDirectory {
    /// Where the parts of a model lie.
    public struct Components: Sendable {
        /// Folders or files: one, or two of which the second serves below `boundary`.
        public var transformers: [String]
        /// Fraction of the training timesteps; nil where no file says.
        public var boundary: Double?
        /// A folder or a file.
        public var decoder: String
        /// The configuration file; nil for what the family's models are published with.
        public var scheduler: String?
        /// The image encoder's folder and the configuration file of its pictures, where the model takes one.
        public var imageEncoder: (folder: String, processor: String)?
        /// The `_class_name` of the whole, where there is one.
        var pipeline: String?

        public init(transformers: [String], boundary: Double? = nil, decoder: String, scheduler: String?) {
            self.transformers = transformers
            self.boundary = boundary
            self.decoder = decoder
            self.scheduler = scheduler
        }
    }
}

extension ModelReference {
    private var index: String { "\(path)/model_index.json" }

    /// Whether the whole is a pipeline folder, or is to be taken for one by what it lacks.
    private var isPipeline: Bool {
        if path.isEmpty { return false }
        return !FilePath.exists(path) || FilePath.isFolder(path) && (FilePath.exists(index) || decoder == nil)
    }

    /// Finds the parts: the one place that tells what a model is made of.
    ///
    /// - Returns: the family, where a pipeline's index tells.
    /// - Throws: `FileError` naming the file that is missing or malformed, `PipelineError.invalid` (66) naming the part
    ///   that is, `ModelError` (69) for pipelines of other families or other tasks.
    func components() throws -> (ModelDirectory.Components, ModelFamily?) {
        var reference = self
        if path.count > 1, path.hasSuffix("/") { reference.path = String(path.dropLast()) }
        var (components, family) = try reference.isPipeline ? reference.pipeline() : (reference.file(), nil)
        if let transformer { components.transformers[0] = transformer }
        if let secondTransformer { components.transformers = [components.transformers[0], secondTransformer] }
        if let decoder { components.decoder = decoder }
        if let scheduler {
            components.scheduler = FilePath.isFolder(scheduler)
                ? FilePath.joined(scheduler, "scheduler_config.json") : scheduler
        }
        return (components, family)
    }

    /// The parts of a pipeline folder: `transformer/`, `vae/`, `scheduler/`, for models of two transformers also
    /// `transformer_2/`, for those that read a picture's tokens `image_encoder/` and `image_processor/`.
    private func pipeline() throws -> (ModelDirectory.Components, ModelFamily?) {
        if FilePath.exists("\(path)/config.json"), !FilePath.exists(index) {
            throw PipelineError.invalid(
                path, found: "one component of a model",
                expected: "the folder above it, with model_index.json, or the other parts by --vae", kind: .badData)
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
        var components = ModelDirectory.Components(
            transformers: ["\(path)/transformer"] + (hasSecond ? ["\(path)/transformer_2"] : []),
            boundary: boundary, decoder: "\(path)/vae", scheduler: "\(path)/scheduler/scheduler_config.json")
        components.imageEncoder = ("\(path)/image_encoder", "\(path)/image_processor/preprocessor_config.json")
        components.pipeline = try file.stringIfPresent("_class_name")
        return (components, family)
    }

    /// The parts of a transformer that comes alone, or with a VAE in the same file.
    private func file() throws -> ModelDirectory.Components {
        guard let transformer = transformer ?? (path.isEmpty ? nil : path) else {
            throw PipelineError.invalid(
                "model", found: "no transformer", expected: "--model or --transformer", kind: .missingInput)
        }
        if let decoder {
            return ModelDirectory.Components(transformers: [transformer], decoder: decoder, scheduler: nil)
        }
        guard !path.isEmpty, try ModelCatalogue.holdsDecoder(path) else {
            // What the file is comes before what it lacks.
            _ = try ModelCatalogue.openTransformer(transformer)
            throw PipelineError.invalid(
                transformer, found: "a transformer without a VAE",
                expected: "the VAE's file or folder by --vae", kind: .missingInput)
        }
        return ModelDirectory.Components(transformers: [transformer], decoder: path, scheduler: nil)
    }
}
