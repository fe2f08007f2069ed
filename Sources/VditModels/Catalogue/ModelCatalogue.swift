import Synchronization
import VditFiles
import VditTensor

/// A model that was published: its configuration, for recognising it and for making one of random weights.
public struct PublishedModel: Sendable {
    /// That of its defaults, unless several have those.
    public let name: String
    public let specification: ModelSpecification
    /// What its `model_index.json` and `scheduler_config.json` say.
    public let index: [String: ConfigurationValue]
    public let scheduler: [String: ConfigurationValue]

    public init(
        _ specification: ModelSpecification, index: [String: ConfigurationValue],
        scheduler: [String: ConfigurationValue], name: String? = nil
    ) {
        self.specification = specification
        self.index = index
        self.scheduler = scheduler
        self.name = name ?? specification.defaults.name
    }
}

/// A row of the catalogue: how a family's checkpoints are recognised, and how their configuration is read.
public struct ModelFamily: Sendable {
    public let name: String
    /// `_class_name`s of `model_index.json` it serves.
    public let pipelines: [String]
    /// Those of them whose models are distilled, with the name of their few-step sampling.
    public let distilled: [String: String]
    /// `_class_name`s of what is published beside its models and is none, with what to do instead.
    public let refused: [String: String]
    /// `_class_name`s of the components' `config.json`.
    public let transformerClass: String
    public let decoderClass: String
    /// Frames per second of videos whose latents are decoded without their model.
    public let frameRate: Int
    /// What its transformers predict.
    public let prediction: ModelSpecification.Prediction
    /// Models of random weights that can be made, by name.
    public let published: @Sendable () throws(ModelError) -> [PublishedModel]
    let transformer: @Sendable (ConfigFile, String?) throws(FileError) -> any TransformerSpecification
    let decoder: @Sendable (ConfigFile) throws(FileError) -> any DecoderSpecification
    let defaults: @Sendable ([any TransformerSpecification], any DecoderSpecification, String?) -> ModelDefaults
    /// How its files are told that come without a configuration; nil where none are known.
    let reading: FamilyReading?

    /// - Parameters:
    ///   - transformer: reads a transformer's `config.json`, given the `_class_name` of the pipeline where there is
    ///     one; throws naming the key that cannot be served.
    ///   - decoder: the same of the VAE.
    ///   - defaults: what is recommended for a model of these transformers, this VAE and this pipeline.
    public init(
        name: String, pipelines: [String], distilled: [String: String] = [:], refused: [String: String] = [:],
        transformerClass: String, decoderClass: String, frameRate: Int,
        prediction: ModelSpecification.Prediction = .flow,
        transformer: @escaping @Sendable (ConfigFile, String?) throws(FileError) -> any TransformerSpecification,
        decoder: @escaping @Sendable (ConfigFile) throws(FileError) -> any DecoderSpecification,
        defaults: @escaping @Sendable ([any TransformerSpecification], any DecoderSpecification, String?) ->
            ModelDefaults,
        reading: FamilyReading? = nil,
        published: @escaping @Sendable () throws(ModelError) -> [PublishedModel] = { () throws(ModelError) in [] }
    ) {
        self.name = name
        self.pipelines = pipelines
        self.distilled = distilled
        self.refused = refused
        self.transformerClass = transformerClass
        self.decoderClass = decoderClass
        self.frameRate = frameRate
        self.prediction = prediction
        self.transformer = transformer
        self.decoder = decoder
        self.defaults = defaults
        self.reading = reading
        self.published = published
    }
}

/// Every model family. A new one is a folder and a row here.
public enum ModelCatalogue {
    /// Rows a program that uses the library has added; only ever grows.
    private static let added = Mutex<[ModelFamily]>([])
    private static let own: [ModelFamily] = [wan, ltx, cogVideoX, hunyuanVideo, mochi]

    public static var families: [ModelFamily] { own + added.withLock { $0 } }

    /// Makes a family known to this process: everything that opens models serves it from then on. A family of the
    /// same name as another is ignored.
    public static func add(_ family: ModelFamily) {
        added.withLock { all in
            if !(own + all).contains(where: { $0.name == family.name }) { all.append(family) }
        }
    }

    /// - Throws: `ModelError` (69) for a class no family has, or that one refuses.
    static func family(
        _ file: ConfigFile, of classes: (ModelFamily) -> [String]
    ) throws -> ModelFamily {
        let found = try file.stringIfPresent("_class_name") ?? "nothing"
        guard let family = families.first(where: { classes($0).contains(found) }) else {
            if let instead = families.lazy.compactMap({ $0.refused[found] }).first {
                throw ModelError.unsupported("\(file.path): _class_name", found: found, expected: instead)
            }
            throw ModelError.unknownClass(path: file.path, found: found, known: families.flatMap(classes))
        }
        return family
    }

    /// The family of a pipeline, by its `model_index.json`.
    ///
    /// - Throws: `ModelError.unknownClass` (69).
    public static func family(pipeline file: ConfigFile) throws -> ModelFamily {
        try family(file, of: \.pipelines)
    }

    /// The family of this name.
    public static func family(named name: String) -> ModelFamily? { families.first { $0.name == name } }

    /// A component in words, once its weights are found to be those its `config.json` describes; nil for a class no
    /// family has.
    ///
    /// - Throws: `FileError` naming the key that cannot be served, `TensorError` with all tensors that do not fit.
    public static func summary(of file: ConfigFile, _ weights: WeightStore) throws -> String? {
        let found = try file.stringIfPresent("_class_name")
        for family in families {
            if family.transformerClass == found {
                let transformer = try family.transformer(file, nil).matching(weights)
                try transformer.check(weights)
                return transformer.summary
            }
            if family.decoderClass == found {
                let decoder = try family.decoder(file)
                try weights.check(decoder.tensors)
                return decoder.summary
            }
        }
        return nil
    }

    /// Models of random weights that can be made.
    public static func published() throws(ModelError) -> [PublishedModel] {
        var all: [PublishedModel] = []
        for family in families { all += try family.published() }
        return all
    }
}

extension ModelFamily {
    /// Puts components together.
    ///
    /// - Parameters:
    ///   - transformers: each with the name of its folder within the model, and where it begins to serve.
    ///   - pipeline: the `_class_name` of the whole, where there is one.
    /// - Throws: `ModelError` naming what cannot be served.
    public func specification(
        transformers: [ModelSpecification.Transformer], decoder: any DecoderSpecification, pipeline: String? = nil
    ) throws -> ModelSpecification {
        var defaults = defaults(transformers.map(\.specification), decoder, pipeline)
        defaults.fewStep = pipeline.flatMap { distilled[$0] }
        return try ModelSpecification(
            family: name, transformers: transformers, decoder: decoder, defaults: defaults, prediction: prediction,
            pipeline: pipeline)
    }

    /// What GGUF calls its transformers, and their authors the tensors; nil where no files but diffusers' are known.
    public var fileNames: (architecture: String, names: NameTable)? { reading?.gguf }

    /// What is taken for granted of a model whose files say no more than their weights; nil where nothing is known.
    public func assumed(
        _ transformers: [any TransformerSpecification], _ decoder: any DecoderSpecification
    ) -> AssumedParts? {
        reading?.assumed(transformers, decoder)
    }
}
