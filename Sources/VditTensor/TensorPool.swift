/// Memory that comes back by itself: a tensor taken from here is free again when its last view is gone.
///
/// For one thread. The pool keeps what it ever handed out until it goes away itself, so it holds at most
/// as much as was alive at once, by size.
public final class TensorPool {
    private var storages: [Int: [Storage]] = [:]

    public init() {}

    /// Bytes handed out and kept.
    public var byteCount: Int {
        storages.reduce(0) { $0 + $1.key * $1.value.count }
    }

    /// A tensor with arbitrary contents.
    public func tensor(_ dtype: DType, _ shape: [Int]) -> Tensor {
        let bytes = shape.reduce(1, *) * dtype.byteCount
        var candidates = storages.removeValue(forKey: bytes) ?? []
        defer { storages[bytes] = candidates }
        for index in candidates.indices where isKnownUniquelyReferenced(&candidates[index]) {
            return Tensor(dtype, shape, storage: candidates[index], byteOffset: 0)
        }
        let storage = Storage(byteCount: bytes)
        candidates.append(storage)
        return Tensor(dtype, shape, storage: storage, byteOffset: 0)
    }
}
