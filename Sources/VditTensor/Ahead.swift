import Dispatch

/// A value that is made on a thread of its own while others go on.
public struct Ahead<Value: Sendable>: Sendable {
    private let work = Work()

    /// Begins at once. What `make` asks of a `WorkPool` it does on its own thread.
    public init(_ make: @escaping @Sendable () throws(TensorError) -> Value) {
        DispatchQueue(label: "ahead").async { [work] in
            serialNumericLibraries()
            WorkPool.alone {
                do throws(TensorError) { work.result = .success(try make()) } catch { work.result = .failure(error) }
            }
            work.made.signal()
        }
    }

    /// Waits until it is made.
    public func value() throws(TensorError) -> Value {
        work.made.wait()
        defer { work.made.signal() }
        guard let result = work.result else { preconditionFailure("made without a result") }
        return try result.get()
    }

    /// `@unchecked`: the thread writes `result` before it signals, and who reads that has waited for the signal.
    private final class Work: @unchecked Sendable {
        var result: Result<Value, TensorError>?
        let made = DispatchSemaphore(value: 0)
    }
}
