import VditTensor

/// What a pass does with its next blocks: the place of a step cache.
///
/// A pass that skips calls no `attend` for the blocks left out. The residuals are f32 `[rows, width]`, one per
/// stream of the model.
public enum BlockDecision {
    /// Runs the blocks up to `upTo`, which is asked about next. `residual`, where given, gets what they added to
    /// each stream, to keep.
    case run(upTo: Int, residual: (([Tensor]) throws -> Void)? = nil)
    /// Leaves them out and adds this to each stream instead.
    case skip(upTo: Int, adding: [Tensor])

    var end: Int {
        switch self {
        case .run(let end, _), .skip(let end, _): end
        }
    }
}

/// What there is to decide from.
public struct BlockState {
    /// The first block not yet decided on, of `count`.
    public let next: Int
    public let count: Int
    /// The residual streams in front of it, `[rows, width]` f32 each. Valid until the decision is made.
    public let streams: [Tensor]
    /// What the family says of the call itself, f32; nil where it has no such thing.
    public let signal: (CallSignal) -> Tensor?

    public init(next: Int, count: Int, streams: [Tensor], signal: @escaping (CallSignal) -> Tensor? = { _ in nil }) {
        self.next = next
        self.count = count
        self.streams = streams
        self.signal = signal
    }
}

/// What is known of a call before its first block runs, and cheap to have: step caches compare it from step to step.
public enum CallSignal: String, Sendable {
    /// The embedding of the timestep, `[width]`.
    case time
    /// The projection of it that modulates the blocks, `[parts · width]`.
    case modulation
}
