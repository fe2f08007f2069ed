import CVditKernels
import Glibc

/// The stack a command runs on.
///
/// `ulimit -s` may leave less than the libraries in use take, and then some deep call ends the process without a
/// word. Stacks of threads do not count against that limit, but follow it unless somebody says how large they are.
public enum Stack {
    private static let bytes = 8 << 20

    /// Runs `body` with a stack of 8 MiB at least, and so all threads that are started from then on.
    public static func withEnough(_ body: @escaping @Sendable () -> Void) {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_STACK.rawValue), &limit) == 0, limit.rlim_cur < rlim_t(bytes),
            vdit_set_thread_stack(bytes) == 0
        else { return body() }
        let work = Unmanaged.passRetained(Work(body))
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<Work>.fromOpaque(argument!).takeRetainedValue().body()
                return nil
            }, work.toOpaque())
        if status == 0 {
            pthread_join(thread, nil)
        } else {
            work.takeRetainedValue().body()
        }
    }

    private final class Work: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}
