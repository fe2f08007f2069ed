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
    public let reference: ModelReference
    /// What to call the whole.
    public var path: String { reference.name }
    /// What latents are decoded with: the whole, or the VAE that takes the place of its own.
    public var decoderPath: String { reference.decoder ?? path }
    public let family: ModelFamily
    public let specification: ModelSpecification
    public let scheduler: SchedulerConfiguration
    /// What `scheduler` was read from.
    let schedulerFile: [UInt8]
    /// Of the transformers, in the specification's order.
    public let transformerWeights: [WeightStore]
    public let decoderWeights: WeightStore
    /// Of models that read a picture's tokens beside the prompt.
    public let imageEncoder: ImageEncoder?
    /// What identifies the files, for run records.
    public let files: [RunRecord.ModelFile]
    /// What is merged into the transformers when they are loaded.
    public private(set) var adapters = AdapterSet.none
    /// What was taken for granted, in a sentence; nil where files say everything.
    private let assumption: String?
    private let identity = Identity()

    /// Opens a pipeline folder; see `init(_:)`.
    public init(path: String) throws { try self.init(ModelReference(path)) }

    /// Opens a pipeline folder, a file, or parts from anywhere.
    ///
    /// - Throws: `FileError` naming the file that is missing or malformed, `TensorError` with all tensors that do not
    ///   fit, `PipelineError.invalid` (66) for a part that is missing, `ModelError` (69) for models of other families
    ///   or other tasks.
    public init(_ reference: ModelReference) throws {
        if reference.path.isEmpty, reference.transformer == nil { throw FileError.emptyPath("model") }
        let (components, family) = try reference.components()
        var reference = reference
        // A slash at the end would stand in records.
        if reference.path.count > 1, reference.path.hasSuffix("/") { reference.path.removeLast() }
        try self.init(reference, family: family, components)
    }

    /// Opens components from anywhere.
    ///
    /// - Parameter path: what to call the whole.
    /// - Throws: as `init(_:)`.
    public init(path: String, family: ModelFamily, _ components: Components) throws {
        try self.init(ModelReference(path), family: family, components)
    }

    /// - Parameter given: nil for the family that the files are found to be of.
    private init(_ reference: ModelReference, family given: ModelFamily?, _ components: Components) throws {
        self.reference = reference
        let scheduling = try components.scheduler.map { ($0, try InputFile.contents(of: $0, limit: 4 << 20)) }
        let configured = try scheduling.map { try SchedulerConfiguration(ConfigFile($1, name: $0)) }
        let opened = try components.transformers.map {
            try ModelCatalogue.openTransformer($0, of: given, pipeline: components.pipeline)
        }
        family = opened[0].family
        let decoder = try ModelCatalogue.openDecoder(components.decoder, of: given, beside: opened[0].family)
        let assumed = family.assumed(opened.map(\.specification), decoder.specification)
        try Self.check(opened, decoder, components, areAlike: reference.secondTransformer != nil)
        let boundary = components.boundary ?? assumed?.boundary ?? 0
        specification = try family.specification(
            transformers: opened.enumerated().map { index, part in
                ModelSpecification.Transformer(
                    component: index == 0 ? "transformer" : "transformer_\(index + 1)",
                    specification: part.specification, boundary: index == opened.count - 1 ? 0 : boundary)
            }, decoder: decoder.specification, pipeline: components.pipeline ?? assumed?.pipeline)
        transformerWeights = opened.map(\.weights)
        decoderWeights = decoder.weights
        let needs = specification.transformer.conditioning
        imageEncoder = needs.imageWidth == nil
            ? nil
            : try components.imageEncoder.map {
                try ImageEncoder(folder: $0.folder, processor: $0.processor, for: needs)
            }
        files = (transformerWeights + [decoderWeights]).flatMap(RunRecord.ModelFile.of)
            + (imageEncoder.map { RunRecord.ModelFile.of($0.files, in: $0.path) } ?? [])
        if let configured, let scheduling {
            (scheduler, schedulerFile) = (configured, scheduling.1)
        } else if let assumed {
            schedulerFile = try configurationJSON(assumed.scheduler)
            scheduler = try SchedulerConfiguration(
                ConfigFile(schedulerFile, name: "the scheduler of \(family.name)"))
        } else {
            throw PipelineError.invalid(
                reference.name, found: "no scheduler", expected: "one by --scheduler-config", kind: .missingInput)
        }
        assumption = configured == nil
            ? "\(reference.name): \(specification.defaults.name)"
                + (assumed?.notice.map { " (\($0))" } ?? "") + "; assumed: \(scheduler.kind.rawValue) with flow shift "
                + "\(scheduler.flowShift)" + (opened.count > 1 ? ", boundary \(boundary)" : "")
            : nil
    }

    /// - Throws: `PipelineError.invalid` (65) for parts of different models.
    private static func check(
        _ transformers: [OpenedPart<any TransformerSpecification>], _ decoder: OpenedPart<any DecoderSpecification>,
        _ components: Components, areAlike: Bool
    ) throws(PipelineError) {
        let family = transformers[0].family.name
        let families = transformers.map(\.family.name) + [decoder.family.name]
        if let other = zip(components.transformers + [components.decoder], families).first(where: { $0.1 != family }) {
            throw .invalid(other.0, found: "a part of \(other.1)", expected: "one of \(family)", kind: .badData)
        }
        let shapes = transformers.map { $0.specification.configuration }
        if areAlike, let other = shapes.firstIndex(where: { $0 != shapes[0] }) {
            throw .invalid(
                components.transformers[other], found: "a transformer of another shape",
                expected: "one as \(components.transformers[0])", kind: .badData)
        }
    }

    /// What the `model_index.json` of a folder with these parts says.
    var index: [String: ConfigurationValue] {
        var index: [String: ConfigurationValue] = [
            "vae": .texts(["diffusers", family.decoderClass]),
            "scheduler": .texts(["diffusers", scheduler.kind.className]),
        ]
        index["_class_name"] = specification.pipeline.map { .text($0) }
        for part in specification.transformers {
            index[part.component] = .texts(["diffusers", family.transformerClass])
        }
        if specification.transformers.count > 1 {
            index["boundary_ratio"] = .number(specification.transformers[0].boundary)
        }
        return index
    }

    /// What a person should know of the checkpoint, and of the sampler with it.
    func notices(_ plan: RenderPlan) -> [String] {
        var notices = [assumption].compactMap { $0 } + adapters.notices(plan)
        let trained = specification.transformer.trained
        if let trained, plan.method.method.trained != trained,
            let method = MethodCatalogue.methods.first(where: { $0.trained == trained })
        {
            notices.append(
                "\(path): the \(trained.rawValue) of its trained sparse attention are left out; the model runs without "
                    + "it, and 'sparse \(method.name)' runs it")
        }
        let isDistilled = specification.defaults.fewStep != nil || trained == .gates
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
        model.adapters = try AdapterSet(
            choices, names: specification.transformer.adapterNames, transformers: specification.transformers.count)
        return model
    }

    /// The stored element type of the first transformer's largest weights.
    public var storedType: String {
        let largest = specification.transformer.tensors.max { $0.shape.reduce(1, *) < $1.shape.reduce(1, *) }
        return largest.flatMap { transformerWeights[0].info($0.name)?.dtypeName } ?? "unknown"
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
                    try store.bytes(name).withBytes { bytes in
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

    /// `fingerprint`, and what adapters make of it.
    func weightsDigest() throws(TensorError) -> String {
        let own = try fingerprint()
        return adapters.identity.map { Digest.sha256(Array("\(own) \($0)".utf8)) } ?? own
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
