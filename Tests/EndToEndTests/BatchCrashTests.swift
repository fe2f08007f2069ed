import Foundation
import TestSupport
import Testing
import VDiT

/// Batches that are killed, stopped or run twice at the same time end as if nothing had happened.
@Suite(.serialized) struct BatchCrashTests {
    private func events(_ fixture: BatchFixture) throws -> [String: [JobEvent]] {
        let database = try RunDatabase(path: fixture.database, access: .readOnly)
        defer { database.close() }
        return Dictionary(grouping: try database.events(), by: \.job)
    }

    /// Every job is recorded as done once, and nothing was done for it after that.
    private func expectEveryJobDoneOnce(_ fixture: BatchFixture, _ count: Int) throws {
        let events = try events(fixture)
        #expect(events.count == count)
        for (job, history) in events {
            #expect(history.count { $0.kind == "done" } == 1, "\(job)")
            #expect(history.last?.kind == "done", "\(job)")
        }
    }

    @Test func killedAtTwentyRandomMomentsItEndsWithTheSameBytesAndNothingDoneTwice() throws {
        let extra = ["checkpoint_every: 10"]
        let output = "out/{job}-{seed}-{method}.mkv"
        let reference = try BatchFixture(BatchFixture.compared, steps: 250, extra: extra, output: output)
        let (whole, work) = try reference.start(["batch", "batch.yaml", "-q"]).finishMeasuringWork()
        #expect(whole.status == 0, "\(whole.errors)")

        let fixture = try BatchFixture(BatchFixture.compared, steps: 250, extra: extra, output: output)
        var random = SystemRandomNumberGenerator()
        var resumed = false
        for kill in 0..<20 {
            let process = try fixture.start(["batch", "batch.yaml"])
            // Moments of work and not of time, which other processes take too; every second one after some step.
            if kill.isMultiple(of: 2) { #expect(process.waits(for: "step ")) }
            #expect(process.waits(forWork: .random(in: 0...work / 20, using: &random)))
            process.send(SIGKILL)
            let ended = try process.finish()
            try #require(ended.status == 128 + SIGKILL, "\(ended.errors)")
            resumed = resumed || ended.errors.contains("resuming after step")
        }
        let ended = try fixture.vdit(["batch", "batch.yaml"])
        #expect(ended.status == 0 && resumed, "\(ended.errors)")
        #expect(try fixture.videos() == reference.videos())
        #expect(try fixture.leftovers() == [])
        try expectEveryJobDoneOnce(fixture, 18)
        let (found, expected) = (try fixture.comparisons(), try reference.comparisons())
        #expect(found.count == 6 && found == expected)
    }

    @Test func twoProcessesShareFiftyJobsWithoutDoingOneTwice() throws {
        let reference = try BatchFixture(BatchFixture.seeds(50))
        #expect(try reference.vdit(["batch", "batch.yaml", "-q"]).status == 0)
        let fixture = try BatchFixture(BatchFixture.seeds(50))
        let processes = try (0..<2).map { _ in try fixture.start(["batch", "batch.yaml"]) }
        for process in processes {
            let ended = try process.finish()
            #expect(ended.status == 0, "\(ended.errors)")
        }
        try expectEveryJobDoneOnce(fixture, 50)
        for (job, history) in try events(fixture) {
            #expect(history.count { $0.kind == "started" } == 1, "\(job)")
        }
        #expect(try fixture.videos() == reference.videos())
        #expect(try fixture.leftovers() == [])
    }

    struct Stop: Sendable {
        let signal: Int32
        let environment: [String: String]
        let status: Int32
    }

    static let stops = [
        Stop(signal: SIGINT, environment: [:], status: 130), Stop(signal: SIGTERM, environment: [:], status: 143),
        Stop(signal: SIGUSR1, environment: [:], status: 75),
        Stop(signal: SIGTERM, environment: ["SLURM_JOB_ID": "1"], status: 75),
    ]

    @Test(arguments: stops)
    func aSignalSavesTheStateSaysHowToGoOnAndNothingIsLost(_ stop: Stop) throws {
        let fixture = try BatchFixture(BatchFixture.seeds(2), steps: 900)
        let reference = try BatchFixture(BatchFixture.seeds(2), steps: 900)
        #expect(try reference.vdit(["batch", "batch.yaml", "-q"]).status == 0)
        let process = try fixture.start(["batch", "batch.yaml"], environment: stop.environment)
        #expect(process.waits(for: "step  50/"))
        process.send(stop.signal)
        let ended = try process.finish()
        #expect(ended.status == stop.status, "\(ended.errors)")
        #expect(ended.errors.contains("run the same command again to go on"))
        #expect(try fixture.leftovers() == ["batch-1.mkv.vdit-checkpoint"])
        let again = try fixture.vdit(["batch", "batch.yaml", "--json"])
        #expect(again.status == 0 && again.errors.contains("resuming after step"), "\(again.errors)")
        #expect(try fixture.videos() == reference.videos() && fixture.leftovers() == [])
    }
}
