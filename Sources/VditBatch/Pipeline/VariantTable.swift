import VditFiles

/// What the comparisons of a batch found, per variant: means over the clips that were compared.
public struct VariantTable: Sendable, Encodable, Equatable {
    /// One variant of one comparison; the reference comes first.
    public struct Row: Sendable, Encodable, Equatable {
        public var comparison: String
        public var variant: String
        public var isReference: Bool
        public var clips: Int
        /// Of the sparse calls, in token pairs; null for dense and for files from elsewhere.
        @Nullable public var density: Double?
        /// Token pairs computed over those of dense attention, dense steps and layers included.
        @Nullable public var work: Double?
        /// Of the denoising loop.
        @Nullable public var seconds: Double?
        /// Seconds of the reference over its own, all clips together that both were timed on.
        @Nullable public var speedRatio: Double?
        /// Over the clips that are not identical to their reference; null if all are.
        @Nullable public var psnr: Double?
        @Nullable public var psnrLowestClip: Double?
        @Nullable public var ssim: Double?
    }

    public let rows: [Row]

    /// - Parameter jobs: of a batch; comparisons that have not run yet are not in the table.
    public init(_ jobs: [JobStatus]) {
        let renders = Dictionary(jobs.map { ($0.id, $0) }, uniquingKeysWith: { a, _ in a })
        func render(_ clip: PlannedComparison.Clip) -> JobStatus? { clip.job.flatMap { renders[$0] } }
        func seconds(_ clip: PlannedComparison.Clip) -> Double? {
            render(clip).flatMap { job in job.metrics?.stepSeconds.map { $0 * Double(job.steps) } }
        }
        let measured = jobs.compactMap { $0.metrics?.comparison }
        var rows: [Row] = []
        func add(
            _ comparison: String, _ variant: String, _ clips: [PlannedComparison.Clip],
            _ found: [(candidate: MeasuredClips.Candidate, reference: PlannedComparison.Clip)]
        ) {
            let metrics = clips.compactMap { render($0)?.metrics }
            let timed = found.compactMap { pair in
                seconds(pair.candidate.clip).flatMap { own in seconds(pair.reference).map { (own: own, other: $0) } }
            }
            let own = timed.reduce(0) { $0 + $1.own }
            let psnr = found.compactMap(\.candidate.psnr)
            rows.append(
                Row(
                    comparison: comparison, variant: variant, isReference: found.isEmpty, clips: clips.count,
                    density: metrics.compactMap(\.density).mean, work: metrics.compactMap(\.work).mean,
                    seconds: clips.compactMap(seconds).mean,
                    speedRatio: own > 0 ? timed.reduce(0) { $0 + $1.other } / own : nil, psnr: psnr.mean,
                    psnrLowestClip: psnr.min(), ssim: found.compactMap(\.candidate.ssim).mean))
        }
        for name in measured.map(\.name).uniqued {
            let own = measured.filter { $0.name == name }
            for variant in own.map(\.reference.variant).uniqued {
                let clips = own.map(\.reference).filter { $0.variant == variant }.uniqued
                add(name, variant, clips, [])
            }
            let pairs = own.flatMap { found in found.candidates.map { (candidate: $0, reference: found.reference) } }
            for variant in pairs.map(\.candidate.clip.variant).uniqued {
                let found = pairs.filter { $0.candidate.clip.variant == variant }
                add(name, variant, found.map(\.candidate.clip), found)
            }
        }
        self.rows = rows
    }

    /// Rounded, for people.
    public var table: ComparisonTable {
        table(
            header: ["variant", "clips", "density", "work", "seconds", "speed", "PSNR dB", "lowest dB", "SSIM"]
        ) { row in
            [
                row.density.map { fixed($0, 3) } ?? "-", row.work.map { fixed($0, 3) } ?? "-",
                row.seconds.map { fixed($0, $0 < 10 ? 2 : 1) } ?? "-",
                row.speedRatio.map { fixed($0, 2) + " ×" } ?? "-",
            ] + (row.isReference ? ["-", "-", "-"] : [decibels(row.psnr), decibels(row.psnrLowestClip), similarity(row.ssim)])
        }
    }

    /// Every digit; infinite ratios are `inf`, missing numbers empty.
    public var exact: ComparisonTable {
        func text(_ value: Double?, _ missing: String = "") -> String { value.map { "\($0)" } ?? missing }
        return table(
            header: [
                "variant", "clips", "density", "work", "seconds", "speed_ratio", "psnr_db", "psnr_lowest_clip_db", "ssim",
            ]
        ) { row in
            let infinite = row.isReference ? "" : "inf"
            return [
                text(row.density), text(row.work), text(row.seconds), text(row.speedRatio), text(row.psnr, infinite),
                text(row.psnrLowestClip, infinite), text(row.ssim),
            ]
        }
    }

    /// The comparison's name is a column where there are several.
    private func table(header: [String], _ cells: (Row) -> [String]) -> ComparisonTable {
        let isNamed = Set(rows.map(\.comparison)).count > 1
        return ComparisonTable(
            header: (isNamed ? ["comparison"] : []) + header,
            rows: rows.map { (isNamed ? [$0.comparison] : []) + [$0.variant, "\($0.clips)"] + cells($0) })
    }

    /// The file `table:` asks for: Markdown, or CSV by its ending.
    public func text(for path: String) -> String { path.hasSuffix(".csv") ? exact.csv : table.markdown }
}
