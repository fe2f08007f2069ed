import Glibc
import Synchronization

/// A wish that a running job polls, raised from a signal handler or another thread.
public final class StopFlag: Sendable {
    /// Nanoseconds of the monotonic clock until which a step at work may go on; `Int.max` while nobody asked to stop.
    private let deadline = Atomic<Int>(Int.max)
    private let checkpoint = Atomic<Bool>(false)

    private let parent: StopFlag?

    /// - Parameter parent: stops this one too.
    public init(following parent: StopFlag? = nil) { self.parent = parent }

    /// Asks the job to save its state and end at once. Safe in a signal handler.
    public func requestStop() { deadline.store(0, ordering: .relaxed) }

    /// Asks the job to save its state and end, after the step at work if that ends soon enough. Safe in a signal
    /// handler.
    ///
    /// - Parameter seconds: what the step may still take; a request made before is not put off.
    public func requestStop(within seconds: Int) {
        let wait = min(max(seconds, 0), 1 << 20) * 1_000_000_000
        _ = deadline.min(Self.nanoseconds() + wait, ordering: .relaxed)
    }

    /// Asks the job to save its state and go on. Safe in a signal handler.
    public func requestCheckpoint() { checkpoint.store(true, ordering: .relaxed) }

    public var isStopping: Bool { earliest < Int.max }

    /// Seconds a step at work may still take, 0 or less when it is to be given up; nil while nobody asked to stop.
    var grace: Double? {
        let deadline = earliest
        return deadline == Int.max ? nil : Double(deadline - (deadline > 0 ? Self.nanoseconds() : 0)) * 1e-9
    }

    private var earliest: Int { min(deadline.load(ordering: .relaxed), parent?.earliest ?? Int.max) }

    private static func nanoseconds() -> Int {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return now.tv_sec * 1_000_000_000 + now.tv_nsec
    }

    /// Whether a checkpoint was asked for since the last call.
    func takeCheckpointRequest() -> Bool {
        checkpoint.exchange(false, ordering: .relaxed) || parent?.takeCheckpointRequest() == true
    }

    /// - Throws: `PipelineError.cancelled` when the job was asked to end.
    func throwIfStopping(checkpoint: String? = nil) throws(PipelineError) {
        if isStopping { throw .cancelled(step: 0, steps: 0, checkpoint: checkpoint) }
    }
}

/// What becomes of the step at work when its job is asked to stop.
///
/// It is finished where it is expected to end within the flag's grace, and given up where it is not, where it takes
/// longer than that after all, or where nothing is known about how long a step takes.
package final class StepWatch {
    package enum News: Equatable {
        /// Nothing that was not said before.
        case none
        /// The step will be finished; about so many seconds are left.
        case finishing(seconds: Double)
        /// The step is to be given up, with about so much of it left.
        case givingUp(seconds: Double?)
    }

    private let stop: StopFlag
    private let expected: Double?
    private let started = ContinuousClock.now
    private var isFinishing = false

    /// - Parameter expected: seconds the step should take, by those before it.
    package init(_ stop: StopFlag, expected: Double?) {
        self.stop = stop
        self.expected = expected
    }

    /// What there is to know before the next layer.
    package func poll() -> News {
        guard let grace = stop.grace else { return .none }
        let left = expected.map { max(0, $0 - started.secondsUntilNow) }
        if isFinishing { return grace > 0 ? .none : .givingUp(seconds: left) }
        guard let left, grace > 0, left <= grace else { return .givingUp(seconds: left) }
        isFinishing = true
        return .finishing(seconds: left)
    }
}
