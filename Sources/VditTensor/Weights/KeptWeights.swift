import Synchronization

/// How a transformer's blocks are kept in memory from one call to the next.
public enum LayerKeeping: String, Sendable, CaseIterable, Codable {
    /// As they are multiplied.
    case packed
    /// As their file has them: they are decoded and packed anew in every call, each while the one before it works.
    case stored = "as-stored"
    /// In smaller blocks of numbers, likewise.
    case q8_0, q5_0, q4_0

    /// What matrices are made that are not kept as they are; nil for the others.
    public var type: StoredType? { StoredType(rawValue: rawValue) }
}

/// Weights whose matrices are kept in blocks from the first time they are asked for.
///
/// What adapters add is in them: it is added to the values, and the sum is made blocks of once.
public final class KeptWeights: WeightSource {
    private let base: any WeightSource
    private let type: StoredType
    private let kept = Mutex<[String: EncodedTensor]>([:])

    /// - Parameter type: one of blocks.
    public init(_ base: any WeightSource, as type: StoredType) { (self.base, self.type) = (base, type) }

    public func contains(_ name: String) -> Bool { base.contains(name) }

    public func tensor(_ name: String) throws(TensorError) -> Tensor { try weight(name).tensor() }

    public func weight(_ name: String) throws(TensorError) -> StoredWeight {
        if let known = kept.withLock({ $0[name] }) { return .blocks(known) }
        let weight = try base.weight(name)
        guard let format = type.format, type.suits(name, weight.shape) else { return weight }
        if case .blocks(let encoded) = weight, encoded.format == format { return weight }
        let encoded = EncodedTensor(
            format: format, shape: weight.shape, bytes: try type.stored(try weight.tensor(), name: name), scales: nil,
            rotation: nil, name: name, path: "weights in memory")
        base.release(name)
        kept.withLock { $0[name] = encoded }
        return .blocks(encoded)
    }

    public func release(_ name: String) { base.release(name) }
}
