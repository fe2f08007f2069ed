import VditAttention

/// One way to make a video, as a row of the table: a sparse method, a step cache, or both.
public struct ComparisonVariant: Sendable, Equatable {
    public var method: MethodChoice
    public var cache: CacheChoice?

    public init(_ method: MethodChoice, cache: CacheChoice? = nil) {
        self.method = method
        self.cache = cache
    }

    /// Whether this is what the others are compared with.
    public var isDense: Bool { method.isDense && cache == nil }

    /// `radial`, `magcache` or `radial+magcache`: what variants of one curve have in common.
    public var name: String { parts.map(\.name).joined(separator: "+") }

    /// The method, with and without a cache, or the cache alone: what variants of one colour have in common.
    public var kind: String { parts[0].name }

    /// Whether it is a method with a cache.
    public var isPair: Bool { parts.count > 1 }

    /// What was asked for, without names: `0.3`, or `0.3+0.5`.
    public var shares: String { parts.compactMap { $0.share.map(shortNumber) }.joined(separator: "+") }

    /// `radial 0.3`, or the method alone; with a cache `radial 0.3+magcache 0.5`.
    public var label: String {
        parts.map { name, share in share.map { "\(name) \(shortNumber($0))" } ?? name }.joined(separator: "+")
    }

    /// Each with the share that was asked for.
    private var parts: [(name: String, share: Double?)] {
        let cached = cache.map { [(name: $0.name, share: $0.budget)] } ?? []
        return method.isDense && cache != nil ? cached : [(method.name, method.density)] + cached
    }

    /// A density in as few digits as tell it from its neighbours.
    private func shortNumber(_ value: Double) -> String { "\((value * 1000).rounded() / 1000)" }
}

/// As the method is written, with the cache's `{"cache", "budget", "options"}` under `cache`.
extension ComparisonVariant: Codable {
    private struct WrittenCache: Codable {
        let cache: String
        let budget: Double?
        let options: [String: String]
    }

    private enum CodingKeys: String, CodingKey { case cache }

    public init(from decoder: any Decoder) throws {
        method = try MethodChoice(from: decoder)
        let written = try decoder.container(keyedBy: CodingKeys.self).decodeIfPresent(WrittenCache.self, forKey: .cache)
        cache = try written.map { try CacheChoice(cache: $0.cache, options: $0.options, budget: $0.budget) }
    }

    public func encode(to encoder: any Encoder) throws {
        try method.encode(to: encoder)
        guard let cache else { return }
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(
            WrittenCache(cache: cache.name, budget: cache.budget, options: cache.options), forKey: .cache)
    }
}
