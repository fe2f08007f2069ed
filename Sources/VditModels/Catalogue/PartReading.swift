import VditTensor

/// How a family's component is told by its tensors alone, where no configuration says what it is.
public struct PartReading<Specification>: Sendable {
    /// What the component's authors call its tensors; nil for tensors of something else.
    let names: @Sendable (TensorShapes) -> NameTable?
    /// What the shapes say, of tensors under our names.
    let specification: @Sendable (TensorShapes) throws(ModelError) -> Specification

    /// - Parameter specification: throws naming what no shape says or what this version does not have.
    public init(
        names: @escaping @Sendable (TensorShapes) -> NameTable?,
        specification: @escaping @Sendable (TensorShapes) throws(ModelError) -> Specification
    ) {
        (self.names, self.specification) = (names, specification)
    }
}

/// What a family's single files are, and what is taken for granted where they say nothing.
public struct FamilyReading: Sendable {
    let transformer: PartReading<any TransformerSpecification>
    let decoder: PartReading<any DecoderSpecification>
    /// What GGUF files of its transformers are called, and their tensors.
    public let gguf: (architecture: String, names: NameTable)
    /// The rest of a model of these parts.
    let assumed: @Sendable ([any TransformerSpecification], any DecoderSpecification) -> AssumedParts

    public init(
        transformer: PartReading<any TransformerSpecification>, decoder: PartReading<any DecoderSpecification>,
        gguf: (architecture: String, names: NameTable),
        assumed: @escaping @Sendable ([any TransformerSpecification], any DecoderSpecification) -> AssumedParts
    ) {
        (self.transformer, self.decoder, self.gguf, self.assumed) = (transformer, decoder, gguf, assumed)
    }
}

/// What no file of weights says of a model.
public struct AssumedParts: Sendable {
    /// What its `scheduler_config.json` would say.
    public let scheduler: [String: ConfigurationValue]
    /// The `_class_name` of the whole.
    public let pipeline: String
    /// Where a second transformer begins to serve, as a fraction of the training timesteps.
    public let boundary: Double
    /// What a person should know of it, in words; nil for nothing.
    public let notice: String?

    public init(
        scheduler: [String: ConfigurationValue], pipeline: String, boundary: Double = 0, notice: String? = nil
    ) {
        (self.scheduler, self.pipeline, self.boundary, self.notice) = (scheduler, pipeline, boundary, notice)
    }
}

extension TensorShapes {
    /// An extent that a component's size follows from.
    ///
    /// - Throws: `ModelError.invalid` naming the tensor that is missing or has no such axis.
    func size(_ name: String, _ axis: Int) throws(ModelError) -> Int {
        if let extent = extent(name, axis), extent > 0 { return extent }
        let found = self[name].map { "shape \($0)" } ?? "nothing"
        throw .invalid("tensor \(name)", found: found, expected: "a tensor of \(axis + 1) axes or more", kind: .badData)
    }
}
