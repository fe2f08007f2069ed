import Glibc
import Synchronization
import VDiT

/// What the process does about signals.
///
/// The first that asks it to stop lets the step at work end, where that is soon enough, the second gives the step up,
/// the third ends the process at once. What is finished is on disk before the step is.
enum Signals {
    /// Seconds a step may take after the first signal.
    static let grace = 30

    /// Polled by the running job. Its first use installs the handlers: a command that polls nothing ends as any
    /// program does.
    static let stop: StopFlag = {
        install()
        return flag
    }()

    private static let flag = StopFlag()
    private static let count = Atomic<Int>(0)
    private static let first = Atomic<Int32>(0)

    /// The signal that asked the run to end.
    static var received: Int32? {
        let signal = first.load(ordering: .relaxed)
        return signal == 0 ? nil : signal
    }

    /// Asks the job to end. Safe in a handler once `stop` was used.
    ///
    /// - Parameter grace: seconds the step at work may still take.
    static func ask(_ signal: Int32, within grace: Int) {
        switch count.add(1, ordering: .relaxed).oldValue {
        case 0:
            first.store(signal, ordering: .relaxed)
            flag.requestStop(within: grace)
        case 1: flag.requestStop()
        default: _exit(128 + signal)
        }
    }

    /// What holds for every command.
    static func prepare() {
        // A parent may have left them blocked, as threads of a dispatch queue have them.
        var handled = sigset_t()
        sigemptyset(&handled)
        for number in [SIGINT, SIGTERM, SIGHUP, SIGUSR1] { sigaddset(&handled, number) }
        sigprocmask(SIG_UNBLOCK, &handled, nil)
        // A file that is opened would take the place of a stream that is closed.
        for stream in STDIN_FILENO...STDERR_FILENO where fcntl(stream, F_GETFD) < 0 {
            _ = open("/dev/null", stream == STDERR_FILENO ? O_WRONLY : O_RDONLY)
        }
        // Model files are mapped; one that is cut short while it is read cannot be told from memory.
        MappedFiles.prepare()
        var action = sigaction()
        action.sa_flags = SA_SIGINFO
        action.__sigaction_handler.sa_sigaction = { _, info, _ in
            func say(_ text: StaticString) { _ = write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount) }
            say("vdit: ")
            if let name = MappedFiles.name(at: info?.pointee._sifields._sigfault.si_addr) {
                _ = write(STDERR_FILENO, name, strlen(name))
            } else {
                say("a model or input file")
            }
            say(": cut short, or could not be read, while in use\n")
            _exit(FailureKind.ioError.rawValue)
        }
        sigaction(SIGBUS, &action, nil)
        // Arrive as errors of write.
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
    }

    private static func install() {
        // Handlers must find their globals made: making them is not safe inside one.
        _ = flag
        _ = count.load(ordering: .relaxed)
        _ = received
        for number in [SIGINT, SIGTERM, SIGHUP] { handle(number) { Signals.ask($0, within: Signals.grace) } }
        handle(SIGUSR1) { _ in Signals.flag.requestCheckpoint() }
    }

    /// Sets a handler; a command started in the background keeps ignoring what its shell told it to ignore.
    static func handle(_ number: Int32, _ handler: @escaping @convention(c) (Int32) -> Void) {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = handler
        var before = sigaction()
        sigaction(number, nil, &before)
        if number == SIGHUP, unsafeBitCast(before.__sigaction_handler.sa_handler, to: Int.self) == 1 { return }
        action.sa_flags = SA_RESTART
        sigaction(number, &action, nil)
    }
}
