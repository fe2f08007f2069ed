/// What a checkpoint brings for the sparse attention it was trained with, and for no other.
public enum TrainedAttention: String, Sendable, CaseIterable {
    /// A gate for every token, head and channel: `AttentionCall.gate`.
    case gates
    /// A layer from values of a head to values, one for all heads of a block: `AttentionCall.projection`.
    case projections
}
