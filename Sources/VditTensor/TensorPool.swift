import Synchronization

/// Memory that comes back by itself: a tensor taken from here is free again when its last view is gone.
///
/// The pool keeps what it ever handed out until it goes away itself, so it holds at most as much as was alive at once, by
/// size; sizes are rounded up by a sixteenth at most, so that those that vary a little share.
public final class TensorPool: Sendable {
    private let storages = Mutex(Storages())
    private let reclaims: Bool

    /// Of what was alive at once, the part that a pool that reclaims holds beside it: the system has to clear new
    /// memory.
    public static let idlePart = 8

    /// - Parameter reclaims: whether idle tensors of other sizes are given back before one is made, where the pool
    ///   would hold more than an eighth beyond what was alive at once.
    public init(reclaims: Bool = false) { self.reclaims = reclaims }

    /// Bytes handed out and kept.
    public var byteCount: Int { storages.withLock { $0.byteCount } }

    /// A tensor with arbitrary contents.
    public func tensor(_ dtype: DType, _ shape: [Int]) -> Tensor {
        let bytes = Self.rounded(shape.reduce(1, *) * dtype.byteCount)
        let storage = storages.withLock { storages in
            if let idle = storages.idle(bytes) { return idle }
            if reclaims { storages.giveBack(for: bytes) }
            return storages.make(bytes)
        }
        return Tensor(dtype, shape, storage: storage, byteOffset: 0)
    }

    private struct Storages {
        private var ofSize: [Int: [Storage]] = [:]
        /// The most bytes that were alive at once when one was made.
        private var mostAlive = 0

        var byteCount: Int { ofSize.reduce(0) { $0 + $1.key * $1.value.count } }

        mutating func idle(_ bytes: Int) -> Storage? {
            var candidates = ofSize.removeValue(forKey: bytes) ?? []
            defer { ofSize[bytes] = candidates }
            for index in candidates.indices where isKnownUniquelyReferenced(&candidates[index]) {
                return candidates[index]
            }
            return nil
        }

        mutating func make(_ bytes: Int) -> Storage {
            let storage = Storage(byteCount: bytes)
            ofSize[bytes, default: []].append(storage)
            return storage
        }

        /// Gives back idle storages, the largest first, until so many bytes more are no more than may be held.
        mutating func giveBack(for bytes: Int) {
            var idle: [(size: Int, index: Int)] = []
            var held = bytes
            for size in ofSize.keys.sorted(by: <) {
                var ofThis = ofSize.removeValue(forKey: size) ?? []
                held += ofThis.count * size
                for index in ofThis.indices where isKnownUniquelyReferenced(&ofThis[index]) { idle.append((size, index)) }
                ofSize[size] = ofThis
            }
            mostAlive = max(mostAlive, held - idle.reduce(0) { $0 + $1.size })
            while held > mostAlive + mostAlive / idlePart, let (size, index) = idle.popLast() {
                ofSize[size]?.remove(at: index)
                held -= size
            }
        }
    }

    /// Five bits of a size and zeros.
    private static func rounded(_ bytes: Int) -> Int {
        let step = 1 << max(6, Int.bitWidth - bytes.leadingZeroBitCount - 5)
        return (bytes + step - 1) / step * step
    }
}
