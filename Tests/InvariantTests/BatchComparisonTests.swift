import Foundation
import TestSupport
import Testing
import VDiT

/// Comparisons as jobs of a batch.
struct BatchComparisonTests {
    static let jobs = """
        matrix:
          seed: [1, 2]
          method:
            - {name: dense, guidance_scale: 5}
            - {name: weak, guidance_scale: 4.9}
            - {name: strong, guidance_scale: 8}
        jobs:
          - name: quality
            compare: clip
            reference: {method: dense}
            output: out/{job}-{seed}-{method}.quality.json
            csv: out/{job}-{seed}-{method}.csv
          - name: clip
        """

    private func fixture(_ jobs: String = jobs) throws -> BatchFixture {
        try BatchFixture(jobs, output: "out/{job}-{seed}-{method}.mkv")
    }

    @discardableResult
    private func run(
        _ fixture: BatchFixture, set: [String] = [], runner: any JobRunner = LocalRunner()
    ) throws -> (summary: BatchSummary, status: [JobStatus], compared: [String]) {
        let database = try RunDatabase(path: fixture.folder.path("state.vdit.sqlite"))
        defer { database.close() }
        let batch = Batch(try fixture.plan(set), database: database, runner: runner)
        try batch.prepare()
        var compared: [String] = []
        let summary = try batch.run(stop: StopFlag()) { event in
            if case .started(let job, _) = event, job.hasPrefix("quality") { compared.append(job) }
        }
        return (summary, try database.status(), compared)
    }

    @Test func everyRenderThatIsNoReferenceIsComparedWithTheOneThatSharesItsOtherValues() throws {
        let plan = try fixture().plan()
        let found = plan.jobs.compactMap { job in
            job.comparison.map { "\(job.id): \($0.reference.job ?? "") \($0.candidates.compactMap(\.job))" }
        }
        #expect(found == [
            "quality/1/weak: clip/1/dense [\"clip/1/weak\"]", "quality/1/strong: clip/1/dense [\"clip/1/strong\"]",
            "quality/2/weak: clip/2/dense [\"clip/2/weak\"]", "quality/2/strong: clip/2/dense [\"clip/2/strong\"]",
        ])
        #expect(plan.jobs[0].needs == ["clip/1/dense", "clip/1/weak"] && plan.jobs[0].output.hasSuffix("out/quality-1-weak.quality.json"))
        // What belongs together stays in one share, and every share has comparisons.
        for index in 0..<2 {
            let share = try Shard("\(index)/2").share(of: plan)
            #expect(share.count == 5 && share.count { $0.hasPrefix("quality/\(index + 1)/") } == 2)
        }
    }

    @Test func theReferenceMayBeAnotherJobAndFilesMayComeFromElsewhere() throws {
        let fixture = try fixture(
            """
            jobs:
              - {name: dense, matrix: {seed: [1, 2]}}
              - {name: sweep, matrix: {seed: [1, 2], guidance_scale: [2, 3]}}
              - {name: by-job, compare: sweep, reference: dense, output: "out/{job}-{seed}-{guidance_scale}.json"}
              - {name: files, compare: [out/dense-1.mkv, out/sweep-1-2.mkv, mine.mkv], output: out/files.json}
            """.replacingOccurrences(of: "{name: dense, ", with: "{name: dense, output: \"out/dense-{seed}.mkv\", ")
                .replacingOccurrences(of: "{name: sweep, ", with: "{name: sweep, output: \"out/sweep-{seed}-{guidance_scale}.mkv\", "))
        try Clips.write((0..<5).map { Clips.smooth($0, width: 32, height: 32) }, to: fixture.folder.path("mine.mkv"), Clips.options { $0.codec = .ffv1 })
        let plan = try fixture.plan()
        let jobs = Dictionary(uniqueKeysWithValues: plan.jobs.map { ($0.id, $0) })
        #expect(jobs["by-job/2/3"]?.needs == ["dense/2", "sweep/2/3"])
        #expect(jobs["by-job/2/3"]?.comparison?.candidates[0].variant == "3" && jobs["by-job/2/3"]?.comparison?.reference.variant == "dense")
        #expect(jobs["files"]?.needs == ["dense/1", "sweep/1/2"] && jobs["files"]?.comparison?.candidates.map(\.job) == ["sweep/1/2", nil])
        let (summary, status, _) = try run(fixture)
        #expect(summary.done == 11 && summary.exitCode == 0)
        let rows = VariantTable(status).rows
        #expect(rows.map { "\($0.comparison) \($0.variant) \($0.clips)" } == [
            "by-job dense 2", "by-job 2 2", "by-job 3 2", "files dense-1 1", "files sweep-1-2 1", "files mine 1",
        ])
        // Other bytes under the same name are another file.
        let before = plan.jobs.map(\.fingerprint)
        try Clips.write((1..<6).map { Clips.smooth($0, width: 32, height: 32) }, to: fixture.folder.path("mine.mkv"), Clips.options { $0.codec = .ffv1; $0.existing = .replace })
        let after = try fixture.plan().jobs.map(\.fingerprint)
        #expect(zip(before, after).map { $0 == $1 } == Array(repeating: true, count: 10) + [false])
    }

    @Test func theNumbersAreThoseOfVditCompareInTheFileTheDatabaseAndTheTable() throws {
        let fixture = try fixture()
        let (summary, status, _) = try run(fixture)
        #expect(summary.done == 10 && summary.exitCode == 0)
        var psnr: [String: [Double]] = [:]
        for job in status where job.kind == .comparison {
            let metrics = try #require(job.metrics?.comparison)
            let own = try FileComparison(reference: metrics.reference.path, candidates: metrics.candidates.map(\.clip.path))
            var written = try FileComparison(path: job.output)
            #expect(written.job?.name == job.id && written.job?.sha256.count == 2)
            written.job = nil
            #expect(written == own)
            #expect(metrics.psnr == own.candidates[0].quality.psnr && metrics.ssim == own.candidates[0].quality.ssim)
            let csv = try String(contentsOfFile: job.output.replacingOccurrences(of: ".quality.json", with: ".csv"), encoding: .utf8)
            #expect(csv == own.frameTable.csv)
            psnr[metrics.candidates[0].clip.variant, default: []].append(try #require(metrics.psnr))
        }
        let rows = VariantTable(status).rows
        #expect(rows.map(\.variant) == ["dense", "weak", "strong"] && rows.map(\.clips) == [2, 2, 2])
        #expect(rows[0].isReference && rows[0].psnr == nil && rows.allSatisfy { $0.work == 1 && ($0.seconds ?? 0) > 0 })
        for row in rows.dropFirst() {
            let values = try #require(psnr[row.variant])
            #expect(row.psnr == values.reduce(0, +) / 2 && row.psnrLowestClip == values.min() && (row.speedRatio ?? 0) > 0)
        }
        let text = BatchReport.status(status)
        #expect(text.contains("PSNR") && text.contains("variant  clips  density"), "\(text)")
        let json = try JSONSerialization.jsonObject(with: Data(BatchReport.json(status).utf8)) as? [String: Any]
        let variants = try #require(json?["variants"] as? [[String: Any]])
        #expect(variants.count == 3 && variants[1]["psnr"] as? Double == rows[1].psnr && variants[0]["psnr"] is NSNull)
        let markdown = VariantTable(status).text(for: "a.md"), exact = VariantTable(status).text(for: "a.csv")
        #expect(markdown.hasPrefix("| variant | clips |") && exact.contains("weak,2,,1.0,"), "\(markdown)\(exact)")
    }

    @Test func nothingIsComparedTwiceAndWhatIsMadeAgainIsComparedAgain() throws {
        let fixture = try fixture()
        #expect(try run(fixture).compared.count == 4)
        #expect(try run(fixture).compared.isEmpty)
        // Without a database, the results say what they are of.
        let path = fixture.folder.path("state.vdit.sqlite")
        try FileManager.default.removeItem(atPath: path)
        let (summary, _, compared) = try run(fixture)
        #expect(summary.done == 10 && compared.isEmpty)
        // Complete videos that are tried again are found complete, and so are their comparisons.
        #expect(try RunDatabase(path: path).retry(["clip/1/weak", "quality/1/weak"]) == 2)
        #expect(try run(fixture).compared.isEmpty)
        // The same job, other bytes: an older vdit or another machine made the first ones.
        let video = fixture.folder.path("out/clip-1-weak.mkv")
        try FileManager.default.removeItem(atPath: video)
        #expect(try RunDatabase(path: path).retry(["clip/1/weak"]) == 1)
        #expect(try run(fixture).compared.isEmpty, "the render gave the same bytes again")
        let events = try RunDatabase(path: path).events(of: "quality/1/weak")
        #expect(events.suffix(3).map(\.kind) == ["renewed", "started", "done"])
        let changing = LocalRunner()
        try FileManager.default.removeItem(atPath: video)
        #expect(try RunDatabase(path: path).retry(["clip/1/weak"]) == 1)
        #expect(try run(fixture, runner: OtherBytes(changing)).compared == ["quality/1/weak"])
        // Changed settings change both.
        #expect(try run(fixture, set: ["matrix.seed=[1]", "defaults.overwrite=true", "defaults.steps=3"]).compared.count == 2)
    }

    /// Renders with another seed than asked for.
    private final class OtherBytes: JobRunner {
        private let runner: LocalRunner
        init(_ runner: LocalRunner) { self.runner = runner }

        func run(_ job: PlannedJob, stop: StopFlag, onEvent: (RenderEvent) throws -> Void) throws -> JobMetrics {
            let metrics = try runner.run(job, stop: stop, onEvent: onEvent)
            if job.render == nil { return metrics }
            try Clips.write((0..<5).map { Clips.smooth($0, width: 32, height: 32) }, to: job.output, Clips.options { $0.codec = .ffv1; $0.existing = .replace })
            return metrics
        }
    }

    @Test func whatCannotBeComparedIsNotRunAndRunsOnceItCan() throws {
        let fixture = try fixture()
        let path = fixture.folder.path("state.vdit.sqlite")
        let (summary, status, compared) = try run(fixture, runner: Failing(LocalRunner(), job: "clip/2/weak"))
        #expect(summary.done == 8 && summary.failed == 1 && summary.pending == 1 && summary.exitCode == 1)
        #expect(compared.count == 3 && BatchReport.status(status).contains("not run: clip/2/weak failed"))
        #expect(status.first { $0.id == "quality/2/weak" }?.error == nil)
        #expect(try RunDatabase(path: path).retry(["clip/2/weak"]) == 1)
        let again = try run(fixture)
        #expect(again.compared == ["quality/2/weak"] && again.summary.done == 10)
    }

    private final class Failing: JobRunner {
        private let runner: LocalRunner
        private let job: String
        init(_ runner: LocalRunner, job: String) { (self.runner, self.job) = (runner, job) }

        func run(_ job: PlannedJob, stop: StopFlag, onEvent: (RenderEvent) throws -> Void) throws -> JobMetrics {
            if job.id == self.job { throw BatchRunTests.Broken(kind: .badData) }
            return try runner.run(job, stop: stop, onEvent: onEvent)
        }
    }

    @Test func aComparisonBelowItsLimitHasFailedAndKeepsItsNumbers() throws {
        let fixture = try fixture()
        let limit = ["jobs.quality.min_psnr=99"]
        let (summary, status, _) = try run(fixture, set: limit)
        #expect(summary.done == 6 && summary.failed == 4 && summary.exitCode == 1)
        let failed = status.filter { $0.state == .failed }
        #expect(failed.count == 4 && failed.allSatisfy { $0.error?.contains("dB is below 99.0 dB") == true && $0.metrics?.comparison?.psnr != nil })
        #expect(VariantTable(status).rows.count == 3)
        // A lower limit is another job; its results may take the place of the old ones.
        let lower = try run(fixture, set: ["jobs.quality.min_psnr=1"])
        #expect(lower.summary.done == 10 && lower.compared.count == 4)
    }

    @Test func alignCutsToTheShorterAndFilesOfOthersAreNotOverwritten() throws {
        let text = """
            jobs:
              - {name: long, seed: 1, num_frames: 9, output: out/long.mkv}
              - {name: short, seed: 1, output: out/short.mkv}
              - {name: quality, compare: short, reference: long, align: true, output: out/q.json}
            """
        let fixture = try fixture(text)
        let (summary, status, _) = try run(fixture)
        #expect(summary.done == 3)
        #expect(try FileComparison(path: status[2].output).candidates[0].quality.frames == 5)
        let other = try self.fixture(text)
        try other.folder.write("precious", "out/q.json")
        #expect(try #require(throws: BatchError.self) { try run(other) }.kind == .cannotCreate)
        #expect(try run(other, set: ["jobs.quality.overwrite=true"]).summary.done == 3)
    }
}
