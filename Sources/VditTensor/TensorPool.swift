import Synchronization

/// Memory that comes back by itself: a tensor taken from here is free again when its last view is gone.
///
/// The pool keeps what it ever handed out until it goes away itself or is trimmed, so it holds at most as much as was
/// alive at once, by size; sizes are rounded up by a sixteenth at most, so that those that vary a little share.
public final class TensorPool: Sendable {
    private let storages = Mutex<[Int: [Storage]]>([:])

    public init() {}

    /// Bytes handed out and kept.
    public var byteCount: Int {
        storages.withLock { $0.reduce(0) { $0 + $1.key * $1.value.count } }
    }

    /// A tensor with arbitrary contents.
    public func tensor(_ dtype: DType, _ shape: [Int]) -> Tensor {
        let bytes = Self.rounded(shape.reduce(1, *) * dtype.byteCount)
        let storage = storages.withLock { storages in
            var candidates = storages.removeValue(forKey: bytes) ?? []
            defer { storages[bytes] = candidates }
            for index in candidates.indices where isKnownUniquelyReferenced(&candidates[index]) {
                return candidates[index]
            }
            let storage = Storage(byteCount: bytes)
            candidates.append(storage)
            return storage
        }
        return Tensor(dtype, shape, storage: storage, byteOffset: 0)
    }

    /// Gives back what nobody uses, but for tensors of one size.
    ///
    /// - Parameter bytes: of such a tensor.
    public func trim(keeping bytes: Int) {
        let kept = Self.rounded(bytes)
        storages.withLock { storages in
            for size in Array(storages.keys) where size != kept {
                var held = storages.removeValue(forKey: size) ?? []
                let used = held.indices.filter { !isKnownUniquelyReferenced(&held[$0]) }
                if !used.isEmpty { storages[size] = used.map { held[$0] } }
            }
        }
    }

    /// Five bits of a size and zeros.
    private static func rounded(_ bytes: Int) -> Int {
        let step = 1 << max(6, Int.bitWidth - bytes.leadingZeroBitCount - 5)
        return (bytes + step - 1) / step * step
    }
}
