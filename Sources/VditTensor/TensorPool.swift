import Synchronization

/// Memory that comes back by itself: a tensor taken from here is free again when its last view is gone.
///
/// The pool keeps what it ever handed out until it goes away itself, so it holds at most as much as was alive at once, by
/// size; sizes are rounded up by a sixteenth at most, so that those that vary a little share.
public final class TensorPool: Sendable {
    private let storages = Mutex<[Int: [Storage]]>([:])
    private let reclaims: Bool

    /// - Parameter reclaims: whether idle tensors of other sizes are given back before one is made, so that the pool
    ///   holds as much as is alive at once, whatever the sizes; new memory has to be cleared by the system.
    public init(reclaims: Bool = false) { self.reclaims = reclaims }

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
            if reclaims { Self.giveBack(bytes, of: &storages) }
            let storage = Storage(byteCount: bytes)
            candidates.append(storage)
            return storage
        }
        return Tensor(dtype, shape, storage: storage, byteOffset: 0)
    }

    /// Gives back idle storages, the largest first, until so many bytes are free or none is left.
    private static func giveBack(_ bytes: Int, of storages: inout [Int: [Storage]]) {
        var wanted = bytes
        for size in storages.keys.sorted(by: >) where wanted > 0 {
            var held = storages.removeValue(forKey: size) ?? []
            for index in held.indices.reversed() where wanted > 0 && isKnownUniquelyReferenced(&held[index]) {
                held.remove(at: index)
                wanted -= size
            }
            storages[size] = held.isEmpty ? nil : held
        }
    }

    /// Five bits of a size and zeros.
    private static func rounded(_ bytes: Int) -> Int {
        let step = 1 << max(6, Int.bitWidth - bytes.leadingZeroBitCount - 5)
        return (bytes + step - 1) / step * step
    }
}
