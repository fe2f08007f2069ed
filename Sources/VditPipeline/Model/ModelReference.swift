import VditFiles

/// Where a run's model lies: a whole, and parts that take the place of its own.
public struct ModelReference: Sendable, Hashable, Codable {
    /// A pipeline folder in diffusers' layout, or a file that holds a transformer; empty where the parts are all.
    public var path: String
    /// Folders in diffusers' layout, or files. The second serves the end of the loop.
    public var transformer: String?
    public var secondTransformer: String?
    public var decoder: String?
    /// A `scheduler_config.json`, or the folder of one.
    public var scheduler: String?

    public init(_ path: String) { self.path = path }

    private enum CodingKeys: String, CodingKey {
        case path, transformer, secondTransformer = "transformer2", decoder = "vae", scheduler = "schedulerConfig"
    }

    /// What messages and records call the whole.
    public var name: String { path.isEmpty ? transformer ?? "" : path }

    /// Whether the whole is all there is.
    var isWhole: Bool { self == ModelReference(path) }

    /// The settings that name the parts, and the parts.
    package var parts: [(setting: String, path: String?)] {
        [
            ("transformer", transformer), ("transformer_2", secondTransformer), ("vae", decoder),
            ("scheduler_config", scheduler),
        ]
    }
}

extension FileRoles {
    /// The whole and the parts of a model that is read.
    package mutating func read(_ model: ModelReference) {
        if !model.path.isEmpty || model.transformer == nil { read(model.path, as: "model") }
        for (setting, path) in model.parts { read(path, as: setting.replacing("_", with: " ")) }
    }
}
