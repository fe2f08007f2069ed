import VditFiles

/// Every sparse method. A new one is a file in `Methods` and a row here.
public enum MethodCatalogue {
    public static let methods: [MethodDescription] = [
        Dense.description, Radial.description, SVG2.description, DraftAttention.description,
        Rettention.description, VideoSparseAttention.description, AdaSpa.description,
        MassAttention.description,
    ]

    /// The model whose presets hold for a token grid of which no model is known.
    public static let modelOfBareGrids = "wan"

    public static func description(of name: String) throws(AttentionError) -> MethodDescription {
        guard let found = methods.first(where: { $0.name == name }) else {
            throw .unknownMethod(name, known: methods.map(\.name))
        }
        return found
    }

    /// Splits `name=value`.
    ///
    /// - Throws: `AttentionError.invalid` without a name and a value, or for a name given twice.
    public static func parse(_ options: [String]) throws(AttentionError) -> [String: String] {
        var parsed: [String: String] = [:]
        for option in options {
            guard let equals = option.firstIndex(of: "="), equals != option.startIndex,
                option.index(after: equals) != option.endIndex
            else {
                throw .invalid("sparse option", found: "'\(option)'", expected: "name=value", kind: .usage)
            }
            let name = String(option[..<equals])
            guard parsed.updateValue(String(option[option.index(after: equals)...]), forKey: name) == nil
            else {
                throw .invalid("sparse option", found: "'\(name)' twice", expected: "each once", kind: .usage)
            }
        }
        return parsed
    }
}
