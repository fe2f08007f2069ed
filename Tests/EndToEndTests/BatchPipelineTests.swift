import Foundation
import TestSupport
import Testing
import VDiT

/// The pipelines of the repository, and the commands about a batch.
@Suite(.serialized) struct BatchPipelineTests {
    @Test(arguments: [("quickstart", 6), ("method-sweep", 22), ("overnight", 15), ("slurm", 8)])
    func everyPipelineOfTheRepositoryRunsAtSmallSize(_ name: String, _ jobs: Int) throws {
        let folder = try TemporaryDirectory()
        var changes = [
            "output=\(folder.path)/{index}.mkv", "database=\(folder.path)/state.vdit.sqlite", "defaults.size=64x64",
            "defaults.num_frames=9", "defaults.steps=2", "defaults.codec=ffv1",
        ]
        if name == "overnight" { changes += ["jobs.long.num_frames=13", "jobs.long.output=\(folder.path)/{index}.mkv"] }
        // Draft attention needs a few patches to choose among.
        if name == "method-sweep" { changes += ["defaults.size=320x192", "defaults.num_frames=5"] }
        if ["quickstart", "method-sweep"].contains(name) {
            changes += ["jobs.quality.output=\(folder.path)/{index}.json", "table=\(folder.path)/table.md"]
        }
        let arguments = ["batch", Golden.root.appendingPathComponent("pipelines/\(name).yaml").path, "-q"]
            + changes.flatMap { ["--set", $0] }
        let ended = try CommandRun.run(arguments)
        #expect(ended.status == 0, "\(ended.errors)")
        let status = try RunDatabases.status(folder.path("state.vdit.sqlite"))
        #expect(status.count == jobs && status.allSatisfy { $0.state == .done })
        let rows = VariantTable(status).rows
        switch name {
        case "quickstart":
            #expect(rows.map(\.variant) == ["dense", "radial"])
        case "method-sweep":
            #expect(rows.map(\.variant) == ["dense", "radial", "svg2", "draft-50", "draft-30", "rettention"])
            #expect(rows.allSatisfy { $0.clips == 2 && $0.work != nil && $0.seconds != nil } && rows.dropFirst().allSatisfy { $0.ssim != nil })
            let table = try String(contentsOfFile: folder.path("table.md"), encoding: .utf8)
            #expect(table == VariantTable(status).table.markdown && table.contains("| draft-30 | 2 |"))
        default: #expect(rows.isEmpty)
        }
        for job in status where job.kind == .render {
            let frames = job.id.hasPrefix("long") ? 13 : name == "method-sweep" ? 5 : 9
            #expect(try VideoReaderProbe.frames(job.output) == frames, "\(job.id)")
        }
    }

    @Test func aDryRunPrintsThePlanAndCreatesNothing() throws {
        let fixture = try BatchFixture(BatchFixture.seeds(3))
        let before = fixture.folder.contents
        let ended = try fixture.vdit(["batch", "batch.yaml", "--dry-run"])
        #expect(ended.status == 0 && ended.output.contains("3 jobs; about") && ended.output.contains("MiB"), "\(ended.output)")
        #expect(fixture.folder.contents == before)
        let json = try fixture.vdit(["batch", "batch.yaml", "--dry-run", "--json"])
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: [[String: Any]]])
        #expect(object["jobs"]?.count == 3 && object["jobs"]?[0]["peak_bytes"] is Int)
    }

    @Test func theEstimateFollowsTheMethodAndSaysWhereItIsALimit() throws {
        let fixture = try BatchFixture(
            """
            jobs:
              - {name: dense}
              - {name: radial, sparse: radial, density: 0.764, sparse_options: {dense-steps: 0, dense-layers: 0}}
              - {name: svg2, sparse: svg2}
              - {name: quality, compare: radial, reference: dense, output: out/q.json}
            """, extra: ["seed: 1"])
        let arguments = ["batch", "batch.yaml", "--dry-run", "--set", "defaults.size=128x128", "--set", "defaults.num_frames=9"]
        let text = try fixture.vdit(arguments).output
        #expect(text.contains("against dense") && text.contains("4 jobs; at most") && text.contains("  <") && text.contains("  ~"), "\(text)")
        #expect(try fixture.vdit(arguments + ["--set", "jobs.svg2.sparse=dense"]).output.contains("4 jobs; about"))
        let json = try fixture.vdit(arguments + ["--json"]).output
        let object = try #require(try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: [[String: Any]]])
        let jobs = try #require(object["jobs"])
        let flops = jobs.compactMap { $0["flops"] as? Double }
        #expect(flops.count == 3 && flops[1] < flops[0] && flops[2] == flops[0])
        #expect(jobs.compactMap { $0["is_upper_bound"] as? Bool } == [false, false, true])
        #expect((jobs[3]["reference"] as? [String: Any])?["job"] as? String == "dense" && jobs[3]["settings"] == nil)
    }

    @Test func mistakesAreListedWithLinesAndExit78AndWhatIsNoYAML65() throws {
        let fixture = try BatchFixture("jobs:\n  - {name: a, sed: 1}\n  - {name: b, seed: x}")
        let ended = try fixture.vdit(["batch", "batch.yaml"])
        #expect(ended.status == 78)
        #expect(ended.errors.contains("batch.yaml:13:") && ended.errors.contains("batch.yaml:14:") && ended.errors.contains("2 mistakes"), "\(ended.errors)")
        try fixture.folder.write("a: [", "batch.yaml")
        #expect(try fixture.vdit(["batch", "batch.yaml"]).status == 65)
        #expect(try fixture.vdit(["batch", "none.yaml"]).status == 66)
    }

    @Test func statusLogsRetryAndCancelTellAndChangeTheState() throws {
        let fixture = try BatchFixture(
            "jobs:\n  - {name: a, seed: 1}\n  - {name: bad, seed: 2, memory_limit: 10M}\n  - {name: c, seed: 3}")
        #expect(try fixture.vdit(["batch", "status", "batch.yaml"]).status == 66)
        #expect(try fixture.vdit(["batch", "batch.yaml", "--only", "a", "--only", "bad"]).status == 1)
        let status = try fixture.vdit(["batch", "status", "batch.yaml"])
        #expect(status.status == 0 && status.output.contains("3 jobs: 1 pending, 1 done, 1 failed"), "\(status.output)")
        #expect(try fixture.vdit(["batch", "logs", "batch.yaml", "bad"]).output.contains("failed: this run needs"))
        #expect(try fixture.vdit(["batch", "cancel", "batch.yaml", "c"]).errors.contains("1 job cancelled"))
        #expect(try fixture.vdit(["batch", "retry", "batch.yaml"]).errors.contains("2 jobs back in the queue"))
        #expect(try fixture.vdit(["batch", "retry", "batch.yaml", "d"]).status == 64)
        let json = try fixture.vdit(["batch", "status", "batch.yaml", "--json"]).output
        let object = try #require(try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
        #expect((object["counts"] as? [String: Int])?["pending"] == 2)
    }

    @Test func aSlurmArrayIsSubmittedWithItsScriptAndItsTasksShareTheJobs() throws {
        let fixture = try BatchFixture(BatchFixture.seeds(5) + "\nslurm: {tasks: 2, time: \"10\"}")
        // Stands in for Slurm: keeps the script, then runs every task as the cluster would.
        try fixture.folder.write(
            """
            #!/bin/sh
            cat > "\(fixture.folder.path)/script"
            echo "Submitted batch job 42"
            """, "bin/sbatch")
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: fixture.folder.path("bin/sbatch"))
        let path = ["PATH": fixture.folder.path("bin") + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? "/bin")]
        let submitted = try fixture.vdit(["batch", "batch.yaml", "--slurm"], environment: path)
        #expect(submitted.status == 0 && submitted.errors.contains("Submitted batch job 42"), "\(submitted.errors)")
        let script = try String(contentsOfFile: fixture.folder.path("script"), encoding: .utf8)
        let shown = try fixture.vdit(["batch", "batch.yaml", "--slurm", "--emit-only"])
        #expect(shown.output == script)
        for task in 0..<2 {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/bin/bash")
            process.arguments = [fixture.folder.path("script")]
            process.currentDirectoryURL = URL(fileURLWithPath: fixture.folder.path)
            process.environment = ProcessInfo.processInfo.environment.merging(
                ["SLURM_ARRAY_TASK_ID": "\(task)", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "1"]) { $1 }
            process.standardError = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            #expect(process.terminationStatus == 0)
        }
        let status = try RunDatabases.status(fixture.database)
        #expect(status.count == 5 && status.allSatisfy { $0.state == .done })
        #expect(RunDatabases.existing(fixture.database).count == 2)
        let refused = try fixture.vdit(["batch", "batch.yaml", "--slurm"], environment: ["PATH": "/usr/bin:/bin"], wrapper: "env PATH=/nowhere")
        #expect(refused.status == 69 && refused.errors.contains("Slurm: no sbatch here"), "\(refused.errors)")
    }
}

enum VideoReaderProbe {
    /// Frames of a file, counted by decoding it.
    static func frames(_ path: String) throws -> Int {
        let reader = try FFmpegReader(path)
        var count = 0
        while try reader.next() != nil { count += 1 }
        return count
    }
}
