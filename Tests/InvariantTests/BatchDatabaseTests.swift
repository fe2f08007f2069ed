import Foundation
import GRDB
import Synchronization
import TestSupport
import Testing
import VDiT

/// The run database: leases, clocks, and files that are not what they should be.
struct BatchDatabaseTests {
    static let elsewhere = WorkerIdentity("other-host boot pid:[1] 77 123")
    static let here = WorkerIdentity.current()

    private func fixture(_ jobs: String = BatchFixture.seeds(3)) throws -> (BatchFixture, BatchPlan, String) {
        let fixture = try BatchFixture(jobs)
        return (fixture, try fixture.plan(), fixture.folder.path("state.vdit.sqlite"))
    }

    @Test func aJobIsClaimedOnceAndItsNeedsFirst() throws {
        let (fixture, plan, path) = try self.fixture("matrix: {seed: [1, 2]}\njobs:\n  - {name: b, needs: [a]}\n  - {name: a}")
        defer { withExtendedLifetime(fixture) {} }
        let database = try RunDatabase(path: path)
        try database.register(plan.jobs)
        #expect(try database.claim(model: "", only: nil)?.job == "a/1")
        let second = try #require(try database.claim(model: "", only: nil))
        #expect(second.job == "a/2" && second.attempt == 1)
        #expect(try database.claim(model: "", only: nil) == nil)
        #expect(try database.finish(second, .done(JobMetrics())))
        #expect(try database.claim(model: "", only: nil)?.job == "b/2")
        try database.register(plan.jobs)
        #expect(try database.status().map(\.state) == [.pending, .running, .running, .done])
    }

    @Test func aLeaseEndsOnlyWhenTheObserversOwnClockSawNoBeatForItsLength() throws {
        let (fixture, plan, path) = try self.fixture()
        defer { withExtendedLifetime(fixture) {} }
        let clock = Mutex(Duration.zero)
        let owner = try RunDatabase(path: path, worker: #require(Self.elsewhere))
        try owner.register(plan.jobs)
        let claim = try #require(try owner.claim(model: "", only: nil))
        let observer = try RunDatabase(path: path)
        var watch = LeaseWatch(seconds: 60) { clock.withLock { $0 } }
        for second in [0, 30, 60] {
            clock.withLock { $0 = .seconds(second) }
            #expect(try observer.takeOver(&watch).isEmpty)
        }
        #expect(try owner.beat(claim, step: 1) == .held)
        clock.withLock { $0 = .seconds(90) }
        #expect(try observer.takeOver(&watch).isEmpty, "the beat began a new period")
        clock.withLock { $0 = .seconds(151) }
        #expect(try observer.takeOver(&watch) == [claim.job])
        // The owner was only slow: it learns that it lost the job, and cannot record it.
        let next = try #require(try observer.claim(model: "", only: nil))
        #expect(next.job == claim.job && next.attempt == 2)
        #expect(try owner.beat(claim, step: 2) == .lost)
        #expect(try !owner.finish(claim, .done(JobMetrics())))
        #expect(try observer.finish(next, .done(JobMetrics())))
    }

    @Test func aProcessThatIsGoneIsReplacedAtOnceAndALivingOneNever() throws {
        let (fixture, plan, path) = try self.fixture()
        defer { withExtendedLifetime(fixture) {} }
        let fields = Self.here.description.split(separator: " ")
        let gone = try #require(WorkerIdentity("\(fields[0]) \(fields[1]) \(fields[2]) \(fields[3]) 1"))
        let dead = try RunDatabase(path: path, worker: gone)
        try dead.register(plan.jobs)
        let lost = try #require(try dead.claim(model: "", only: nil))
        let living = try RunDatabase(path: path)
        let held = try #require(try living.claim(model: "", only: nil))
        var watch = LeaseWatch(seconds: 60)
        #expect(try RunDatabase(path: path).takeOver(&watch) == [lost.job])
        #expect(try living.finish(held, .done(JobMetrics())))
    }

    @Test func aTimeOfDayThatGoesBackwardsChangesNothing() throws {
        let (fixture, plan, path) = try self.fixture(BatchFixture.seeds(6))
        defer { withExtendedLifetime(fixture) {} }
        let hour = Mutex(100.0)
        let database = try RunDatabase(path: path) {
            Date(timeIntervalSince1970: 1e9 + 3600 * hour.withLock { hour in hour -= 1; return hour })
        }
        let batch = Batch(plan, database: database, runner: FakeRunner())
        try batch.prepare()
        let summary = try batch.run(stop: StopFlag())
        #expect(summary.done == 6 && summary.exitCode == 0)
        for job in plan.jobs { #expect(try database.events(of: job.id).map(\.kind) == ["started", "done"]) }
    }

    @Test func aJobItsProcessesKeepDyingInIsGivenUp() throws {
        let (fixture, plan, path) = try self.fixture(BatchFixture.seeds(1))
        defer { withExtendedLifetime(fixture) {} }
        let fields = Self.here.description.split(separator: " ")
        let gone = try #require(WorkerIdentity("\(fields[0]) \(fields[1]) \(fields[2]) \(fields[3]) 1"))
        let database = try RunDatabase(path: path, worker: gone)
        try database.register(plan.jobs)
        var watch = LeaseWatch(seconds: 60)
        let observer = try RunDatabase(path: path)
        var claims = 0
        while try database.claim(model: "", only: nil) != nil {
            claims += 1
            try #require(claims < 100)
            _ = try observer.takeOver(&watch)
        }
        let job = try #require(try observer.status().first)
        #expect(claims == 10 && job.state == .failed && job.error == "the process died 10 times in this job")
    }

    @Test func changedJobsBeginAnewAndOthersKeepTheirState() throws {
        let (fixture, plan, path) = try self.fixture(BatchFixture.seeds(2))
        defer { withExtendedLifetime(fixture) {} }
        let database = try RunDatabase(path: path)
        try database.register(plan.jobs)
        for _ in 0..<2 {
            try database.finish(#require(try database.claim(model: "", only: nil)), .done(JobMetrics()))
        }
        try database.register(try fixture.plan(["matrix.seed=[2, 3]"]).jobs)
        #expect(try database.status().map(\.state) == [.done, .pending])
        try database.register(try fixture.plan(["defaults.steps=3"]).jobs)
        #expect(try database.status().map(\.state) == [.pending, .pending])
    }

    @Test func manyThreadsNeverShareAJob() throws {
        let (fixture, plan, path) = try self.fixture(BatchFixture.seeds(60))
        defer { withExtendedLifetime(fixture) {} }
        try RunDatabase(path: path).register(plan.jobs)
        let claimed = Mutex<[String]>([])
        DispatchQueue.concurrentPerform(iterations: 4) { _ in
            guard let database = try? RunDatabase(path: path) else { return }
            while let claim = try? database.claim(model: "", only: nil) {
                claimed.withLock { $0.append(claim.job) }
                _ = try? database.finish(claim, .done(JobMetrics()))
            }
        }
        #expect(claimed.withLock { $0.sorted() } == plan.jobs.map(\.id).sorted())
    }

    // MARK: Files that are not what they should be

    private func opening(_ path: String) throws -> BatchError {
        try #require(throws: BatchError.self) { _ = try RunDatabase(path: path, patience: 0.2) }
    }

    @Test(arguments: ["begin", "middle", "text", "cut"])
    func aDamagedFileIsNamedAndLeftAsItIs(_ damage: String) throws {
        let (fixture, plan, path) = try self.fixture(BatchFixture.seeds(40))
        defer { withExtendedLifetime(fixture) {} }
        do {
            let database = try RunDatabase(path: path, sharing: .oneProcess)
            try database.register(plan.jobs)
        }
        var bytes = try #require(FileManager.default.contents(atPath: path))
        switch damage {
        case "begin": bytes.replaceSubrange(0..<100, with: Data(repeating: 0x55, count: 100))
        case "middle": bytes.replaceSubrange(4096..<12288, with: Data(repeating: 0xFF, count: 8192))
        case "text": bytes = Data("this is no database, it is a text that somebody saved here\n".utf8)
        default: bytes = bytes.prefix(bytes.count / 2 + 100)
        }
        try bytes.write(to: URL(fileURLWithPath: path))
        let error = try opening(path)
        #expect(error.kind == .badData && "\(error)".hasPrefix(path) && "\(error)".contains("damaged"), "\(error)")
        #expect(FileManager.default.contents(atPath: path) == bytes)
    }

    @Test func aLockedFileIsTemporaryAndTheStateSurvives() throws {
        let (fixture, plan, path) = try self.fixture()
        defer { withExtendedLifetime(fixture) {} }
        let database = try RunDatabase(path: path, patience: 0.2)
        try database.register(plan.jobs)
        var configuration = Configuration()
        configuration.allowsUnsafeTransactions = true
        let other = try DatabaseQueue(path: path, configuration: configuration)
        try other.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
        let error = try #require(throws: BatchError.self) { _ = try database.claim(model: "", only: nil) }
        #expect(error.kind == .temporary && "\(error)".contains("locked"))
        try other.writeWithoutTransaction { try $0.execute(sql: "ROLLBACK") }
        #expect(try database.claim(model: "", only: nil) != nil)
    }

    @Test func whoClosesLastLeavesTheFileAlone() throws {
        let (fixture, plan, path) = try self.fixture()
        defer { withExtendedLifetime(fixture) {} }
        func beside() -> [String] { fixture.folder.contents.filter { $0.hasPrefix("state.vdit.sqlite") } }
        let first = try RunDatabase(path: path)
        try first.register(plan.jobs)
        let second = try RunDatabase(path: path)
        #expect(try second.status().count == 3)
        first.close()
        #expect(try second.claim(model: "", only: nil) != nil)
        second.close()
        #expect(beside() == ["state.vdit.sqlite"])
        // A reader needs the log's files too, and may not remove them by itself.
        let reader = try RunDatabase(path: path, access: .readOnly)
        #expect(try reader.status().count == 3)
        reader.close()
        #expect(beside() == ["state.vdit.sqlite"])
    }

    @Test func aFileOfANewerVersionIsRefused() throws {
        let (fixture, plan, path) = try self.fixture()
        defer { withExtendedLifetime(fixture) {} }
        try RunDatabase(path: path).register(plan.jobs)
        try DatabaseQueue(path: path).write {
            try $0.execute(sql: "INSERT INTO grdb_migrations VALUES ('2: something of the future')")
        }
        let error = try opening(path)
        #expect(error.kind == .configuration && "\(error)".contains("newer vdit"))
    }

    @Test func aDatabaseOfAnotherProgramIsRefusedAndNotTouched() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("notes.sqlite")
        try DatabaseQueue(path: path).write { try $0.execute(sql: "CREATE TABLE note (text TEXT)") }
        let before = FileManager.default.contents(atPath: path)
        let error = try opening(path)
        #expect(error.kind == .badData && "\(error)".contains("another program"))
        #expect(FileManager.default.contents(atPath: path) == before)
    }

    @Test func aPlaceThatCannotHoldAFileIsNamed() throws {
        let error = try opening("/proc/vdit/state.sqlite")
        #expect(error.kind == .cannotCreate && "\(error)".contains("/proc/vdit/state.sqlite"))
    }
}
