import Foundation
import VditMedia
import VditPipeline
import VditTensor

/// All a comparison found: `results.json`.
public struct ComparisonResults: Sendable, Codable, Equatable {
    /// One variant over all prompts and seeds.
    public struct Summary: Sendable, Codable, Equatable {
        public var variant: ComparisonVariant
        public var label: String
        public var clips: Int
        /// Of the sparse calls, measured in token pairs; null for dense.
        @Nullable public var density: Double?
        /// Of the whole run, dense steps and layers included, and what that leaves out.
        public var attentionFlops: Double
        public var attentionFlopsSaved: Double
        /// Of all that the transformer computes.
        public var flopsSaved: Double
        /// Mean denoising time of a clip.
        @Nullable public var seconds: Double?
        /// Denoising time of dense over its own, all clips together that both were timed on.
        @Nullable public var speedRatio: Double?
        public var planningSeconds: Double
        public var attentionSeconds: Double
        /// Mean over the clips that are not identical to dense; null if all are.
        @Nullable public var psnr: Double?
        @Nullable public var psnrLowestClip: Double?
        @Nullable public var psnrHighestClip: Double?
        @Nullable public var psnrLowestFrame: Double?
        @Nullable public var ssim: Double?
        @Nullable public var msSsim: Double?
        @Nullable public var changePsnr: Double?
        @Nullable public var latentCosine: Double?
        @Nullable public var latentRelativeError: Double?
    }

    /// One prompt and seed: the dense render first.
    public struct Clip: Sendable, Codable, Equatable {
        public var prompt: String
        @Nullable public var promptText: String?
        public var seed: Int
        public var rows: [ComparisonRow]

        public var name: String { "\(prompt)-seed\(seed)" }
    }

    public var schema = 1
    public var vditVersion: String
    /// UTC, ISO 8601.
    public var created: String
    public var command: [String]
    public var conventions: [String: String]
    public var model: String
    public var family: String
    /// Nil in results of earlier versions.
    public var cpu: String?
    /// Instruction set of the kernels.
    public var kernel: String
    public var settings: [String: String]
    public var tokens: Int
    /// Of one clip, dense: all self-attention, and everything.
    public var attentionFlops: Double
    public var totalFlops: Double
    public var notices: [String]
    /// Renders that were not made yet: 0 when the comparison is complete.
    public var rendersLeft: Int
    public var variants: [Summary]
    public var clips: [Clip]

    /// - Parameter rows: of the first renders, those of at least one prompt and seed. Variants of a prompt and seed
    ///   that are not all there are left out.
    init(_ comparison: Comparison, rows: [ComparisonRow]) {
        let first = comparison.first
        let estimate = first.estimate
        vditVersion = VditPipeline.vditVersion
        created = ISO8601DateFormatter().string(from: Date())
        command = comparison.job.command
        var conventions = FileComparison.conventions
        conventions["frames"] = "decoded frames rounded to 8 bits, before any lossy encoding"
        conventions["seconds"] = "denoising loop, without loading, decoding and encoding"
        conventions["density"] = "token pairs kept over all token pairs, of the sparse calls"
        conventions["attention_flops_saved"] =
            "share of the whole run's self-attention, dense steps and layers included"
        conventions["flops_saved"] = "share of all that the transformer computes in the whole run, decoding not counted"
        conventions["mean"] = "psnr and ssim of a variant are means over its clips"
        self.conventions = conventions
        model = first.model.path
        family = first.plan.model.defaults.name
        cpu = processorName
        kernel = "\(first.identity["instruction_set"] ?? "")"
        var settings: [String: String] = [:]
        let varied = ["seed", "sparse", "sparse_options", "density"]
        for row in first.settings.table where !varied.contains(row.name) { settings[row.name] = row.value }
        self.settings = settings
        tokens = estimate.tokens
        let attentionFlops = estimate.selfAttentionFLOPs * Double(estimate.calls)
        self.attentionFlops = attentionFlops
        totalFlops = estimate.totalFLOPs
        notices = comparison.notices
        let count = comparison.variants.count
        rendersLeft = comparison.cells.count - rows.count
        let clips = stride(from: 0, to: rows.count / count * count, by: count).map { start in
            Clip(
                prompt: rows[start].prompt, promptText: rows[start].promptText, seed: rows[start].seed,
                rows: Array(rows[start..<start + count]))
        }
        self.clips = clips
        variants = comparison.variants.indices.map { index in
            Self.summary(clips.map { $0.rows[index] }, dense: clips.map { $0.rows[0] }, estimate)
        }
    }

    private static func summary(
        _ rows: [ComparisonRow], dense: [ComparisonRow], _ estimate: Estimate
    ) -> Summary {
        let work = rows.map(\.work).mean ?? 1
        let otherWork = rows.map(\.otherWork).mean ?? 1
        let call = estimate.callFLOPs(attentionWork: 1, otherWork: 1)
        let qualities = rows.compactMap(\.quality)
        let psnr = qualities.compactMap(\.psnr)
        let timed = zip(rows, dense).compactMap { row, dense in
            row.seconds.flatMap { own in dense.seconds.map { (own: own, dense: $0) } }
        }
        let own = timed.reduce(0) { $0 + $1.own }
        return Summary(
            variant: rows[0].variant, label: rows[0].variant.label, clips: rows.count,
            density: rows.compactMap(\.density).mean,
            attentionFlops: estimate.callFLOPs(attentionWork: work, otherWork: 0) * Double(estimate.calls),
            attentionFlopsSaved: 1 - work,
            flopsSaved: 1 - estimate.callFLOPs(attentionWork: work, otherWork: otherWork) / call,
            seconds: rows.compactMap(\.seconds).mean,
            speedRatio: own > 0 ? timed.reduce(0) { $0 + $1.dense } / own : nil,
            planningSeconds: rows.map(\.planningSeconds).mean ?? 0,
            attentionSeconds: rows.map(\.attentionSeconds).mean ?? 0, psnr: psnr.mean,
            psnrLowestClip: psnr.min(), psnrHighestClip: psnr.max(),
            psnrLowestFrame: qualities.compactMap(\.psnrLowest).min(), ssim: qualities.compactMap(\.ssim).mean,
            msSsim: qualities.compactMap(\.msSsim).mean, changePsnr: qualities.compactMap(\.changePsnr).mean,
            latentCosine: rows.compactMap { $0.latents?.cosine }.mean,
            latentRelativeError: rows.compactMap { $0.latents?.relativeError }.mean)
    }

    /// Dense, then what is nearest to it first.
    var ranked: [Summary] {
        variants.filter(\.variant.isDense)
            + variants.filter { !$0.variant.isDense }.sorted { ($0.psnr ?? .infinity) > ($1.psnr ?? .infinity) }
    }

    /// One line per variant, dense first.
    public var table: ComparisonTable {
        ComparisonTable(
            header: [
                "method", "density", "attention FLOPs saved", "FLOPs saved", "seconds", "speed ratio", "PSNR dB",
                "lowest clip dB", "SSIM", "latent cosine",
            ],
            rows: variants.map { row in
                let isDense = row.variant.isDense
                return [
                    row.label,
                    row.density.map { fixed($0, 3) } ?? (isDense ? "1" : "-"),
                    percent(row.attentionFlopsSaved), percent(row.flopsSaved),
                    row.seconds.map { fixed($0, $0 < 10 ? 2 : 1) } ?? "-",
                    row.speedRatio.map { fixed($0, 2) + " ×" } ?? "-", isDense ? "-" : decibels(row.psnr),
                    isDense ? "-" : decibels(row.psnrLowestClip), isDense ? "-" : similarity(row.ssim),
                    isDense ? "-" : row.latentCosine.map { fixed($0, 5) } ?? "-",
                ]
            })
    }

    /// What times were taken on, in words.
    var machine: String { [cpu, kernel].compactMap { $0 }.joined(separator: ", ") }

    /// The table for a document, with what it was made with.
    public var markdown: String {
        let size = ["width", "height", "num_frames"].compactMap { settings[$0] }.joined(separator: "×")
        let prompts = Set(clips.map(\.prompt)).count
        var text = table.markdown
        text += "\n\(family), \(size) frames (\(tokens) tokens), \(settings["steps"] ?? "?") steps, guidance "
        text += "\(settings["guidance_scale"] ?? "?"), \(settings["precision"] ?? "?"), \(machine), "
        text += "\(settings["threads"] ?? "?") threads; means over \(clips.count) clips "
        text += "(\(prompts) prompts, seeds \(Set(clips.map(\.seed)).sorted().map(String.init).joined(separator: ", "))). "
        text += "FLOPs saved are of all that the transformer computes. Seconds are of the denoising loop; PSNR and "
        text += "SSIM (Gaussian) against the dense render of the same noise, on decoded frames.\n"
        return text
    }

    /// One line per render, every digit.
    public var renderTable: ComparisonTable {
        func text(_ value: Double?) -> String { value.map { "\($0)" } ?? "" }
        return ComparisonTable(
            header: [
                "prompt", "seed", "method", "density_asked", "cache_budget", "density", "attention_flops_saved",
                "other_flops_saved", "seconds", "speed_ratio", "psnr_db", "ssim", "latent_cosine",
                "latent_relative_error",
            ],
            rows: clips.flatMap { clip in
                clip.rows.map { row in
                    [
                        clip.prompt, "\(clip.seed)", row.variant.name, text(row.variant.method.density),
                        text(row.variant.cache?.budget), text(row.density), "\(1 - row.work)", "\(1 - row.otherWork)",
                        text(row.seconds),
                        text(row.seconds.flatMap { own in clip.rows[0].seconds.map { $0 / own } }),
                        row.quality.map { $0.psnr.map { "\($0)" } ?? "inf" } ?? "", text(row.quality?.ssim),
                        text(row.latents?.cosine), text(row.latents?.relativeError),
                    ]
                }
            })
    }
}
