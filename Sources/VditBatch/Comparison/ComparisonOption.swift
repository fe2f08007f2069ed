import VditAttention
import VditFiles
import VditPipeline

/// An option for one method, or for all that are compared.
public struct ComparisonOption: Sendable, Equatable {
    public var method: String?
    public var name: String
    public var value: String

    public init(method: String?, name: String, value: String) {
        (self.method, self.name, self.value) = (method, name, value)
    }

    /// Reads `name=value` (every method) or `method.name=value`, `cache.name=value` too.
    ///
    /// - Throws: `ChoiceError` without a name and a value, or for an unknown method.
    public init(parsing text: String) throws(ChoiceError) {
        let parsed = try MethodCatalogue.parse([text])
        let (name, value) = parsed.first ?? ("", "")
        if let dot = name.firstIndex(of: ".") {
            let owner = String(name[..<dot])
            let isCache = CacheCatalogue.all.names.contains(owner)
            method = isCache ? owner : try MethodCatalogue.description(of: owner).name
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
    /// - Parameter tables: of heads, by method.
    /// - Throws: `ChoiceError` for what is no method, density or option; `BatchError.invalid` for one named twice, an
    ///   option of a method that is not compared, or no method but dense.
    func variants(_ tables: [String: String]) throws -> [ComparisonVariant] {
        for (index, density) in densities.enumerated() where densities[..<index].contains(density) {
            throw BatchError.invalid("densities", found: "\(density) twice", expected: "each once", kind: .usage)
        }
        let named = try methods.map(variant)
        let owners = named.flatMap { [$0.method.isDense ? nil : $0.method.name, $0.cache?.name] }.compactMap { $0 }
        for option in options {
            if let method = option.method, !owners.contains(method) {
                throw BatchError.invalid(
                    "sparse option", found: "\(method).\(option.name)",
                    expected: "an option of \(owners.uniqued.joined(separator: ", "))", kind: .usage)
            }
        }
        var variants = [ComparisonVariant(.dense)]
        for (named, text) in zip(named, methods) where !named.isDense || named.method.density != nil {
            let method = named.method
            let cache = try named.cache.map {
                try CacheChoice(cache: $0.name, options: values(of: $0.name, shared: false), budget: $0.budget)
            }
            // A cache alone has no density to vary, a table says it for every head.
            let isFixed = densities.isEmpty || method.density != nil || method.isDense || tables[method.name] != nil
            for density in isFixed ? [method.density] : densities.map(Optional.some) {
                let own = method.isDense && cache != nil ? [:] : values(of: method.name, shared: true)
                let variant = ComparisonVariant(
                    try MethodChoice(method.name, options: own, density: density), cache: cache)
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

    /// The table of each method that has one.
    ///
    /// - Throws: `FileError` and `PipelineError` for what is no table; `BatchError.invalid` for one of a method that is
    ///   not compared, or that has another.
    func tablesByMethod() throws -> [String: String] {
        let named = try methods.map { try variant($0).method.name }
        var tables: [String: String] = [:]
        for path in sparseTables {
            let method = try HeadTableFile(path: path).method
            guard named.contains(method), tables.updateValue(path, forKey: method) == nil else {
                throw BatchError.invalid(
                    "sparse table", found: "\(path), of \(method)",
                    expected: "one for each of \(named.uniqued.joined(separator: ", ")) at most", kind: .usage)
            }
        }
        return tables
    }

    /// Options of a method or a cache.
    ///
    /// - Parameter shared: whether those without an owner are meant.
    private func values(of name: String, shared: Bool) -> [String: String] {
        let own = options.filter { shared && $0.method == nil || $0.method == name }
        return Dictionary(own.map { ($0.name, $0.value) }) { $1 }
    }

    /// Reads `method`, `cache` or `method+cache`, each with `@` and its share where one is wanted.
    ///
    /// - Throws: `ChoiceError`; `BatchError.invalid` for two of a kind.
    private func variant(_ text: String) throws -> ComparisonVariant {
        var (method, cache): (MethodChoice?, CacheChoice?)
        for part in text.split(separator: "+", omittingEmptySubsequences: false).map(String.init) {
            let isCache = CacheCatalogue.all.names.contains(String(part.prefix { $0 != "@" }))
            guard isCache ? cache == nil : method == nil else {
                throw BatchError.invalid(
                    "methods", found: text, expected: "one sparse method and one step cache, such as radial+magcache",
                    kind: .usage)
            }
            if isCache { cache = try CacheChoice(parsingCache: part) } else { method = try MethodChoice(parsing: part) }
        }
        return ComparisonVariant(method ?? .dense, cache: cache)
    }
}
