import Foundation
import TestSupport
import Testing
import VDiT

/// Job arrays under the Slurm that Debian packages. Waits are asynchronous: the tests beside these need the threads.
@Suite(
    .enabled(if: SlurmCluster.missing == nil, Comment(rawValue: SlurmCluster.missing ?? "")), SlurmCluster(),
    .timeLimit(.minutes(5)))
struct SlurmTests {
    private let cluster: SlurmCluster.Running
    private var folder: TemporaryDirectory { cluster.fixture.folder }

    init() throws { cluster = try #require(SlurmCluster.current) }

    @Test func theWarningBeforeTheTimeLimitSavesATaskThatIsRequeuedAndEndsInTheSameBytes() async throws {
        let seeds = "matrix: {seed: [1, 2, 3, 4]}\n"
        // One run in one process, without Slurm.
        try write("plain", seeds)
        let plain = try cluster.fixture.start(["batch", "plain.yaml", "-q"])
        try write("limit", seeds + "slurm: {tasks: 2, time: \"10\", cpus_per_task: 1, mem: 400M, warning: 50}\n")
        let freezer = try freezer("limit", task: "0/2")
        let array = try submit("limit")
        let process = try await until { freezer.isDone ? pid_t(try freezer.finish().output.dropLast()) : nil }
        // Held still in the middle of a video, the task lives to see Slurm's own signal; the next check of the
        // controller, twice a minute, finds less than warning + 30 s of the minute left.
        try cluster.run("scontrol update JobId=\(array)_0 TimeLimit=1")
        try await until { try signals(of: process).contains(SIGUSR1) }
        #expect(try !signals(of: process).contains(SIGTERM))
        kill(process, SIGCONT)
        try await requeued(array, task: 0)
        try await ended(array)

        let status = try RunDatabases.status(folder.path("limit/limit.vdit.sqlite"))
        #expect(status.map(\.id) == (1...4).map { "limit/\($0)" } && status.allSatisfy { $0.state == .done })
        #expect(status.map(\.attempts).sorted() == [1, 1, 1, 2])
        #expect(try names("limit", ".vdit.sqlite") == ["limit.shard-0-of-2.vdit.sqlite", "limit.shard-1-of-2.vdit.sqlite"])
        let text = try cluster.fixture.vdit(["batch", "status", "limit.yaml"])
        #expect(text.output.contains("4 jobs: 4 done"), "\(text.output)")
        let logs = try cluster.fixture.vdit(["batch", "logs", "limit.yaml"]).output
        #expect(logs.count(of: " done: ") == 4 && logs.count(of: " interrupted: ") == 1, "\(logs)")
        let said = try log("limit", array, 0)
        #expect(said.count(of: "resuming after step") == 1, "\(said.suffix(600))")
        #expect(try restarts(array) == [0: 1, 1: 0])

        try await until { plain.isDone }
        #expect(try plain.finish().status == 0)
        #expect(try names("limit", ".mkv").count == 4)
        for seed in 1...4 {
            #expect(try Data(contentsOf: url("limit/\(seed).mkv")) == Data(contentsOf: url("plain/\(seed).mkv")))
            #expect(try RunRecord(path: RunRecord.path(forOutput: folder.path("limit/\(seed).mkv"))).sampling?.threads == 1)
        }
    }

    @Test func aPreemptedTaskSavesItsStateAndIsLeftToSlurmToRequeue() async throws {
        try write("preempted", "slurm: {tasks: 1, cpus_per_task: 5, mem: 400M}\n", changing: Self.slow)
        let freezer = try freezer("preempted", task: "0/1")
        let array = try submit("preempted")
        _ = try await until { freezer.isDone ? try freezer.finish().output : nil }
        // Both do not fit on the node. Slurm wakes the task itself, with SIGCONT and SIGTERM.
        try cluster.run("sbatch --partition=urgent --cpus-per-task=5 --mem=1 --output=/dev/null --wrap=true")
        try await requeued(array, task: 0)
        try await ended(array)
        let status = try RunDatabases.status(folder.path("preempted/preempted.vdit.sqlite"))
        #expect(status.map(\.state) == [.done] && status.map(\.attempts) == [2])
        let log = try log("preempted", array, 0)
        #expect(log.contains("DUE TO PREEMPTION") && log.contains("resuming after step"), "\(log)")
        #expect(!log.contains("Job is pending execution"), "requeued twice: \(log)")
        #expect(try restarts(array) == [0: 1])
    }

    @Test func aCancelledTaskSavesItsStateAndStaysCancelledUntilItIsSubmittedAgain() async throws {
        try write("cancelled", "slurm: {tasks: 1, mem: 400M}\n", changing: Self.slow)
        let freezer = try freezer("cancelled", task: "0/1")
        let first = try submit("cancelled")
        _ = try await until { freezer.isDone ? try freezer.finish().output : nil }
        try cluster.run("scancel \(first)")
        try await ended(first)
        #expect(try cluster.run("scontrol show job \(first)").contains("JobState=CANCELLED"))
        #expect(try restarts(first) == [0: 0])
        #expect(try log("cancelled", first, 0).contains("everything is saved"))
        let database = folder.path("cancelled/cancelled.vdit.sqlite")
        #expect(try RunDatabases.status(database).map(\.state) == [.pending])
        let second = try submit("cancelled")
        try await ended(second)
        #expect(try log("cancelled", second, 0).contains("resuming after step"))
        #expect(try RunDatabases.status(database).map(\.state) == [.done])
    }

    @Test func aTaskMayUseNoMoreMemoryThanSlurmGaveIt() async throws {
        try write("memory", "slurm: {tasks: 1, mem: 3M}\n")
        let array = try submit("memory")
        try await ended(array)
        let job = try #require(try RunDatabases.status(folder.path("memory/memory.vdit.sqlite")).first)
        #expect(job.state == .failed && job.error?.contains("3 MiB") == true, "\(job.error ?? "none")")
        #expect(try restarts(array) == [0: 0])
    }

    // MARK: Steps

    /// Steps that take longer than Slurm between SIGCONT and SIGTERM.
    private static let slow = "size: 192x192, num_frames: 9, steps: 20"

    /// A pipeline of its own in the cluster's folder.
    private func write(
        _ name: String, _ rest: String, changing settings: String = "size: 32x32, num_frames: 5, steps: 600"
    ) throws {
        try folder.write(
            """
            version: 1
            output: \(name)/{seed}.mkv
            defaults: {model: model, prompt_embedding: a.safetensors, codec: ffv1, \(settings)}
            \(rest.hasPrefix("matrix") ? "" : "matrix: {seed: [1]}\n")\(rest)
            """, "\(name).yaml")
    }

    /// - Returns: the array's id.
    private func submit(_ name: String) throws -> Int {
        let submitted = try cluster.fixture.vdit(
            ["batch", folder.path("\(name).yaml"), "--slurm"], environment: cluster.environment)
        let word = submitted.lines.last?.split(separator: " ").last ?? ""
        return try #require(Int(word), "\(submitted.errors)")
    }

    /// Stops the process of a task once it has done a step, and prints its id.
    private func freezer(_ name: String, task: String) throws -> CommandRun {
        let log = "\(name)/\(name).*_\(task.prefix(1)).log"
        return try CommandRun(
            [], script: """
                cd '\(folder.path)'
                until grep -qs 'step  *[1-9]' \(log); do sleep 0.01; done
                process=$(grep -lzsxF -e '\(task)' $(grep -lzsxF -e '\(folder.path("\(name).yaml"))' /proc/[0-9]*/cmdline))
                process=${process%/cmdline}
                kill -STOP ${process#/proc/} && echo ${process#/proc/}
                """)
    }

    /// Signals a process has been sent and not taken yet.
    private func signals(of process: pid_t) throws -> [Int32] {
        let status = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
        let pending = status.split(separator: "\n").first { $0.hasPrefix("ShdPnd:") }
        let bits = try #require(UInt64(pending?.split(separator: "\t").last ?? "", radix: 16))
        return (1...64).filter { bits >> UInt64($0 - 1) & 1 == 1 }
    }

    /// Waits until a task is back in the queue, and has it start soon: Slurm would hold it for two minutes, and its node
    /// refuses a job that it ended within the same second.
    private func requeued(_ array: Int, task: Int) async throws {
        let one = "\(array)_\(task)"
        try await until { try cluster.run("squeue -h -j \(one) -o %T || true") == "PENDING" }
        try cluster.run("scontrol update JobId=\(one) StartTime=now+2 TimeLimit=10")
    }

    private func ended(_ array: Int) async throws {
        // A job Slurm has forgotten is an error to it, an ended one is not.
        try await until { try cluster.run("squeue -h -j \(array) -o '%K %T'").isEmpty }
    }

    /// How often each task was started again.
    private func restarts(_ array: Int) throws -> [Int: Int] {
        let text = try cluster.run("scontrol show job \(array)")
        let tasks = text.matches(of: /ArrayTaskId=(\d+)/).compactMap { Int($0.1) }
        let counts = text.matches(of: /Restarts=(\d+)/).compactMap { Int($0.1) }
        return Dictionary(zip(tasks, counts)) { $1 }
    }

    private func log(_ name: String, _ array: Int, _ task: Int) throws -> String {
        (try? String(contentsOf: url("\(name)/\(name).\(array)_\(task).log"), encoding: .utf8)) ?? ""
    }

    private func names(_ folder: String, _ suffix: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: self.folder.path(folder)).filter { $0.hasSuffix(suffix) }.sorted()
    }

    private func url(_ name: String) -> URL { URL(fileURLWithPath: folder.path(name)) }

    private func until(_ condition: () throws -> Bool) async throws {
        while try !condition() { try await Task.sleep(for: .milliseconds(100)) }
    }

    private func until<Value>(_ value: () throws -> Value?) async throws -> Value {
        while true {
            if let value = try value() { return value }
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}

extension String {
    fileprivate func count(of text: String) -> Int { components(separatedBy: text).count - 1 }
}
