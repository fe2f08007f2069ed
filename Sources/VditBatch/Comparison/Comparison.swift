import Foundation
import VditAttention
import VditFiles
import VditMedia
import VditPipeline
import VditTensor

/// Sparse methods against dense attention on the same noise.
///
/// `init` checks every render there will be and computes nothing. `run` renders dense once per prompt and
/// seed and each variant after it, measures decoded frames (stored losslessly) and latents, and leaves the
/// report. What is finished stays finished: the same call after an interruption continues where it stopped.
public struct Comparison {
    public let job: ComparisonJob
    public let variants: [ComparisonVariant]
    /// What a person should know before the run.
    public private(set) var notices: [String]
    let cells: [Cell]
    private let folder: ReportFolder

    /// One render.
    struct Cell {
        let renderer: Renderer
        let variant: ComparisonVariant
        /// Position of the dense render of the same noise.
        let reference: Int
        let stem: String
        let fingerprint: String
    }

    /// - Throws: an error that conforms to `Failure`, before anything is computed. Densities a method cannot
    ///   reach are replaced by the nearest it can, which is a notice.
    public init(_ job: ComparisonJob) throws {
        self.job = job
        try Self.check(job)
        let asked = try job.variants()
        let model = try ModelDirectory(path: job.model)
        folder = try ReportFolder(job.directory)
        do {
            (variants, cells, notices) = try Self.plan(job, asked, model)
        } catch {
            folder.removeIfEmpty()
            throw error
        }
        for notice in cells[0].renderer.notices where !notices.contains(notice) { notices.append(notice) }
    }

    /// Removes the folder `init` made, as far as nothing is in it.
    public func removeEmptyFolder() { folder.removeIfEmpty() }

    private static func plan(
        _ job: ComparisonJob, _ asked: [ComparisonVariant], _ model: ModelDirectory
    ) throws -> ([ComparisonVariant], [Cell], notices: [String]) {
        var variants: [ComparisonVariant] = []
        var cells: [Cell] = []
        var notices: [String] = []
        for variant in asked {
            let (reachable, notice) = try reachable(variant, job, model)
            if let notice { notices.append(notice) }
            if !variants.contains(reachable) { variants.append(reachable) }
        }
        for prompt in job.promptEmbeddings {
            for seed in job.seeds {
                let reference = cells.count
                for variant in variants {
                    let stem = "\(name(of: prompt))-seed\(seed)-\(fileName(variant))"
                    let renderer = try renderer(variant, job, prompt, seed, stem, model)
                    let own = digest(renderer.identity)
                    let fingerprint =
                        variant.isDense ? own : digest(["own": own, "dense": cells[reference].fingerprint])
                    cells.append(
                        Cell(
                            renderer: renderer, variant: variant, reference: reference, stem: stem,
                            fingerprint: fingerprint))
                }
            }
        }
        return (variants, cells, notices)
    }

    /// Renders there are, and how many of them an earlier run finished.
    public var renders: (all: Int, finished: Int) {
        (cells.count, cells.count { finishedRow($0) != nil })
    }

    var renderCount: Int { cells.count }

    /// The dense render of the first prompt: its settings and its cost.
    public var first: Renderer { cells[0].renderer }

    // MARK: Checking

    private static func check(_ job: ComparisonJob) throws(BatchError) {
        func refuse(_ what: String, _ found: String, _ expected: String) -> BatchError {
            .invalid(what, found: found, expected: expected, kind: .usage)
        }
        if job.promptEmbeddings.isEmpty { throw refuse("prompt embeddings", "none", "at least one") }
        if job.seeds.isEmpty { throw refuse("seeds", "none", "at least one") }
        if Set(job.seeds).count != job.seeds.count {
            throw refuse("seeds", "one twice", "each once")
        }
        let names = job.promptEmbeddings.map(name(of:))
        if let twice = names.first(where: { name in names.count { $0 == name } > 1 }) {
            throw refuse("prompt embeddings", "two named \(twice)", "files of different names")
        }
    }

    /// The variant at a density its method can reach in this layout.
    private static func reachable(
        _ variant: ComparisonVariant, _ job: ComparisonJob, _ model: ModelDirectory
    ) throws -> (ComparisonVariant, notice: String?) {
        func plan(_ variant: ComparisonVariant) throws {
            var request = job.request
            request.seed = job.seeds.first
            variant.apply(to: &request)
            _ = try RenderPlan(
                request, model: model.specification, sampler: model.scheduler, fallback: job.fallback)
        }
        do {
            try plan(variant)
            return (variant, nil)
        } catch AttentionError.unreachableDensity(let density, _, let range) {
            // A bound is a measured density: the solver may need a little room to meet it again.
            let inward = density < range.lowerBound ? 1.0 : -1.0
            let bound = density < range.lowerBound ? range.lowerBound : range.upperBound
            for room in [0, 0.001, 0.005] {
                var nearest = variant
                nearest.density = bound + inward * room
                if (try? plan(nearest)) != nil {
                    let notice = "\(variant.method) cannot reach density \(density) at this size; "
                        + "\(nearest.label) is compared instead"
                    return (nearest, notice)
                }
            }
            throw AttentionError.unreachableDensity(density, method: variant.method, reachable: range)
        }
    }

    private static func renderer(
        _ variant: ComparisonVariant, _ job: ComparisonJob, _ prompt: String, _ seed: Int, _ stem: String,
        _ model: ModelDirectory
    ) throws -> Renderer {
        let base = "\(job.directory)/\(ReportFolder.clips)/\(stem)"
        var options = VideoOptions(frameRate: try FrameRate(16))
        options.codec = .ffv1
        options.existing = .replace
        options.threads = job.request.threads ?? 1
        var render = RenderJob(
            model: job.model, promptEmbedding: prompt,
            destination: VideoDestination(path: base + ".mkv", options: options))
        render.negativePromptEmbedding = job.negativePromptEmbedding
        render.request = job.request
        render.request.seed = seed
        variant.apply(to: &render.request)
        render.saveLatents = base + ".latents.safetensors"
        render.saveTrajectory = base + ".steps"
        render.fallback = job.fallback
        render.memoryLimit = job.memoryLimit
        render.command = job.command
        render.resume = .ifPossible
        do {
            return try Renderer(render, model: model)
        } catch PipelineError.otherRun {
            render.resume = .fresh
            return try Renderer(render, model: model)
        }
    }

    // MARK: Names

    static func name(of path: String) -> String {
        let name = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
        return String(name.map { $0.isLetter || $0.isNumber || "-_".contains($0) ? $0 : "-" })
    }

    /// A name that differs for variants that differ.
    private static func fileName(_ variant: ComparisonVariant) -> String {
        let options = variant.options.sorted { $0.key < $1.key }.map { "\($0.key)\($0.value)" }
        let all = [variant.label] + options
        return String(
            all.joined(separator: "-").map { $0.isLetter || $0.isNumber || ".-_".contains($0) ? $0 : "-" }
                .prefix(120))
    }

    private static func digest(_ values: [String: String]) -> String {
        let lines = values.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)\n" }
        return Digest.sha256(Array(lines.joined().utf8))
    }

    func path(_ cell: Cell, _ ending: String) -> String {
        "\(job.directory)/\(ReportFolder.clips)/\(cell.stem)\(ending)"
    }

    // MARK: Running

    /// Renders what is missing and measures it. The report is written whenever all variants of a prompt and seed are
    /// done, so that there is one of those when the run is interrupted.
    ///
    /// - Parameters:
    ///   - stop: ends the run after saving the state of the render at work.
    ///   - onEvent: called on the calling thread.
    /// - Throws: `PipelineError.cancelled` when `stop` was raised; otherwise an error that conforms to `Failure`.
    public func run(
        stop: StopFlag = StopFlag(), onEvent: (ComparisonEvent) throws -> Void = { _ in }
    ) throws -> ComparisonResults {
        try folder.alone { try work(stop, onEvent) }
    }

    private func work(
        _ stop: StopFlag, _ onEvent: (ComparisonEvent) throws -> Void
    ) throws -> ComparisonResults {
        for notice in notices { try onEvent(.notice(notice)) }
        let pool = WorkPool(threads: first.settings.threads)
        let loaded = try LoadedModel(
            first.model, threads: first.settings.threads, precision: first.settings.precision)
        var report = Report(
            folder: job.directory, frameRate: first.settings.frameRate, threads: first.settings.threads)
        var rows: [ComparisonRow] = []
        var reported: ComparisonResults?
        func write() throws -> ComparisonResults {
            try onEvent(.reporting)
            let results = ComparisonResults(self, rows: rows)
            try report.write(results)
            return results
        }
        for (index, cell) in cells.enumerated() {
            let title = "\(Self.name(of: cell.renderer.job.promptEmbedding)), seed "
                + "\(cell.renderer.settings.seed), \(cell.variant.label)"
            if let row = finishedRow(cell) {
                try onEvent(.kept(title, index: index + 1, of: cells.count))
                rows.append(row)
                reported = nil
                continue
            }
            try onEvent(.begins(title, index: index + 1, of: cells.count))
            let record = try cell.renderer.run(using: loaded, stop: stop) { try onEvent(.render($0)) }
            let row = try measure(cell, record, pool)
            rows.append(row)
            try onEvent(.finished(row))
            reported = rows.count % variants.count == 0 ? try write() : nil
        }
        return try reported ?? write()
    }

    /// What an earlier run found, if it found it for the same render and its files are still there.
    private func finishedRow(_ cell: Cell) -> ComparisonRow? {
        guard let row = try? ComparisonRow(path: path(cell, ".row.json")),
            row.fingerprint == cell.fingerprint,
            (try? Digest.sha256(file: path(cell, ".mkv"))) == row.clipSha256,
            FileManager.default.fileExists(atPath: path(cell, ".latents.safetensors")),
            !cell.variant.isDense || FileManager.default.fileExists(atPath: path(cell, ".steps"))
        else { return nil }
        return row
    }

    private func measure(_ cell: Cell, _ record: RunRecord, _ pool: WorkPool) throws -> ComparisonRow {
        let steps = cell.renderer.settings.steps
        let own = StepLatents(folder: path(cell, ".steps"))
        let seconds = record.timingS.perStep.mean.map { $0 * Double(steps) }
        let attention = record.attention
        var row = ComparisonRow(
            fingerprint: cell.fingerprint, prompt: Self.name(of: cell.renderer.job.promptEmbedding),
            promptText: record.inputs.prompt, seed: cell.renderer.settings.seed, variant: cell.variant,
            clip: "\(ReportFolder.clips)/\(cell.stem).mkv", clipSha256: record.output.sha256 ?? "",
            latentsSha256: record.latentsSha256, density: attention?.densityMean,
            work: attention?.work ?? 1, sparseCalls: attention?.sparseCalls ?? 0,
            denseCalls: attention?.denseCalls ?? 0, seconds: seconds,
            planningSeconds: attention?.planningSeconds ?? 0,
            attentionSeconds: attention?.attentionSeconds ?? 0, peakRssBytes: record.peakRssBytes,
            resumedSteps: record.resumedSteps)
        if cell.variant.isDense {
            try own.compact(steps: steps)
        } else {
            let reference = cells[cell.reference]
            let (found, expected) = (
                try ComparisonClip(path(cell, ".mkv")).frames(depth: .eight),
                try ComparisonClip(path(reference, ".mkv")).frames(depth: .eight)
            )
            var meter = QualityMeter(pool: pool)
            while let frame = try found.next(), let other = try expected.next() {
                try meter.add(frame, reference: other)
            }
            row.quality = meter.quality
            row.steps = try own.distances(
                to: StepLatents(folder: path(reference, ".steps")), steps: steps)
            row.latents = row.steps?.last
            own.remove()
        }
        try row.write(to: path(cell, ".row.json"))
        return row
    }
}

extension ComparisonRow {
    init(path: String) throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        self = try decoder.decode(
            ComparisonRow.self, from: try Data(contentsOf: URL(fileURLWithPath: path)))
    }

    func write(to path: String) throws {
        try AtomicFile.write(try encodedJSON(self), to: path, existing: .replace)
    }
}

/// JSON in snake_case with sorted keys, ending in a line feed.
func encodedJSON(_ value: some Encodable) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return Array(try encoder.encode(value)) + [10]
}
