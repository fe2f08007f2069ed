import VditAttention
import VditFiles
import VditMedia
import VditModels
import VditPipeline
import VditTensor

/// Sparse methods against dense attention on the same noise.
///
/// `init` checks every render there will be and computes nothing. What there is to do is jobs as a pipeline file has
/// them: of every prompt and seed a dense render, a render of each variant, and after it a comparison of the two, of
/// decoded frames (stored losslessly) and of latents. `run` lets `Batch` do them and leaves the report.
public struct Comparison {
    public let job: ComparisonJob
    public let variants: [ComparisonVariant]
    /// What a person should know before the run.
    public private(set) var notices: [String]
    /// The dense render of the first prompt: its settings and its cost.
    public let first: Renderer
    /// One for every render: prompt by prompt, seed by seed, dense before the variants.
    let cells: [ComparisonCell]
    let folder: ReportFolder
    /// By the names of their methods.
    let tables: [String: String]
    let book: PromptBook

    /// - Throws: an error that conforms to `Failure`, before anything is computed. Densities a method cannot
    ///   reach are replaced by the nearest it can, which is a notice.
    ///
    /// - Parameter book: where prompts in words are noted and, by `run`, encoded.
    public init(_ job: ComparisonJob, _ book: PromptBook = PromptBook()) throws {
        self.job = job
        self.book = book
        try Self.check(job)
        tables = try job.tablesByMethod()
        let asked = try job.variants(tables)
        let model = try ModelDirectory(job.model).adapted(by: job.adapters)
        folder = try ReportFolder(job.directory)
        do {
            (variants, notices) = try Self.reachable(asked, job, model)
            (cells, first) = try Self.plan(job, variants, tables, model, book)
        } catch {
            folder.removeIfEmpty()
            throw error
        }
        for notice in first.notices where !notices.contains(notice) { notices.append(notice) }
    }

    /// Removes the folder `init` made, as far as nothing is in it.
    public func removeEmptyFolder() { folder.removeIfEmpty() }

    /// Renders there are, and how many of them an earlier run finished.
    public var renders: (all: Int, finished: Int) {
        (cells.count, cells.count { $0.finishedRow() != nil })
    }

    // MARK: Checking

    private static func check(_ job: ComparisonJob) throws(BatchError) {
        func refuse(_ what: String, _ found: String, _ expected: String) -> BatchError {
            .invalid(what, found: found, expected: expected, kind: .usage)
        }
        if job.prompts.isEmpty { throw refuse("prompts", "none", "at least one") }
        if job.seeds.isEmpty { throw refuse("seeds", "none", "at least one") }
        if Set(job.seeds).count != job.seeds.count {
            throw refuse("seeds", "one twice", "each once")
        }
        let names = job.prompts.map(name(of:))
        if let twice = names.first(where: { name in names.count { $0 == name } > 1 }) {
            throw refuse("prompts", "two named \(twice)", "different names")
        }
    }

    /// Every variant once, at a density its method can reach in this layout, and a notice of each that is another
    /// than was asked for.
    private static func reachable(
        _ asked: [ComparisonVariant], _ job: ComparisonJob, _ model: ModelDirectory
    ) throws -> ([ComparisonVariant], notices: [String]) {
        var variants: [ComparisonVariant] = []
        var notices: [String] = []
        for variant in asked {
            let nearest = try nearest(variant, job, model)
            if nearest != variant {
                notices.append(
                    "\(variant.method.name) cannot reach density \(variant.method.density ?? 1) at this size; "
                        + "\(nearest.label) is compared instead")
            }
            if !variants.contains(nearest) { variants.append(nearest) }
        }
        return (variants, notices)
    }

    private static func nearest(
        _ variant: ComparisonVariant, _ job: ComparisonJob, _ model: ModelDirectory
    ) throws -> ComparisonVariant {
        func plan(_ variant: ComparisonVariant) throws {
            var request = job.request
            request.seed = job.seeds.first
            request.choose(variant.method)
            request.choose(variant.cache)
            _ = try RenderPlan(
                request, model: model.specification, sampler: model.scheduler, fallback: job.fallback)
        }
        do {
            try plan(variant)
            return variant
        } catch AttentionError.unreachableDensity(let density, _, let range) {
            // A bound is a measured density: the solver may need a little room to meet it again.
            let inward = density < range.lowerBound ? 1.0 : -1.0
            let bound = density < range.lowerBound ? range.lowerBound : range.upperBound
            for room in [0, 0.001, 0.005] {
                let nearest = ComparisonVariant(
                    try variant.method.at(density: bound + inward * room), cache: variant.cache)
                if (try? plan(nearest)) != nil { return nearest }
            }
            throw AttentionError.unreachableDensity(density, method: variant.method.name, reachable: range)
        }
    }

    // MARK: Planning

    private static func plan(
        _ job: ComparisonJob, _ variants: [ComparisonVariant], _ tables: [String: String], _ model: ModelDirectory,
        _ book: PromptBook
    ) throws -> ([ComparisonCell], first: Renderer) {
        var cells: [ComparisonCell] = []
        var first: Renderer?
        for prompt in job.prompts {
            for seed in job.seeds {
                var dense: PlannedJob?
                for variant in variants {
                    let stem = "\(name(of: prompt))-seed\(seed)-\(variant.fileName)"
                    let renderer = try renderer(
                        variant, job, tables[variant.method.name], prompt, seed, stem, model, book)
                    let cell = try ComparisonCell(
                        variant, renderer, stem: stem, in: job.directory, position: 2 * cells.count, dense: dense)
                    first = first ?? renderer
                    dense = dense ?? cell.render
                    cells.append(cell)
                }
            }
        }
        guard let first else { preconditionFailure("prompts, seeds and variants were checked") }
        return (cells, first)
    }

    private static func renderer(
        _ variant: ComparisonVariant, _ job: ComparisonJob, _ table: String?, _ prompt: PromptSource, _ seed: Int,
        _ stem: String, _ model: ModelDirectory, _ book: PromptBook
    ) throws -> Renderer {
        let base = "\(job.directory)/\(ReportFolder.clips)/\(stem)"
        var options = VideoOptions(frameRate: try FrameRate(16))
        options.codec = .ffv1
        options.existing = .replace
        options.threads = job.request.threads ?? 1
        var render = RenderJob(
            model: "", prompt: prompt, destination: VideoDestination(path: base + ".mkv", options: options))
        render.model = job.model
        render.negativePrompt = job.negativePrompt
        render.textEncoder = job.textEncoder
        render.adapters = job.adapters
        render.sparseTable = table
        render.request = job.request
        render.request.seed = seed
        render.request.choose(variant.method)
        render.request.choose(variant.cache)
        render.saveLatents = base + ".latents.safetensors"
        render.saveTrajectory = base + ".steps"
        render.trajectoryContent = .latents
        render.fallback = job.fallback
        render.memoryLimit = job.memoryLimit
        render.command = job.command
        return try Renderer(render, model: model, book, encodes: false)
    }

    static func name(of prompt: PromptSource) -> String {
        var name = String(prompt.name.map { $0.isLetter || $0.isNumber || "-_".contains($0) ? $0 : "-" })
        // Names of files end at 255 bytes, and more than this stands in them.
        while prompt.path == nil, name.utf8.count > 80 { name.removeLast() }
        return name
    }
}

extension ComparisonVariant {
    /// Differs for variants that differ.
    fileprivate var fileName: String {
        let all = [label] + [method.options, cache?.options ?? [:]].flatMap { options in
            options.sorted { $0.key < $1.key }.map { "\($0.key)\($0.value)" }
        }
        return String(
            all.joined(separator: "-").map { $0.isLetter || $0.isNumber || ".-_".contains($0) ? $0 : "-" }.prefix(120))
    }
}
