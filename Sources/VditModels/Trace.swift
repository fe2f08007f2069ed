import Synchronization
import VditTensor

/// Records named intermediates of a forward pass, for laying a run beside another implementation.
public final class Trace: Sendable {
    private let tensors = Mutex<[String: Tensor]>([:])

    public init() {}

    /// What was recorded, as f32.
    public var recorded: [String: Tensor] { tensors.withLock { $0 } }

    public func record(_ name: String, _ tensor: Tensor) {
        let copy = tensor.converted(to: .f32)
        tensors.withLock { $0[name] = copy }
    }

    /// Records rows `first…` of a tensor that is made row chunk by row chunk.
    func record(_ name: String, rows: Tensor, at first: Int, of total: Int) {
        let values = rows.converted(to: .f32)
        tensors.withLock { all in
            let whole = all[name] ?? Tensor(.f32, [total] + rows.shape.dropFirst())
            whole.slice(first..<first + rows.shape[0]).assign(values)
            all[name] = whole
        }
    }
}
