import Foundation
import Testing

/// A Slurm of its own for a suite: Debian's munged, slurmctld and slurmd on the loopback interface, with one node of
/// eight processors, a partition `main` and one that preempts it, `urgent`. Everything lies in one folder, and ends
/// with the suite or with the process, however that ends.
public struct SlurmCluster: SuiteTrait, TestScoping {
    /// The cluster of the running suite.
    @TaskLocal public static var current: Running?

    public init() {}

    /// Why there can be none; nil if it may be tried.
    public static let missing: String? = {
        let needed = ["munged", "slurmctld", "slurmd", "sbatch", "setpriv"]
        let absent = needed.filter { Installed.program($0) == nil }
        return absent.isEmpty
            ? nil : "Slurm is not tested: no \(absent.joined(separator: ", ")) (scripts/setup --test-tools installs them)"
    }()

    public func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        let running: Running
        do {
            running = try Running()
        } catch {
            try Test.cancel("Slurm is not tested: \(error)")
        }
        defer { running.stop() }
        try await Self.$current.withValue(running) { try await function() }
    }

    public final class Running: @unchecked Sendable {
        // `@unchecked`: nothing changes between start and stop, and the suite's trait alone does these.
        public let fixture: BatchFixture
        public let environment: [String: String]
        private let process = Process()
        private let input = Pipe()

        struct NotStarted: Error, CustomStringConvertible { let description: String }

        init() throws {
            fixture = try BatchFixture(BatchFixture.seeds(1))
            let output = Pipe()
            process.executableURL = Golden.root.appendingPathComponent("Tests/slurm/cluster")
            process.arguments = [fixture.folder.path]
            process.standardInput = input
            process.standardOutput = output
            process.standardError = FileHandle.nullDevice
            environment = ["SLURM_CONF": fixture.folder.path("slurm/slurm.conf")]
            try process.run()
            let said = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
            guard said.hasPrefix("ready ") else {
                stop()
                throw NotStarted(description: said.isEmpty ? "it ended at once" : said.trimmingCharacters(in: .newlines))
            }
        }

        func stop() {
            try? input.fileHandleForWriting.close()
            process.waitUntilExit()
        }

        /// What a command of Slurm's prints, or a shell script in the fixture's folder.
        @discardableResult
        public func run(_ script: String) throws -> String {
            let ended = try CommandRun.run(
                [], script: "cd '\(fixture.folder.path)' && \(script)", environment: environment)
            guard ended.status == 0 else { throw NotStarted(description: "\(script): \(ended.errors)") }
            return ended.output.trimmingCharacters(in: .whitespacesAndNewlines)
        }
    }
}
