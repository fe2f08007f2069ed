import Foundation

/// The `vdit` binary that was built with the tests, as a child process.
public final class CommandRun: @unchecked Sendable {
    // `@unchecked`: a test uses its run from one task at a time.
    private let process = Process()
    private let folder: TemporaryDirectory

    public struct Result: Sendable {
        /// The exit status; 128 + n when signal n ended it.
        public let status: Int32
        public let output: String
        public let errors: String
        /// Lines of standard error.
        public var lines: [String] { errors.split(separator: "\n").map(String.init) }
    }

    /// Beside the test executable, wherever the build put that.
    public static let binary: String = {
        let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return (tests as NSString).deletingLastPathComponent + "/vdit"
    }()

    /// Where the tests ignore hang-ups, as under `nohup`, children would too; a handler is the default again in them.
    private static let childrenTakeHangups: Void = {
        let before = signal(SIGHUP) { _ in }
        if unsafeBitCast(before, to: Int.self) != unsafeBitCast(SIG_IGN, to: Int.self) { signal(SIGHUP, before) }
    }()

    /// Starts the command, or a shell script in which `$VDIT` is its path.
    public init(_ arguments: [String], script: String? = nil, environment: [String: String] = [:]) throws {
        Self.childrenTakeHangups
        folder = try TemporaryDirectory()
        // The tests may themselves run with settings of the command, or in a job of Slurm.
        var inherited = ProcessInfo.processInfo.environment.filter {
            !$0.key.hasPrefix("VDIT_") && !$0.key.hasPrefix("SLURM_")
        }
        inherited.merge(environment) { $1 }
        inherited["VDIT"] = Self.binary
        process.environment = inherited
        process.executableURL = URL(fileURLWithPath: script == nil ? Self.binary : "/bin/sh")
        process.arguments = script.map { ["-c", $0, "sh"] + arguments } ?? arguments
        // Files, as a full pipe would stop the child.
        for name in ["out", "err"] { try folder.write("", name) }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle(forWritingAtPath: folder.path("out"))
        process.standardError = FileHandle(forWritingAtPath: folder.path("err"))
        try process.run()
    }

    /// Runs the command to its end.
    public static func run(
        _ arguments: [String], script: String? = nil, environment: [String: String] = [:]
    ) throws -> Result {
        try CommandRun(arguments, script: script, environment: environment).finish()
    }

    /// What standard error holds by now.
    public var errorsSoFar: String { text("err") }

    public var isDone: Bool { !process.isRunning }

    public func finish() throws -> Result {
        process.waitUntilExit()
        let status = process.terminationStatus
        return Result(
            status: process.terminationReason == .uncaughtSignal ? 128 + status : status,
            output: text("out"), errors: text("err"))
    }

    /// Waits for the end, and tells how long the process computed, on all its threads together.
    public func finishMeasuringWork() throws -> (Result, seconds: Double) {
        var seconds = 0.0
        while process.isRunning {
            seconds = max(seconds, processorSeconds)
            usleep(2_000)
        }
        return (try finish(), seconds)
    }

    /// Waits until standard error holds `text`.
    ///
    /// - Returns: false if the command ended without saying so.
    public func waits(for text: String) -> Bool {
        while process.isRunning {
            if errorsSoFar.contains(text) { return process.isRunning }
            usleep(2_000)
        }
        return false
    }

    /// Waits until the process has computed for so long, on all its threads together.
    ///
    /// - Returns: false if it ended before.
    public func waits(forWork seconds: Double) -> Bool {
        let end = processorSeconds + seconds
        while process.isRunning {
            if processorSeconds >= end { return process.isRunning }
            usleep(2_000)
        }
        return false
    }

    private var processorSeconds: Double {
        let path = "/proc/\(process.processIdentifier)/stat"
        guard let text = try? String(contentsOfFile: path, encoding: .utf8), let name = text.lastIndex(of: ")")
        else { return 0 }
        // The fields after the command's name; ticks in user and in system mode are the twelfth and thirteenth.
        let fields = text[text.index(after: name)...].split(separator: " ")
        guard fields.count > 12 else { return 0 }
        return fields[11...12].reduce(0) { $0 + (Double($1) ?? 0) } / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    public func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

    private func text(_ name: String) -> String {
        String(decoding: FileManager.default.contents(atPath: folder.path(name)) ?? Data(), as: UTF8.self)
    }
}
