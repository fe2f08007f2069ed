import Foundation
import TestSupport
import Testing
import VDiT

/// What can break under a running batch: each ends in a sentence about it, and the next run goes on.
@Suite(.serialized) struct BatchFaultTests {
    private static func succeeds(_ command: [String]) -> Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        (process.standardOutput, process.standardError) = (FileHandle.nullDevice, FileHandle.nullDevice)
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }

    static let asNobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"

    /// Permissions stop nobody who is root; then another user runs the command, where one can.
    static let isRefusedWhatItMayNot: Bool = {
        guard geteuid() == 0 else { return true }
        guard let folder = try? TemporaryDirectory() else { return false }
        return succeeds(
            asNobody.split(separator: " ").map(String.init)
                + ["sh", "-c", "cd \"$1\" && exec \"$0\" --version", CommandRun.binary, folder.path])
    }()

    static let whyNot: Comment = "root is refused nothing, and no other user can run the command in its folder here"

    static let canMount = geteuid() == 0 && succeeds(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])

    @Test(.enabled(if: canMount, "a small file system can only be mounted by root"))
    func aDiskThatFillsUpFailsTheJobAtWorkAndThoseAfterItAndLosesNothing() throws {
        let fixture = try BatchFixture("""
            database: state.vdit.sqlite
            jobs:
              - {name: before, seed: 1}
              - {name: during, seed: 2, steps: 900}
              - {name: after, seed: 3}
            """)
        let out = fixture.folder.path("out")
        let files = FileManager.default
        try files.createDirectory(atPath: out, withIntermediateDirectories: true)
        #expect(Self.succeeds(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", out]))
        defer { _ = Self.succeeds(["umount", "-l", out]) }
        let process = try fixture.start(["batch", "batch.yaml"])
        #expect(process.waits(for: "step  50/900"))
        // Nothing is left from here on: the job at work finds that when it writes, the next before it begins.
        let before = try fixture.videos()
        #expect(!Self.succeeds(["dd", "if=/dev/zero", "of=\(out)/filler", "bs=4096"]))
        let first = try process.finish()
        #expect(first.status == 1, "\(first.errors)")
        let during = first.lines.filter { $0.hasPrefix("vdit: during: ") }
        #expect(during.contains { $0.lowercased().contains("no space left") }, "\(first.errors)")
        let after = first.lines.filter { $0.hasPrefix("vdit: after: free space in ") }
        #expect(after.contains { $0.contains("found 0 bytes, expected at least 20 KiB") }, "\(first.errors)")
        let left = try fixture.videos()
        #expect(before.count == 1 && left == before)
        try files.removeItem(atPath: out + "/filler")
        #expect(try fixture.leftovers().isEmpty)
        #expect(try fixture.vdit(["batch", "retry", "batch.yaml"]).status == 0)
        let second = try fixture.vdit(["batch", "batch.yaml"])
        #expect(try second.status == 0 && fixture.videos().count == 3, "\(second.errors)")
        #expect(try fixture.videos()["before-1.mkv"] == before["before-1.mkv"])
    }

    @Test(.enabled(if: canMount, "a small file system can only be mounted by root"))
    func aFullDiskUnderTheDatabaseEndsTheBatchAndTheNextRunKeepsWhatIsComplete() throws {
        let fixture = try BatchFixture("database: state/state.vdit.sqlite\n" + BatchFixture.seeds(40))
        let state = fixture.folder.path("state")
        try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: true)
        #expect(Self.succeeds(["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", state]))
        defer { _ = Self.succeeds(["umount", "-l", state]) }
        let first = try fixture.vdit(["batch", "batch.yaml"])
        #expect(first.status == 74 && first.errors.contains("state.vdit.sqlite: "), "\(first.errors)")
        #expect(Self.succeeds(["mount", "-o", "remount,size=20m", state]))
        let second = try fixture.vdit(["batch", "batch.yaml"])
        #expect(try second.status == 0 && fixture.videos().count == 40, "\(second.errors)")
    }

    @Test func anOutputFolderThatIsRemovedFailsItsJobsAndIsMadeAgainByTheNextRun() throws {
        let fixture = try BatchFixture("database: state.vdit.sqlite\n" + BatchFixture.seeds(3), steps: 900)
        let process = try fixture.start(["batch", "batch.yaml"])
        #expect(process.waits(for: "step  50/"))
        try FileManager.default.removeItem(atPath: fixture.folder.path("out"))
        let first = try process.finish()
        #expect(first.status == 1 && first.errors.contains("does not exist"), "\(first.errors)")
        #expect(try fixture.vdit(["batch", "retry", "batch.yaml", "--missing"]).status == 0)
        let second = try fixture.vdit(["batch", "batch.yaml"])
        #expect(try second.status == 0 && fixture.videos().count == 3, "\(second.errors)")
    }

    @Test(.enabled(if: isRefusedWhatItMayNot, whyNot))
    func anOutputFolderThatCannotBeWrittenIsNamedAndNothingIsLost() throws {
        let fixture = try BatchFixture("database: state.vdit.sqlite\n" + BatchFixture.seeds(2))
        #expect(try fixture.vdit(["batch", "batch.yaml", "--only", "batch/1"]).status == 0)
        let before = try fixture.videos()
        // Root may write anywhere: another user stands in for everybody else.
        let isRoot = geteuid() == 0
        let files = FileManager.default
        for path in [fixture.folder.path, fixture.folder.path("state.vdit.sqlite")] {
            try files.setAttributes([.posixPermissions: 0o777], ofItemAtPath: path)
        }
        try files.setAttributes([.posixPermissions: 0o555], ofItemAtPath: fixture.folder.path("out"))
        defer { try? files.setAttributes([.posixPermissions: 0o755], ofItemAtPath: fixture.folder.path("out")) }
        let wrapper = isRoot ? Self.asNobody : ""
        let ended = try fixture.vdit(["batch", "batch.yaml"], wrapper: wrapper)
        #expect(ended.status != 0 && ended.errors.lowercased().contains("permission denied"), "\(ended.errors)")
        #expect(try fixture.videos() == before)
    }

    @Test(.enabled(if: isRefusedWhatItMayNot, whyNot))
    func anOutputFolderThatBecomesReadOnlyFailsItsJobsAndTheNextRunMakesThem() throws {
        let fixture = try BatchFixture("database: state.vdit.sqlite\n" + BatchFixture.seeds(2), steps: 900)
        let files = FileManager.default
        let out = fixture.folder.path("out")
        try files.createDirectory(atPath: out, withIntermediateDirectories: true)
        for path in [fixture.folder.path, out] { try files.setAttributes([.posixPermissions: 0o777], ofItemAtPath: path) }
        let wrapper = geteuid() == 0 ? Self.asNobody : ""
        let process = try fixture.start(["batch", "batch.yaml"], wrapper: wrapper)
        #expect(process.waits(for: "step  50/"))
        try files.setAttributes([.posixPermissions: 0o555], ofItemAtPath: out)
        let first = try process.finish()
        try files.setAttributes([.posixPermissions: 0o777], ofItemAtPath: out)
        #expect(first.status == 1 && first.errors.lowercased().contains("permission denied"), "\(first.errors)")
        #expect(try fixture.videos().isEmpty)
        #expect(try fixture.vdit(["batch", "retry", "batch.yaml"], wrapper: wrapper).errors.contains("2 jobs back"))
        let second = try fixture.vdit(["batch", "batch.yaml"], wrapper: wrapper)
        #expect(try second.status == 0 && fixture.videos().count == 2, "\(second.errors)")
        // What could not be removed from the folder is gone too.
        #expect(try fixture.leftovers() == [])
    }

    @Test func aFileSizeLimitFailsTheJobThatExceedsItAlone() throws {
        // One share, so that the database needs no log, which grows.
        let arguments = ["batch", "batch.yaml", "--shard", "0/1"]
        let fixture = try BatchFixture(
            "jobs:\n  - {name: a, seed: 1}\n  - {name: large, seed: 2, size: 512x512}\n  - {name: b, seed: 3}")
        let first = try fixture.vdit(arguments, wrapper: "sh -c 'ulimit -f 500; exec \"$@\"' sh")
        #expect(first.status == 1 && first.errors.contains("large-2.mkv") && first.errors.contains("file too large"), "\(first.errors)")
        #expect(try fixture.videos().keys.sorted() == ["a-1.mkv", "b-3.mkv"])
        #expect(try fixture.vdit(["batch", "retry", "batch.yaml"]).status == 0)
        let second = try fixture.vdit(arguments)
        #expect(try second.status == 0 && fixture.videos().count == 3 && fixture.leftovers().isEmpty, "\(second.errors)")
    }

    @Test func aDamagedDatabaseStopsTheBatchAndWithoutItNothingIsMadeTwice() throws {
        let fixture = try BatchFixture(BatchFixture.seeds(3))
        #expect(try fixture.vdit(["batch", "batch.yaml", "-q"]).status == 0)
        let before = try fixture.videos()
        try Data(repeating: 0x5A, count: 30_000).write(to: URL(fileURLWithPath: fixture.database))
        for command in [["batch", "batch.yaml"], ["batch", "status", "batch.yaml"]] {
            let ended = try fixture.vdit(command)
            #expect(ended.status == 65 && ended.errors.contains("the run database is damaged"), "\(ended.errors)")
        }
        try FileManager.default.moveItem(atPath: fixture.database, toPath: fixture.folder.path("damaged"))
        let again = try fixture.vdit(["batch", "batch.yaml"])
        #expect(again.status == 0 && again.errors.contains("[3/3] batch/3: complete already"), "\(again.errors)")
        #expect(try fixture.videos() == before && fixture.leftovers() == [])
    }

    @Test func aClipThatIsGoneFailsItsComparisonByNameAndBothAreMadeAgain() throws {
        let fixture = try BatchFixture(BatchFixture.compared, output: "out/{job}-{seed}-{method}.mkv")
        let small = ["batch", "batch.yaml", "--set", "matrix.seed=[1]"]
        #expect(try fixture.vdit(small + ["--only", "clip"]).status == 0)
        try FileManager.default.removeItem(atPath: fixture.folder.path("out/clip-1-strong.mkv"))
        let ended = try fixture.vdit(small)
        #expect(ended.status == 1 && ended.errors.contains("vdit: quality/1/strong: ") && ended.errors.contains("clip-1-strong.mkv"), "\(ended.errors)")
        #expect(try fixture.vdit(["batch", "retry", "batch.yaml", "--missing"]).status == 0)
        let again = try fixture.vdit(small)
        #expect(again.status == 0 && again.output.contains("strong   1"), "\(again.output)\(again.errors)")
    }

    @Test(.enabled(if: isRefusedWhatItMayNot, whyNot))
    func aDatabaseThatCannotBeWrittenIsNamed() throws {
        let fixture = try BatchFixture("database: state/state.vdit.sqlite\n" + BatchFixture.seeds(2))
        #expect(try fixture.vdit(["batch", "batch.yaml", "--only", "batch/1"]).status == 0)
        let files = FileManager.default
        for path in [fixture.folder.path, fixture.folder.path("out")] {
            try files.setAttributes([.posixPermissions: 0o777], ofItemAtPath: path)
        }
        try files.setAttributes([.posixPermissions: 0o444], ofItemAtPath: fixture.folder.path("state/state.vdit.sqlite"))
        try files.setAttributes([.posixPermissions: 0o555], ofItemAtPath: fixture.folder.path("state"))
        let wrapper = geteuid() == 0 ? Self.asNobody : ""
        let ended = try fixture.vdit(["batch", "batch.yaml"], wrapper: wrapper)
        #expect([73, 77].contains(ended.status) && ended.errors.contains("state.vdit.sqlite: the run database cannot be"), "\(ended.errors)")
    }

    @Test func aModelCutShortBetweenTwoJobsFailsTheSecondByItsName() throws {
        let fixture = try BatchFixture(BatchFixture.seeds(3))
        let weights = fixture.folder.path("model/transformer/diffusion_pytorch_model.safetensors")
        let whole = try #require(FileManager.default.contents(atPath: weights))
        let plan = try fixture.plan()
        let database = try RunDatabase(path: fixture.folder.path("state.vdit.sqlite"))
        func run(_ onEvent: (BatchEvent) throws -> Void) throws -> BatchSummary {
            let batch = Batch(plan, database: database, runner: LocalRunner())
            try batch.prepare()
            return try batch.run(stop: StopFlag(), onEvent: onEvent)
        }
        var finished = 0
        let summary = try run { event in
            guard case .done = event else { return }
            finished += 1
            if finished == 1 { try whole.prefix(whole.count / 2).write(to: URL(fileURLWithPath: weights)) }
        }
        #expect(summary.done == 1 && summary.failed == 2 && summary.exitCode == 1)
        let errors = try database.status().compactMap(\.error)
        #expect(errors.count == 2 && errors.allSatisfy { $0.contains("transformer/diffusion_pytorch_model.safetensors") }, "\(errors)")
        try whole.write(to: URL(fileURLWithPath: weights))
        #expect(try database.retry(plan.jobs.map(\.id)) == 3)
        #expect(try run { _ in }.done == 3)
    }

    @Test func aJobLargerThanTheMemoryFailsAloneBeforeItStarts() throws {
        let fixture = try BatchFixture(
            "jobs:\n  - {name: a, seed: 1}\n  - {name: large, seed: 2, memory_limit: 10M}\n  - {name: b, seed: 3}")
        let ended = try fixture.vdit(["batch", "batch.yaml"])
        #expect(ended.status == 1 && ended.errors.contains("vdit: large: this run needs about"), "\(ended.errors)")
        #expect(try fixture.videos().keys.sorted() == ["a-1.mkv", "b-3.mkv"])
    }

    @Test func withoutItsDatabaseABatchRecognisesWhatIsComplete() throws {
        let fixture = try BatchFixture(BatchFixture.seeds(3))
        #expect(try fixture.vdit(["batch", "batch.yaml", "-q"]).status == 0)
        try FileManager.default.removeItem(atPath: fixture.database)
        let again = try fixture.vdit(["batch", "batch.yaml"])
        #expect(again.status == 0 && again.errors.contains("[3/3] batch/3: complete already"), "\(again.errors)")
        // Not by its name alone: other settings, or other bytes, are another video.
        #expect(try fixture.vdit(["batch", "batch.yaml", "--set", "defaults.steps=3"]).status == 73)
    }

    @Test func aDamagedCheckpointIsNotTrusted() throws {
        let fixture = try BatchFixture(BatchFixture.seeds(1))
        let plan = try fixture.plan()
        try FileManager.default.createDirectory(atPath: fixture.folder.path("out"), withIntermediateDirectories: true)
        try fixture.folder.write("no checkpoint", "out/batch-1.mkv.vdit-checkpoint")
        let database = try RunDatabase(path: fixture.folder.path("state.vdit.sqlite"))
        let batch = Batch(plan, database: database, runner: LocalRunner())
        try batch.prepare()
        #expect(try batch.run(stop: StopFlag()).done == 1)
        #expect(try database.events().contains { $0.text.hasSuffix("/batch-1.mkv.vdit-checkpoint.1") })
    }
}
