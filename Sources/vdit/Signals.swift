import Glibc
import Synchronization
import VDiT

/// What the process does about signals: the first asks the run to save its state and end, the second ends it.
enum Signals {
    /// Polled by the running job.
    static let stop = StopFlag()
    private static let first = Atomic<Int32>(0)

    /// The signal that asked the run to end.
    static var received: Int32? {
        let signal = first.load(ordering: .relaxed)
        return signal == 0 ? nil : signal
    }

    static func install() {
        // A parent may have left them blocked, as threads of a dispatch queue have them.
        var handled = sigset_t()
        sigemptyset(&handled)
        for number in [SIGINT, SIGTERM, SIGHUP, SIGUSR1] { sigaddset(&handled, number) }
        sigprocmask(SIG_UNBLOCK, &handled, nil)
        // Handlers must find their globals made: making them is not safe inside one.
        _ = stop
        _ = received
        for number in [SIGINT, SIGTERM, SIGHUP] {
            handle(number) { signal in
                if !Signals.first.compareExchange(expected: 0, desired: signal, ordering: .relaxed).exchanged {
                    _exit(128 + signal)
                }
                Signals.stop.requestStop()
            }
        }
        handle(SIGUSR1) { _ in Signals.stop.requestCheckpoint() }
        // Model files are mapped; one that is cut short while it is read cannot be told from memory.
        handle(SIGBUS) { _ in
            let text: StaticString = "vdit: a model or input file was cut short or could not be read during the run\n"
            _ = write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
            _exit(FailureKind.ioError.rawValue)
        }
        // Arrive as errors of write.
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
    }

    private static func handle(_ number: Int32, _ handler: @escaping @convention(c) (Int32) -> Void) {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = handler
        // A command started in the background keeps ignoring what its shell told it to ignore.
        var before = sigaction()
        sigaction(number, nil, &before)
        if number == SIGHUP, unsafeBitCast(before.__sigaction_handler.sa_handler, to: Int.self) == 1 { return }
        action.sa_flags = SA_RESTART
        sigaction(number, &action, nil)
    }
}
