import VditFiles
import VditMedia
import VditPipeline

/// One render of a comparison and what is to be found of it: a row.
struct ComparisonCell {
    let variant: ComparisonVariant
    let render: PlannedJob
    /// With the dense render of the same noise; nil for that one.
    let measurement: PlannedJob?

    /// In the order in which they are done.
    var jobs: [PlannedJob] { [render] + [measurement].compactMap { $0 } }

    /// - Parameters:
    ///   - stem: of its files in the report's folder of clips, and its job's id.
    ///   - position: of the render among all jobs; its measurement is the next.
    ///   - dense: the job to compare it with; nil for that one.
    init(
        _ variant: ComparisonVariant, _ renderer: Renderer, stem: String, in directory: String, position: Int,
        dense: PlannedJob?
    ) throws {
        self.variant = variant
        var job = renderer.job
        var identity = renderer.identity
        // The embeddings may be encoded, or not yet.
        for (name, digest) in renderer.prompts.textDigests { identity["\(name)_embedding"] = digest }
        let fingerprint = Self.digest(
            identity.map { "\($0)=\($1)" }.sorted()
                + renderer.model.files.map { "\($0.name) \($0.bytes) \($0.headerSha256)" } + ["clip=\(stem)"])
        job.fingerprint = fingerprint
        var render = PlannedJob(
            id: stem, needs: [], position: position, work: .render(job, renderer.plan), fingerprint: fingerprint,
            overwrite: true)
        measurement = dense.map { dense in
            PlannedJob(
                id: stem + "/quality", needs: [dense.id, stem], position: position + 1,
                work: .comparison(
                    PlannedComparison(
                        name: variant.label, reference: .init(variant: "dense", job: dense.id, path: dense.output),
                        candidates: [.init(variant: variant.label, job: stem, path: render.output)],
                        length: .refuse, minPSNR: nil, threads: renderer.settings.threads,
                        output: "\(directory)/\(ReportFolder.clips)/\(stem).quality.json", csv: nil,
                        trajectories: [dense.trajectory, render.trajectory].compactMap { $0 })),
                fingerprint: Self.digest(["comparison", "dense=\(dense.fingerprint)", "clip=\(fingerprint)"]),
                overwrite: true)
        }
        render.comparedIn = measurement.map { ($0.output, $0.fingerprint) }
        self.render = render
    }

    /// The same in every folder: a report may be moved and gone on with.
    private static func digest(_ lines: [String]) -> String {
        Digest.sha256(Array(lines.joined(separator: "\n").utf8))
    }

    var prompt: String { render.renderJob.map { Comparison.name(of: $0.prompt) } ?? "" }
    var seed: Int { render.render?.settings.seed ?? 0 }
    var title: String { "\(prompt), seed \(seed), \(variant.label)" }

    /// What an earlier run found, if it found it by these very jobs and their files are still there.
    func finishedRow() -> ComparisonRow? {
        jobs.allSatisfy { $0.finished() != nil } ? try? row() : nil
    }

    /// What its jobs found, which must be done.
    func row() throws -> ComparisonRow {
        let record = try RunRecord(path: RunRecord.path(forOutput: render.output))
        let measured = try measurement.flatMap { try FileComparison(path: $0.output).candidates.first }
        let attention = record.attention
        return ComparisonRow(
            fingerprint: (measurement ?? render).fingerprint, prompt: prompt, promptText: record.inputs.prompt,
            seed: seed, variant: variant, clip: "\(ReportFolder.clips)/\(FilePath.name(of: render.output))",
            clipSha256: record.output.sha256 ?? "", latentsSha256: record.latentsSha256,
            density: attention?.densityMean, work: attention?.work ?? 1,
            otherWork: record.caching?.work ?? 1, sparseCalls: attention?.sparseCalls ?? 0,
            denseCalls: attention?.denseCalls ?? 0,
            seconds: record.timingS.perStep.mean.map { $0 * Double(render.steps) },
            planningSeconds: attention?.planningSeconds ?? 0, attentionSeconds: attention?.attentionSeconds ?? 0,
            peakRssBytes: record.peakRssBytes, resumedSteps: record.resumedSteps, quality: measured?.quality,
            latents: measured?.latents?.last, steps: measured?.latents)
    }
}
