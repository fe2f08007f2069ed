import Foundation
import TestSupport
import Testing
import VDiT

/// `vdit compare --model` on the smallest model there is: 3 latent frames of 8x8 tokens.
@Suite struct CompareMethodsTests {
    private static func job(_ folder: TemporaryDirectory) throws -> ComparisonJob {
        try TinyModel.write(to: folder)
        var job = ComparisonJob(
            model: folder.path("model"),
            prompts: [.embedding(folder.path("a.safetensors")), .embedding(folder.path("b.safetensors"))],
            methods: ["dense", "radial@0.764", "draft@0.8"], directory: folder.path("report"))
        job.negativePrompt = .embedding(folder.path("empty.safetensors"))
        job.request.width = 128
        job.request.height = 128
        job.request.numFrames = 9
        job.request.steps = 3
        job.request.threads = 2
        job.options = [
            try ComparisonOption(parsing: "dense-steps=1"), try ComparisonOption(parsing: "dense-layers=0"),
        ]
        return job
    }

    /// One comparison for all that is read from a report.
    static let finished: Result<(TemporaryDirectory, ComparisonResults), any Error> = Result {
        let folder = try TemporaryDirectory()
        return (folder, try Comparison(try job(folder)).run())
    }

    @Test func aComparisonLeavesTheWholeReport() throws {
        let (folder, results) = try Self.finished.get()
        #expect(results.clips.count == 2 && results.variants.map(\.label) == ["dense", "radial 0.764", "draft 0.8"])
        for row in results.variants.dropFirst() {
            let density = try #require(row.density)
            #expect(abs(density - 0.8) < 0.1)
            // One of three steps is dense.
            #expect(abs(row.attentionFlopsSaved - 2 * (1 - density) / 3) < 1e-6)
            #expect((row.psnr ?? 0) > 5 && (row.ssim ?? 0) > 0.1 && (row.latentCosine ?? 0) > 0.5)
            #expect((row.seconds ?? 0) > 0 && (row.speedRatio ?? 0) > 0)
        }
        for clip in results.clips {
            #expect(clip.rows.count == 3)
            for row in clip.rows.dropFirst() {
                let steps = try #require(row.steps)
                // The dense step is the same, and the divergence begins with the first sparse one.
                #expect(steps.count == 3 && steps[0].relativeError == 0 && steps[1].relativeError > 0)
                #expect(row.quality?.perFrame.count == 9)
            }
            let video = try FFmpegReader(folder.path("report/\(clip.name).mp4"))
            var frames = 0
            while try video.next() != nil { frames += 1 }
            #expect(frames == 9)
        }
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path("report"))
        #expect(Set(names).isSuperset(of: ["report.html", "results.json", "results.csv", "clips", "pictures"]))
        // Of each clip a sheet, a strip of every render, and the differences of those that are not dense.
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("report/pictures")).count == 12)
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let stored = try decoder.decode(
            ComparisonResults.self, from: Data(contentsOf: URL(fileURLWithPath: folder.path("report/results.json"))))
        #expect(stored == results)
        #expect(results.markdown.hasPrefix("| method | density |"))
        #expect(results.markdown.contains("| radial 0.764 |"))
    }

    @Test func theMeasuredFramesAreTheStoredOnes() throws {
        let (folder, results) = try Self.finished.get()
        let rows = results.clips[0].rows
        let files = try FileComparison(
            reference: folder.path("report/\(rows[0].clip)"), candidates: [folder.path("report/\(rows[1].clip)")])
        #expect(files.candidates[0].quality == rows[1].quality)
        #expect(files.candidates[0].warnings == [])
    }

    @Test func everyFinishedClipIsReportedAtOnceAndTheReportSaysWhatIsMissing() throws {
        let folder = try TemporaryDirectory()
        let job = try Self.job(folder)
        let stop = StopFlag()
        func stored() throws -> ComparisonResults {
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            return try decoder.decode(
                ComparisonResults.self, from: Data(contentsOf: URL(fileURLWithPath: folder.path("report/results.json"))))
        }
        func page() throws -> String { try String(contentsOfFile: folder.path("report/report.html"), encoding: .utf8) }
        var finished = 0
        #expect(throws: PipelineError.self) {
            try Comparison(job).run(stop: stop) { event in
                if case .finished = event { finished += 1 }
                if case .render(.step(1, _, _)) = event, finished == 4 { stop.requestStop() }
            }
        }
        let partial = try stored()
        #expect(partial.rendersLeft == 3 && partial.clips.map(\.prompt) == ["a"] && partial.variants.allSatisfy { $0.clips == 1 })
        #expect(try page().contains("Incomplete: 3 renders are not made yet"))
        let results = try Comparison(job).run()
        #expect(try stored() == results && results.rendersLeft == 0 && results.clips.count == 2)
        #expect(try !page().contains("Incomplete"))
        let (_, undisturbed) = try Self.finished.get()
        #expect(results.clips[0].rows.map(\.quality) == undisturbed.clips[0].rows.map(\.quality))
    }

    @Test func anInterruptedComparisonContinuesWhereItStopped() throws {
        let folder = try TemporaryDirectory()
        var job = try Self.job(folder)
        job.prompts.removeLast()
        let stop = StopFlag()
        var begun: [String] = []
        #expect(throws: PipelineError.self) {
            try Comparison(job).run(stop: stop) { event in
                if case .begins(let title, _, _) = event { begun.append(title) }
                if case .render(.step(2, _, _)) = event, begun.count == 2 { stop.requestStop() }
            }
        }
        #expect(begun == ["a, seed 1, dense", "a, seed 1, radial 0.764"])
        #expect(try Comparison(job).renders == (3, 1))
        var kept: [String] = []
        var resumedAt: [Int] = []
        let results = try Comparison(job).run { event in
            if case .kept(let title, _, _) = event { kept.append(title) }
            if case .render(.resumed(let step, _)) = event { resumedAt.append(step) }
        }
        #expect(kept == ["a, seed 1, dense"] && resumedAt == [2])
        #expect(results.clips[0].rows.map(\.resumedSteps) == [nil, 2, nil])
        let (_, undisturbed) = try Self.finished.get()
        for (row, expected) in zip(results.clips[0].rows, undisturbed.clips[0].rows) {
            #expect(row.latentsSha256 == expected.latentsSha256)
            #expect(row.quality == expected.quality && row.steps == expected.steps)
        }
        // Nothing is rendered twice, whatever else changes.
        var again: [String] = []
        _ = try Comparison(job).run { if case .begins(let title, _, _) = $0 { again.append(title) } }
        #expect(again == [])
        job.methods.append("svg2")
        job.densities = [0.8, 1]
        #expect(try Comparison(job).renders.finished == 3)
        job.request.steps = 4
        #expect(try Comparison(job).renders.finished == 0)
    }

    @Test func oneComparisonWorksInAFolderAndRemovesWhatAKilledOneLeft() throws {
        let folder = try TemporaryDirectory()
        var job = try Self.job(folder)
        job.prompts.removeLast()
        job.methods = ["draft"]
        let comparison = try Comparison(job)
        let left = try folder.write("half", "report/clips/a-seed1-dense.steps/.step_000.safetensors.4711.part")
        let descriptor = open(folder.path("report"), O_RDONLY)
        #expect(flock(descriptor, LOCK_EX | LOCK_NB) == 0)
        let error = #expect(throws: BatchError.self) { try comparison.run() }
        #expect(error?.kind == .temporary)
        #expect(FileManager.default.fileExists(atPath: left))
        close(descriptor)
        _ = try comparison.run()
        #expect(!FileManager.default.fileExists(atPath: left))
    }

    @Test func aDamagedClipIsMadeAgain() throws {
        let folder = try TemporaryDirectory()
        var job = try Self.job(folder)
        job.prompts.removeLast()
        job.methods = ["radial@0.764"]
        let first = try Comparison(job).run()
        let clip = folder.path("report/\(first.clips[0].rows[1].clip)")
        try Data([1, 2, 3]).write(to: URL(fileURLWithPath: clip))
        #expect(try Comparison(job).renders == (2, 1))
        let second = try Comparison(job).run()
        #expect(second.clips[0].rows[1].quality == first.clips[0].rows[1].quality)
    }

    @Test func whatIsLostIsMadeAgainAndNothingElse() throws {
        let folder = try TemporaryDirectory()
        var job = try Self.job(folder)
        job.prompts.removeLast()
        job.methods = ["radial@0.764"]
        let first = try Comparison(job).run()
        func begun() throws -> [String] {
            var begun: [String] = []
            let results = try Comparison(job).run { if case .begins(let title, _, _) = $0 { begun.append(title) } }
            for (row, expected) in zip(results.clips[0].rows, first.clips[0].rows) {
                #expect(row.clipSha256 == expected.clipSha256 && row.fingerprint == expected.fingerprint)
                #expect(row.quality == expected.quality && row.steps == expected.steps)
            }
            return begun
        }
        let remove = { try FileManager.default.removeItem(atPath: folder.path("report/\($0 as String)")) }
        try remove("comparison.sqlite")
        #expect(try begun() == [] && Comparison(job).run().clips == first.clips)
        // The latents it is made of are gone once it is done.
        try remove("clips/a-seed1-radial-0.764-dense-layers0-dense-steps1.quality.json")
        #expect(try begun() == ["a, seed 1, radial 0.764"])
        // The variant is as far from the dense render as it was.
        try remove("clips/a-seed1-dense.steps")
        #expect(try begun() == ["a, seed 1, dense"])
        #expect(try begun() == [])
    }

    @Test func aDensityOutOfReachBecomesTheNearestAndIsSaid() throws {
        let folder = try TemporaryDirectory()
        var job = try Self.job(folder)
        job.methods = ["radial"]
        job.densities = [1, 0.8, 0.01]
        let comparison = try Comparison(job)
        for density in [0.8, 0.01] {
            #expect(comparison.notices.contains { $0.contains("radial cannot reach density \(density) at this size") })
        }
        // Both are nearest to the same.
        #expect(comparison.variants.map(\.label) == ["dense", "radial 1.0", "radial 0.764"])
    }

    @Test func theReportIsOneFileThatNeedsNoNetwork() throws {
        let (folder, results) = try Self.finished.get()
        let page = try String(contentsOfFile: folder.path("report/report.html"), encoding: .utf8)
        for forbidden in ["http://", "https://", "<script", "<link", "@import", "url("] {
            #expect(!page.contains(forbidden), "\(forbidden)")
        }
        for needed in [
            "width=device-width", "prefers-color-scheme:dark", "data:image/png;base64,", "<svg", "PSNR (dB)",
            "relative error (log scale)", "self-attention computed (% of dense)", "a-seed1.mp4", "draft 0.8",
        ] { #expect(page.contains(needed), "\(needed)") }
        #expect(page.components(separatedBy: "<tr>").count == results.variants.count + 2)
        #expect(page.contains(processorName))
        // Every variant has its name and its spread in both charts of quality against cost.
        let sparse = results.variants.dropFirst()
        #expect(page.components(separatedBy: "<text class=\"note").count == 2 * sparse.count + 1)
        #expect(page.components(separatedBy: "<line class=\"spread").count > 2 * sparse.count)
        #expect(page.components(separatedBy: "<section class=\"clip\">").count == 3)
        #expect(try unclosedElements(page) == [])
    }

    /// Names of elements that are opened and not closed, or closed and not open.
    private func unclosedElements(_ page: String) throws -> [String] {
        let empty: Set<String> = ["meta", "img", "br", "line", "circle"]
        var open: [String] = []
        var wrong: [String] = []
        let tag = try Regex(#"<(/?)([a-z][a-z0-9]*)([^>]*)>"#)
        for match in page.matches(of: tag) {
            let name = String(match.output[2].substring ?? "")
            let attributes = match.output[3].substring ?? ""
            if empty.contains(name) || attributes.hasSuffix("/") { continue }
            if match.output[1].substring == "/" {
                if open.last == name { open.removeLast() } else { wrong.append("/" + name) }
            } else {
                open.append(name)
            }
        }
        return wrong + open
    }
}
