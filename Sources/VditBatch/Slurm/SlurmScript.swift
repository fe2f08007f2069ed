import Foundation
import Glibc
import VditFiles
import VditPipeline

/// The script `sbatch` takes.
public struct SlurmScript: Sendable {
    public let text: String

    /// What a shell reads. Names of files in it may be no text.
    public var bytes: [UInt8] { text.pathBytes }

    /// - Parameters:
    ///   - executable: the vdit to run on the nodes.
    ///   - arguments: after `vdit batch`, without the share.
    ///   - logs: a folder for what the tasks print.
    public init(_ plan: BatchPlan, executable: String, arguments: [String], folder: String, logs: String) {
        let options = plan.file.slurm
        let name = FilePath.label(FilePath.stem(of: plan.file.path))
        let tasks = max(1, min(options.tasks, plan.jobs.count))
        var lines = ["#!/bin/bash"]
        func directive(_ option: String, _ value: String?) {
            if let value { lines.append("#SBATCH \(option)=\(value)") }
        }
        directive("--job-name", "vdit-\(name)")
        directive("--array", "0-\(tasks - 1)" + (options.throttle.map { "%\($0)" } ?? ""))
        directive("--partition", options.partition)
        directive("--account", options.account)
        directive("--qos", options.qos)
        directive("--constraint", options.constraint)
        directive("--time", options.time)
        directive("--cpus-per-task", options.cpusPerTask.map(String.init))
        directive("--mem", options.memory)
        directive("--chdir", Self.directiveQuoted(folder))
        directive("--output", Self.directiveQuoted("\(logs)/\(name).%A_%a.log"))
        lines += options.extra.map { "#SBATCH \($0)" }
        lines += [
            "#SBATCH --open-mode=append",
            "#SBATCH --signal=B:USR1@\(options.warning)",
            "#SBATCH --requeue",
            "",
            "# Before the time limit Slurm sends USR1 to this shell alone: vdit saves its state and ends with 75 (128 + USR1",
            "# if it had hardly begun), and the task goes back to the queue. TERM is sent to vdit as well, by scancel, which",
            "# must last, or when Slurm requeues the task itself.",
            ([executable, "batch"] + arguments).map(Self.quoted).joined(separator: " ")
                + " --shard \"$SLURM_ARRAY_TASK_ID/\(tasks)\" &",
            "vdit=$!",
            "again=yes",
            "trap 'trap : TERM; kill -USR1 $vdit 2>/dev/null' USR1",
            "trap 'again=no' TERM",
            "while true; do",
            "    wait $vdit",
            "    code=$?",
            "    kill -0 $vdit 2>/dev/null || break",
            "done",
            "if [ $again = yes ] && { [ $code -eq 75 ] || [ $code -eq 138 ]; }; then",
            "    scontrol requeue \"${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}\"",
            "fi",
            "exit $code",
        ]
        text = lines.joined(separator: "\n") + "\n"
    }

    /// A word as a shell takes it.
    static func quoted(_ word: String) -> String {
        let isPlain = !word.isEmpty && word.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-/=+:,@%".contains($0)) }
        return isPlain ? word : "'" + word.replacing("'", with: "'\\''") + "'"
    }

    private static func directiveQuoted(_ path: String) -> String {
        path.contains(where: { " \"'\\".contains($0) }) ? "\"" + path.replacing("\"", with: "\\\"") + "\"" : path
    }

    /// Hands the script to `sbatch`.
    ///
    /// - Returns: what `sbatch` said.
    /// - Throws: `BatchError.slurm` when there is none, or it refuses.
    public func submit() throws(BatchError) -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["sbatch"]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        do { try process.run() } catch { throw .slurm("sbatch cannot be started: \(error)") }
        try? input.fileHandleForWriting.write(contentsOf: Data(bytes))
        try? input.fileHandleForWriting.close()
        let said = (try? output.fileHandleForReading.readToEnd()) ?? Data()
        process.waitUntilExit()
        let answer = String(decoding: said, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        if process.terminationStatus == 127 {
            throw .slurm("no sbatch here; submit from a machine of a cluster, or see --emit-only", kind: .unsupported)
        }
        guard process.terminationStatus == 0 else {
            throw .slurm("sbatch failed (\(process.terminationStatus)): \(answer.prefix(400))")
        }
        return answer
    }
}
