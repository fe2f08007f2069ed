import Foundation
import GRDB
import Synchronization
import TestSupport
import Testing
import VDiT

/// A runner that renders nothing: what it is asked to do, it counts.
final class FakeRunner: JobRunner {
    private(set) var started: [String] = []
    /// Called instead of rendering; may throw.
    var body: (PlannedJob, StopFlag, Int) throws -> Void = { _, _, _ in }

    func run(_ job: PlannedJob, stop: StopFlag, onEvent: (RenderEvent) throws -> Void) throws -> JobMetrics {
        started.append(job.id)
        try onEvent(.step(1, of: 2, seconds: 0.1))
        try body(job, stop, started.count { $0 == job.id })
        return JobMetrics()
    }
}

/// What a batch does when jobs fail, are cancelled or are stopped.
struct BatchRunTests {
    struct Broken: Failure {
        let kind: FailureKind
        var description: String { "broken on purpose" }
    }

    private func run(
        _ jobs: String, _ runner: FakeRunner, set: [String] = [], stop: StopFlag = StopFlag(), only: Set<String>? = nil
    ) throws -> (BatchSummary, [JobStatus], RunDatabase, BatchFixture) {
        let fixture = try BatchFixture(jobs)
        let plan = try fixture.plan(set)
        let database = try RunDatabase(path: fixture.folder.path("state.vdit.sqlite"))
        let batch = Batch(plan, database: database, runner: runner, only: only)
        try batch.prepare()
        return (try batch.run(stop: stop), try database.status(), database, fixture)
    }

    @Test func aFailingJobDoesNotStopTheRestAndWhatNeedsItDoesNotStart() throws {
        let runner = FakeRunner()
        runner.body = { job, _, _ in if job.id == "b" { throw Broken(kind: .badData) } }
        let (summary, status, _, _) = try run(
            "jobs:\n  - {name: a, seed: 1}\n  - {name: b, seed: 2}\n  - {name: c, seed: 3, needs: [b]}\n  - {name: d, seed: 4}", runner)
        #expect(runner.started == ["a", "b", "d"])
        #expect(status.map(\.state) == [.done, .failed, .pending, .done] && status[1].error == "broken on purpose")
        #expect(summary.done == 2 && summary.failed == 1 && summary.pending == 1 && summary.exitCode == 1)
        #expect(BatchReport.status(status).contains("not run: b failed"))
    }

    @Test func whatMayPassIsTriedAgainAfterTheOthersAndWhatIsWrongIsNot() throws {
        let runner = FakeRunner()
        runner.body = { job, _, attempt in
            if job.id == "a", attempt < 3 { throw Broken(kind: .ioError) }
            if job.id == "b" { throw Broken(kind: .ioError) }
            if job.id == "c" { throw Broken(kind: .badData) }
        }
        let (summary, status, database, fixture) = try run(
            "jobs:\n  - {name: a, seed: 1}\n  - {name: b, seed: 2}\n  - {name: c, seed: 3}\n  - {name: d, seed: 4}", runner,
            set: ["limits.retries=2"])
        defer { withExtendedLifetime(fixture) {} }
        #expect(runner.started == ["a", "b", "c", "d", "a", "b", "a", "b"])
        #expect(status.map(\.state) == [.done, .failed, .failed, .done] && status.map(\.attempts) == [3, 3, 1, 1])
        #expect(summary.exitCode == 1)
        #expect(try database.retry(["b", "c"]) == 2)
        #expect(try database.status().map(\.failures) == [2, 0, 0, 0])
    }

    @Test func nothingDoneIsDoneAgain() throws {
        let runner = FakeRunner()
        let (_, _, database, fixture) = try run(BatchFixture.seeds(5), runner)
        let again = FakeRunner()
        let batch = Batch(try fixture.plan(), database: database, runner: again)
        try batch.prepare()
        #expect(try batch.run(stop: StopFlag()).done == 5 && again.started.isEmpty && runner.started.count == 5)
    }

    @Test func aStoppedJobGoesBackToTheQueueAndTheRestIsNotStarted() throws {
        let runner = FakeRunner()
        let stop = StopFlag()
        runner.body = { _, own, _ in
            stop.requestStop()
            #expect(own.isStopping)
            throw PipelineError.cancelled(step: 1, steps: 2, checkpoint: "x")
        }
        let (summary, status, _, _) = try run(BatchFixture.seeds(3), runner, stop: stop)
        #expect(summary.wasStopped && summary.pending == 3 && runner.started.count == 1)
        #expect(status[0].state == .pending && status[0].step == 1 && status[0].failures == 0)
    }

    @Test func aRunningJobHearsThatItIsCancelled() throws {
        let runner = FakeRunner()
        let fixture = try BatchFixture(BatchFixture.seeds(3))
        let plan = try fixture.plan(["limits.lease=1"])
        let path = fixture.folder.path("state.vdit.sqlite")
        let database = try RunDatabase(path: path)
        runner.body = { job, stop, _ in
            guard job.id == plan.jobs[0].id else { return }
            #expect(try RunDatabase(path: path).cancel([job.id, plan.jobs[2].id]) == 2)
            for _ in 0..<2000 where !stop.isStopping { usleep(5000) }
            throw PipelineError.cancelled(step: 1, steps: 2, checkpoint: "x")
        }
        let batch = Batch(plan, database: database, runner: runner)
        try batch.prepare()
        let summary = try batch.run(stop: StopFlag())
        #expect(summary.cancelled == 2 && summary.done == 1 && !summary.wasStopped)
        #expect(try database.status().map(\.state) == [.cancelled, .done, .cancelled])
    }

    @Test func aLockThatLastsWhileAJobEndsIsWaitedForAndTheResultKept() throws {
        let fixture = try BatchFixture(BatchFixture.seeds(3))
        let path = fixture.folder.path("state.vdit.sqlite")
        let database = try RunDatabase(path: path, patience: 1)
        let runner = FakeRunner()
        let released = DispatchSemaphore(value: 0)
        runner.body = { job, _, _ in
            guard job.id == "batch/1" else { return }
            var configuration = Configuration()
            configuration.allowsUnsafeTransactions = true
            let other = try DatabaseQueue(path: path, configuration: configuration)
            try other.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
            // Longer than the patience of one attempt.
            Thread.detachNewThread {
                usleep(1_500_000)
                try? other.writeWithoutTransaction { try $0.execute(sql: "ROLLBACK") }
                released.signal()
            }
        }
        let batch = Batch(try fixture.plan(), database: database, runner: runner)
        try batch.prepare()
        #expect(try batch.run(stop: StopFlag()).done == 3 && runner.started == ["batch/1", "batch/2", "batch/3"])
        released.wait()
    }

    @Test func onlyTheJobsAskedForRun() throws {
        let ids = ["a/1", "a/2", "b/1", "b/2"]
        #expect(try JobNames.matching(["a", "b/2"], among: ids) == ["a/1", "a/2", "b/2"])
        #expect(try JobNames.matching(["*/1"], among: ids) == ["a/1", "b/1"])
        #expect(throws: BatchError.unknownJob("a/3", suggestion: "a/1")) { try JobNames.matching(["a/3"], among: ids) }
        let runner = FakeRunner()
        let (summary, _, _, _) = try run(BatchFixture.seeds(3), runner, only: ["batch/2"])
        #expect(runner.started == ["batch/2"] && summary.done == 1 && summary.exitCode == 0)
    }

    @Test func outputsOfOthersAreNeverOverwritten() throws {
        let fixture = try BatchFixture(BatchFixture.seeds(2))
        try fixture.folder.write("precious", "out/batch-2.mkv")
        let database = try RunDatabase(path: fixture.folder.path("state.vdit.sqlite"))
        let error = try #require(throws: BatchError.self) {
            try Batch(try fixture.plan(), database: database, runner: FakeRunner()).prepare()
        }
        #expect(error.kind == .cannotCreate && "\(error)".contains("batch-2.mkv"))
        try Batch(try fixture.plan(["defaults.overwrite=true"]), database: database, runner: FakeRunner()).prepare()
    }

    @Test func theStateOfAllSharesIsReadTogether() throws {
        let fixture = try BatchFixture(BatchFixture.seeds(4))
        let plan = try fixture.plan()
        let base = fixture.folder.path("state.vdit.sqlite")
        for index in 0..<2 {
            let shard = try Shard("\(index)/2")
            let database = try RunDatabase(path: shard.database(of: base), sharing: .oneProcess)
            let batch = Batch(plan, database: database, runner: FakeRunner(), only: shard.share(of: plan))
            try batch.prepare()
            #expect(try batch.run(stop: StopFlag()).done == 2)
        }
        #expect(RunDatabases.existing(base).count == 2)
        #expect(try RunDatabases.status(base).map(\.state) == [.done, .done, .done, .done])
    }
}
