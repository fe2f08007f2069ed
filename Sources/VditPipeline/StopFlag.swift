import Synchronization

/// A wish that a running job polls, raised from a signal handler or another thread.
public final class StopFlag: Sendable {
    private let stop = Atomic<Bool>(false)
    private let checkpoint = Atomic<Bool>(false)

    private let parent: StopFlag?

    /// - Parameter parent: stops this one too.
    public init(following parent: StopFlag? = nil) { self.parent = parent }

    /// Asks the job to save its state and end. Safe in a signal handler.
    public func requestStop() { stop.store(true, ordering: .relaxed) }

    /// Asks the job to save its state and go on. Safe in a signal handler.
    public func requestCheckpoint() { checkpoint.store(true, ordering: .relaxed) }

    public var isStopping: Bool { stop.load(ordering: .relaxed) || parent?.isStopping == true }

    /// Whether a checkpoint was asked for since the last call.
    func takeCheckpointRequest() -> Bool {
        checkpoint.exchange(false, ordering: .relaxed) || parent?.takeCheckpointRequest() == true
    }

    /// - Throws: `PipelineError.cancelled` when the job was asked to end.
    func throwIfStopping(checkpoint: String? = nil) throws(PipelineError) {
        if isStopping { throw .cancelled(step: 0, steps: 0, checkpoint: checkpoint) }
    }
}
