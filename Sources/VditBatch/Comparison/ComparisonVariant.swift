import VditAttention
import VditPipeline

/// One way to make a video, as a row of the table. Written as its method is.
public struct ComparisonVariant: Sendable, Equatable {
    public var method: MethodChoice

    public init(_ method: MethodChoice) { self.method = method }

    public var isDense: Bool { method.isDense }

    /// `radial 0.3`, or the method alone.
    public var label: String { method.density.map { "\(method.name) \(shortNumber($0))" } ?? method.name }

    /// A density in as few digits as tell it from its neighbours.
    private func shortNumber(_ value: Double) -> String { "\((value * 1000).rounded() / 1000)" }
}

extension ComparisonVariant: Codable {
    public init(from decoder: any Decoder) throws { method = try MethodChoice(from: decoder) }

    public func encode(to encoder: any Encoder) throws { try method.encode(to: encoder) }
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
    /// - Throws: `AttentionError` for what is no method, density or option; `BatchError.invalid` for one named twice, an
    ///   option of a method that is not compared, or no method but dense.
    func variants() throws -> [ComparisonVariant] {
        for (index, density) in densities.enumerated() where densities[..<index].contains(density) {
            throw BatchError.invalid("densities", found: "\(density) twice", expected: "each once", kind: .usage)
        }
        let named = try methods.map { try MethodChoice(parsing: $0) }
        let sparse = named.filter { !$0.isDense }.map(\.name).uniqued
        for option in options {
            if let method = option.method, !sparse.contains(method) {
                throw BatchError.invalid(
                    "sparse option", found: "\(method).\(option.name)",
                    expected: "an option of \(sparse.joined(separator: ", "))", kind: .usage)
            }
        }
        var variants = [ComparisonVariant(.dense)]
        for (method, text) in zip(named, methods) where !method.isDense || method.density != nil {
            let own = options.filter { $0.method == nil || $0.method == method.name }
            let values = Dictionary(own.map { ($0.name, $0.value) }) { $1 }
            for density in densities.isEmpty || method.density != nil ? [method.density] : densities.map(Optional.some) {
                let variant = ComparisonVariant(try MethodChoice(method.name, options: values, density: density))
                if variants.contains(variant) {
                    throw BatchError.invalid("methods", found: "\(text) twice", expected: "each once", kind: .usage)
                }
                variants.append(variant)
            }
        }
        guard variants.count > 1 else {
            throw BatchError.invalid(
                "methods", found: methods.isEmpty ? "none" : "dense alone",
                expected: "at least one sparse method to compare with it", kind: .usage)
        }
        return variants
    }
}
