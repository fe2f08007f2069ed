/// What a checkpoint brings for the sparse attention it was trained with, and for no other.
public enum TrainedAttention: String, Sendable, CaseIterable {
    /// A gate for every token, head and channel: `AttentionCall.gate`.
    case gates
    /// A layer from values of a head to values, one for all heads of a block: `AttentionCall.projection`.
    case projections
}

extension AttentionCall {
    /// - Throws: `AttentionError.unsupported` where the call does not bring what a method was trained with.
    func require(_ trained: TrainedAttention, for method: String) throws(AttentionError) {
        let isThere =
            switch trained {
            case .gates: gate != nil
            case .projections: projection != nil
            }
        if isThere { return }
        throw .unsupported(
            method: method, found: "attention without \(trained)",
            expected: "that of a checkpoint which was trained with them")
    }
}
