import Foundation
import Glibc
import TestSupport
import Testing
import VDiT

/// The state beside the output of a command that was killed as soon as there was one.
func stateOfKilled(_ arguments: [String], _ output: String) throws -> Checkpoint {
    let path = Checkpoint.path(forOutput: output)
    while true {
        let run = try CommandRun(arguments)
        while !run.isDone, !FileManager.default.fileExists(atPath: path) { usleep(500) }
        run.send(SIGKILL)
        if try run.finish().status == 128 + SIGKILL, let state = try? Checkpoint(path: path) { return state }
        // It was faster.
        for path in [output, output + ".json"] { unlink(path) }
    }
}

/// Step caches from the command line to the record, and back from a state that was left in the middle of a stretch.
struct StepCacheCommandTests {
    private static let allOut = ["--cache-option", "first-steps=3", "--cache-option", "last-steps=0"]

    // MARK: Calibration

    @Test func aCalibrationServesItsModelAndSizeAndNoOther() throws {
        let folder = try TemporaryDirectory()
        let file = folder.path("mini.json")
        func calibrate(_ path: String, _ more: String...) throws -> CommandRun.Result {
            try CommandRun.run(["calibrate"] + smallRender(path, steps: 8, "--seed", "5").dropFirst() + more)
        }
        let made = try calibrate(file)
        #expect(made.status == 0, "\(made.errors)")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let tables = try decoder.decode([String: CacheTable].self, from: bytes(file))
        let table = try #require(tables["wan-mini"])
        #expect(tables.count == 1 && table.steps == 8 && table.streams == 2 && table.size == [5, 64, 96])
        #expect(table.ratios?.count == 14 && table.ratios?.allSatisfy { (0.1...10).contains($0) } == true)
        #expect(table.coefficients?.count == 5 && table.weights?.count == 64)
        // Whatever the threads, and never over what is there.
        #expect(try calibrate(folder.path("one.json"), "--threads", "1").status == 0)
        #expect(try bytes(folder.path("one.json")) == bytes(file))
        #expect(try calibrate(file).status == 73)

        for cache in ["magcache", "teacache"] {
            let output = folder.path("\(cache).y4m")
            let run = try CommandRun.run(
                smallRender(
                    output, steps: 10, "--seed", "5", "--cache", cache, "--cache-threshold", "1000",
                    "--cache-option", "most-skips=2", "--cache-calibration", file) + Self.allOut)
            #expect(run.status == 0, "\(run.errors)")
            let caching = try #require(RunRecord(path: output + ".json").caching)
            #expect(caching.calibration == file && caching.computedCalls == 2 * (3 + 2) && caching.reusedCalls == 2 * 5)
        }
        let cached = ["--seed", "5", "--cache", "magcache", "--cache-calibration", file]
        let larger = try CommandRun.run(smallRender(folder.path("b.y4m"), steps: 10) + cached + ["--num-frames", "9"])
        #expect(larger.status == 65)
        #expect(
            larger.errors.contains(
                "found a calibration at 96x64, 5 frames, expected one at 96x64, 9 frames"), "\(larger.errors)")
        try TinyModel.write(to: folder)
        let other = try CommandRun.run(
            [
                "render", "--model", folder.path("model"), "--prompt-embedding", folder.path("a.safetensors"), "--size",
                "96x64", "--num-frames", "5", "--steps", "10", "-o", folder.path("b.y4m"),
            ] + cached)
        #expect(other.status == 65 && other.errors.contains("found a calibration of wan-mini"), "\(other.errors)")
        #expect(!FileManager.default.fileExists(atPath: folder.path("b.y4m")))
    }

    /// The same name and shape with other values: another model.
    @Test func aCalibrationServesItsWeightsAlone() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        let file = folder.path("tiny.json")
        func run(_ command: String, _ output: String, _ more: [String] = []) throws -> CommandRun.Result {
            try CommandRun.run(
                [
                    command, "--model", folder.path("model"), "--prompt-embedding", folder.path("a.safetensors"),
                    "--size", "64x64", "--num-frames", "5", "--steps", "8", "--seed", "5", "-o", output,
                ] + more)
        }
        #expect(try run("calibrate", file).status == 0)
        let cached = ["--cache", "magcache", "--cache-calibration", file, "--dry-run"]
        #expect(try run("render", folder.path("a.y4m"), cached).status == 0)
        let weights = folder.path("model/transformer/diffusion_pytorch_model.safetensors")
        let reader = try SafetensorsReader(weights)
        var tensors: [String: Tensor] = [:]
        for name in reader.names { tensors[name] = try reader.tensor(name).copy() }
        tensors["proj_out.bias"]?.withMutableFloats { $0[0] += 1 }
        try SafetensorsWriter.write(tensors, metadata: reader.metadata, to: weights, existing: .replace)
        let other = try run("render", folder.path("a.y4m"), cached)
        #expect(other.status == 65 && other.errors.contains("found a calibration of weights "), "\(other.errors)")
    }

    @Test func theSampleModelHasATableOfItsOwn() throws {
        let folder = try TemporaryDirectory()
        for cache in ["magcache", "teacache"] {
            let plan = try CommandRun.run(
                smallRender(folder.path("a.y4m"), steps: 20, "--cache", cache, "--cache-budget", "0.6", "--dry-run"))
            #expect(plan.status == 0, "\(plan.errors)")
            #expect(plan.output.contains(" % of the calls computed"), "\(plan.output)")
        }
    }

    // MARK: Interruption

    /// Three computed steps, then every fourth: all states that are saved end in a reused call.
    @Test(arguments: [
        ["magcache", "threshold=1000", "most-skips=3", "table=wan2.1-t2v-1.3b"],
        ["fbcache", "threshold=1000", "most-skips=3"], ["taylorseer", "interval=4", "order=1"], ["pab", "interval=4"],
        ["pab", "interval=4", "cross-interval=4", "order=1"],
    ])
    func killedAtAReusedStepItGoesOnToTheSameBytes(_ cache: [String]) throws {
        let folder = try TemporaryDirectory()
        func render(_ name: String) -> [String] {
            smallRender(
                folder.path(name), steps: 24, "--seed", "5", "--checkpoint-every", "6", "-q", "--cache", cache[0])
                + cache.dropFirst().flatMap { ["--cache-option", $0] } + Self.allOut
        }
        #expect(try CommandRun.run(render("whole.y4m")).status == 0)
        let state = try stateOfKilled(render("a.y4m"), folder.path("a.y4m"))
        let resumed = try CommandRun.run(render("a.y4m") + ["--resume"])
        #expect(resumed.status == 0, "\(resumed.errors)")
        #expect(try bytes(folder.path("a.y4m")) == bytes(folder.path("whole.y4m")))
        let records = try ["a", "whole"].map { try RunRecord(path: folder.path("\($0).y4m.json")) }
        #expect(records[0].caching == records[1].caching)
        #expect(records[0].resumedSteps == state.completed && records[1].resumedSteps == nil)
        let last = try #require(records[1].caching).calls.filter { $0.step == state.completed - 1 }
        #expect(!last.isEmpty && last.allSatisfy { $0.outcome != .computed })
    }

    // MARK: Work

    /// What is planned, computed and recorded is one number.
    @Test(arguments: [
        (cache: "taylorseer", method: "dense"), ("taylorseer", "radial"), ("fbcache", "dense"), ("pab", "radial"),
        ("deepcache", "dense"), ("guidance", "dense"),
    ])
    func workCountsWhatACacheLeavesOut(_ cache: String, _ method: String) throws {
        let folder = try TemporaryDirectory()
        let options = method == "dense" ? [:] : ["dense-steps": "3", "block": "16", "decay": "0.2"]
        var job = RenderJob.sample(in: folder, width: 96, height: 64, method, options)
        job.request.numFrames = 17
        job.request.steps = 12
        job.request.cache = cache
        job.request.cacheOptions = ["first-steps": "3"]
        job.request.cacheBudget = 0.75
        let renderer = try Renderer(job)
        let (estimate, layers) = (renderer.estimate, renderer.plan.model.transformer.layers)
        let record = try renderer.run()
        let (attention, caching) = (try #require(record.attention), try #require(record.caching))
        #expect(caching.computedCalls <= 18 && caching.computedCalls >= 14)
        let computed = Double(caching.computedCalls) / 24
        // Of a call that is left out the first block runs, the first and the last, or all but attention.
        let outer = ["fbcache": 1, "deepcache": 2][cache].map { Double($0) / Double(layers) } ?? 0
        let other = cache == "pab" ? 1 : computed + (1 - computed) * outer
        #expect(abs((caching.work ?? 0) - other) < 1e-9)
        #expect(abs((caching.flopsSaved ?? -1) - (1 - other) * 24 * estimate.otherFLOPs) <= 1e-6 * estimate.totalFLOPs)
        let work = try #require(attention.work)
        if method == "dense" {
            #expect(abs(work - (cache == "pab" ? computed : other)) < 1e-9)
        } else {
            #expect(work < computed)
        }
        let saved = (1 - work) * estimate.selfAttentionFLOPs * 24
        #expect(abs((attention.flopsSaved ?? 0) - saved) < 1e-6 * saved)
        if cache == "fbcache" {
            #expect(estimate.isUpperBound && estimate.attention.share >= work - 1e-9)
            #expect(estimate.computedCalls >= 24 * other - 1e-9)
        } else {
            #expect(abs(estimate.attention.share - work) < 1e-9 && abs(estimate.computedCalls - 24 * other) < 1e-9)
        }
        let total = estimate.totalFLOPs(attentionWork: work, otherWork: other)
        #expect(total <= estimate.totalFLOPs * (1 + 1e-9))
        #expect(total < estimate.totalFLOPs(attentionWork: 1, otherWork: 1))
    }

    @Test func aComparisonCountsAllWorkOfAPair() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        var job = ComparisonJob(
            model: folder.path("model"), prompts: [.embedding(folder.path("a.safetensors"))],
            methods: ["radial@0.8", "taylorseer@0.75", "radial@0.8+taylorseer@0.75"], directory: folder.path("report"))
        (job.request.width, job.request.height, job.request.numFrames) = (128, 128, 9)
        (job.request.steps, job.request.threads) = (8, 2)
        job.options = [
            try ComparisonOption(parsing: "radial.dense-steps=2"),
            try ComparisonOption(parsing: "radial.dense-layers=0"),
        ]
        let results = try Comparison(job).run()
        let (radial, cache, pair) = (results.variants[1], results.variants[2], results.variants[3])
        #expect(abs(cache.attentionFlopsSaved - 0.25) < 1e-9 && abs(cache.flopsSaved - 0.25) < 1e-9)
        #expect(radial.flopsSaved > 0 && radial.flopsSaved < radial.attentionFlopsSaved)
        #expect(pair.attentionFlopsSaved > max(radial.attentionFlopsSaved, cache.attentionFlopsSaved))
        #expect(pair.flopsSaved > max(radial.flopsSaved, cache.flopsSaved))
        #expect(results.table.header.contains("FLOPs saved") && results.table.rows[2].contains("25.0 %"))
        #expect(results.renderTable.rows[2].contains("0.25"))
        let page = try String(contentsOfFile: folder.path("report/report.html"), encoding: .utf8)
        #expect(page.contains("work of the transformer (% of dense)"))
        // A method and its pair have one colour, discs and rings; the cache alone has another.
        for mark in ["mark c0", "ring c0", "mark c1"] { #expect(page.contains("<circle class=\"\(mark)\""), "\(mark)") }
        #expect(!page.contains("c2\"") && page.contains("of a single run"))
    }
}
