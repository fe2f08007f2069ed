import VditAttention
import VditPipeline

/// One way to compute self-attention, as a row of the table.
public struct ComparisonVariant: Sendable, Codable, Equatable {
    public var method: String
    /// The density asked for; nil where the method's own parameters decide.
    public var density: Double?
    public var options: [String: String]

    public var isDense: Bool { method == Dense.name }

    /// `radial 0.3`, or the method alone.
    public var label: String { density.map { "\(method) \(shortNumber($0))" } ?? method }

    static let dense = ComparisonVariant(method: Dense.name, density: nil, options: [:])

    /// A density in as few digits as tell it from its neighbours.
    private func shortNumber(_ value: Double) -> String { "\((value * 1000).rounded() / 1000)" }
}

/// An option for one method, or for all that are compared.
public struct ComparisonOption: Sendable, Equatable {
    public var method: String?
    public var name: String
    public var value: String

    public init(method: String?, name: String, value: String) {
        (self.method, self.name, self.value) = (method, name, value)
    }

    /// Reads `name=value` (every method) or `method.name=value`.
    ///
    /// - Throws: `AttentionError.invalid` without a name and a value, `.unknownMethod`.
    public init(parsing text: String) throws(AttentionError) {
        let parsed = try MethodCatalogue.parse([text])
        let (name, value) = parsed.first ?? ("", "")
        if let dot = name.firstIndex(of: ".") {
            method = try MethodCatalogue.description(of: String(name[..<dot])).name
            self.name = String(name[name.index(after: dot)...])
        } else {
            (method, self.name) = (nil, name)
        }
        self.value = value
    }
}

extension ComparisonJob {
    /// Dense, then every method at every density, in the order they were named.
    ///
    /// - Throws: `AttentionError` for unknown methods; `BatchError.invalid` for one named twice, an option
    ///   of a method that is not compared, or no method but dense.
    func variants() throws -> [ComparisonVariant] {
        for (index, method) in methods.enumerated() {
            _ = try MethodCatalogue.description(of: method)
            if methods[..<index].contains(method) {
                throw BatchError.invalid(
                    "methods", found: "\(method) twice", expected: "each once", kind: .usage)
            }
        }
        let sparse = methods.filter { $0 != Dense.name }
        guard !sparse.isEmpty else {
            throw BatchError.invalid(
                "methods", found: methods.isEmpty ? "none" : "dense alone",
                expected: "at least one sparse method to compare with it", kind: .usage)
        }
        for option in options {
            if let method = option.method, !sparse.contains(method) {
                throw BatchError.invalid(
                    "sparse option", found: "\(method).\(option.name)",
                    expected: "an option of \(sparse.joined(separator: ", "))", kind: .usage)
            }
        }
        for (index, density) in densities.enumerated() where densities[..<index].contains(density) {
            throw BatchError.invalid(
                "densities", found: "\(density) twice", expected: "each once", kind: .usage)
        }
        return [.dense]
            + sparse.flatMap { method in
                let own = options.filter { $0.method == nil || $0.method == method }
                let values = Dictionary(own.map { ($0.name, $0.value) }) { $1 }
                return (densities.isEmpty ? [nil] : densities.map(Optional.some)).map { density in
                    ComparisonVariant(method: method, density: density, options: values)
                }
            }
    }
}

extension ComparisonVariant {
    /// Asks a render for this method.
    func apply(to request: inout RenderRequest) {
        request.sparse = method
        request.sparseOptions = options
        request.density = density
    }
}
