import Foundation
import VditFiles
import VditPipeline
import VditTensor

/// The page as HTML.
struct ReportPage {
    let results: ComparisonResults
    let clips: [ReportClip]
    /// Where the pictures lie that the page takes in.
    let folder: String

    var html: String {
        get throws {
            let sections = try zip(results.clips, clips).enumerated().map { index, pair in
                try clipSection(pair.0, pair.1, isFirst: index == 0)
            }
            return """
                <!DOCTYPE html>
                <html lang="en">
                <head>
                <meta charset="utf-8">
                <meta name="viewport" content="width=device-width, initial-scale=1">
                <meta name="color-scheme" content="light dark">
                <title>vdit: sparse attention compared with dense</title>
                <style>
                \(ReportStyle.css)</style>
                </head>
                <body>
                <main>
                \(header)
                \(table)
                \(plots)
                \(sections.joined(separator: "\n"))
                \(footer)
                </main>
                </body>
                </html>

                """
        }
    }

    // MARK: Parts

    private var header: String {
        let settings = results.settings
        func value(_ name: String) -> String { settings[name] ?? "?" }
        let facts = [
            ("Model", results.family),
            ("Video", "\(value("width"))×\(value("height")), \(value("num_frames")) frames at \(value("fps")) fps"),
            ("Tokens", "\(results.tokens)"),
            ("Sampling", "\(value("steps")) steps of \(value("scheduler")), guidance \(value("guidance_scale"))"),
            ("Compute", "\(results.machine), \(value("precision")), \(value("threads")) threads"),
            ("Self-attention of a clip, dense", "\(engineering(results.attentionFlops))FLOP of \(engineering(results.totalFlops))FLOP"),
            ("Clips per method", "\(results.clips.count)"),
        ]
        let list = facts.map { "<div><dt>\(escaped($0))</dt><dd>\(escaped($1))</dd></div>" }.joined()
        let incomplete = results.rendersLeft == 0
            ? [] : ["Incomplete: \(results.rendersLeft) renders are not made yet; the same command goes on with them."]
        let notices = (incomplete + results.notices).map { "<p class=\"notice\">\(escaped($0))</p>" }
            .joined(separator: "\n")
        return """
            <h1>Sparse attention compared with dense</h1>
            <p class="soft">Every method starts from the noise of the dense render of its prompt and seed. Differences are \
            measured on the decoded frames before any lossy encoding, and on the latents.</p>
            <dl class="facts">\(list)</dl>
            \(notices)
            """
    }

    private var table: String {
        let head = [
            "method", "speed", results.clips.count > 1 ? "PSNR dB<br>mean (range)" : "PSNR dB", "SSIM",
            "density", "attention<br>FLOPs saved", "FLOPs<br>saved", "denoising<br>seconds", "lowest<br>frame dB",
            "change<br>PSNR dB", "latent<br>cosine",
        ]
        let rows = results.ranked.map { row -> String in
            let isDense = row.variant.isDense
            let psnr: String
            if isDense {
                psnr = "reference"
            } else if let low = row.psnrLowestClip, let high = row.psnrHighestClip, results.clips.count > 1 {
                psnr = "\(decibels(row.psnr)) <small>(\(fixed(low, 1))–\(fixed(high, 1)))</small>"
            } else {
                psnr = decibels(row.psnr)
            }
            let key = isDense ? "<i class=\"key none\"></i>" : "<i class=\"key c\(colour(row.variant))\"></i>"
            let name: String = key + escaped(row.label)
            let density: String = row.density.map { fixed($0, 3) } ?? (isDense ? "1" : "–")
            let seconds: String = row.seconds.map { fixed($0, $0 < 10 ? 2 : 1) } ?? "–"
            let speed: String = row.speedRatio.map { fixed($0, 2) + " ×" } ?? "–"
            let cosine: String = row.latentCosine.map { fixed($0, 5) } ?? "–"
            let measures: [String] = isDense
                ? ["–", "–", "–", "–"]
                : [similarity(row.ssim), decibels(row.psnrLowestFrame), decibels(row.changePsnr), cosine]
            let saved = [row.attentionFlopsSaved, row.flopsSaved].map { percent($0) }
            let cells = [name, speed, psnr, measures[0], density] + saved + [seconds] + measures.dropFirst()
            return "<tr>" + cells.map { "<td>\($0)</td>" }.joined() + "</tr>"
        }
        return """
            <h2>Results</h2>
            <div class="scroll"><table>
            <thead><tr>\(head.map { "<th>\($0)</th>" }.joined())</tr></thead>
            <tbody>
            \(rows.joined(separator: "\n"))
            </tbody></table></div>
            <p class="soft">The nearest to dense first. \(timing)</p>
            """
    }

    private func clipSection(
        _ clip: ComparisonResults.Clip, _ made: ReportClip, isFirst: Bool
    ) throws -> String {
        let strips = try zip(clip.rows, made.strips).map { row, strip in
            let caption: String
            if row.variant.isDense {
                caption = "<b>dense</b>, frames \(made.shown.map(String.init).joined(separator: ", "))"
            } else {
                caption = "<b>\(escaped(row.variant.label))</b> \(decibels(row.quality?.psnr)) dB, SSIM "
                    + "\(similarity(row.quality?.ssim))"
            }
            let title = escaped("\(row.variant.label): \(clip.prompt), seed \(clip.seed)")
            var images = "<img alt=\"\(title)\" src=\"\(try inlined(strip.frames))\">"
            if let difference = strip.difference {
                images += "<img alt=\"difference from dense, \(title)\" src=\"\(try inlined(difference))\">"
            }
            return "<figure class=\"strip\"><figcaption>\(caption)</figcaption>\(images)</figure>"
        }
        let variants = clip.rows.filter { !$0.variant.isDense }
        let frames = perFrame(variants.map { ($0.variant, [$0.quality].compactMap { $0 }) })
        let steps = divergence(variants.map { ($0.variant, $0.steps ?? []) })
        let stops = Pictures.heatStops.map { "rgb(\($0.0) \($0.1) \($0.2))" }.joined(separator: ",")
        let scale = """
            <div class="scale" style="background:linear-gradient(90deg,\(stops))"></div>
            <div class="ends"><span>0</span><span>difference from dense, levels of 255</span>\
            <span>\(Pictures.heatCeiling) and more</span></div>
            """
        return """
            <section class="clip">
            <h2>\(escaped(clip.promptText ?? clip.prompt)), seed \(clip.seed)</h2>
            <figure><video controls loop muted playsinline preload="metadata" width="\(made.videoSize.width)" \
            height="\(made.videoSize.height)" src="\(escaped(made.video))"></video>
            <figcaption>All renders side by side, in step. <a href="\(escaped(made.video))">\(escaped(made.video))</a> lies \
            beside this page (H.264; the numbers are of the lossless clips).</figcaption></figure>
            <details\(isFirst ? " open" : "")><summary>Frames and differences</summary>
            \(scale)
            <div class="strips">
            \(strips.joined(separator: "\n"))
            </div></details>
            <details\(isFirst ? " open" : "")><summary>Curves</summary>
            \(legend)
            <div class="pair">
            \(figure(frames, "PSNR of every frame against the dense one."))
            \(figure(steps, "Distance of the latents from the dense render's after every step."))
            </div></details>
            </section>
            """
    }

    private var footer: String {
        let rules = results.conventions.sorted { $0.key < $1.key }.map {
            "<dt>\(escaped($0.key))</dt><dd>\(escaped($0.value))</dd>"
        }.joined(separator: "\n")
        let command = results.command.isEmpty
            ? "" : "<h3>Command</h3>\n<pre>\(escaped(results.command.map(SlurmScript.quoted).joined(separator: " ")))</pre>"
        return """
            <h2>How it was measured</h2>
            <details><summary>Conventions</summary><dl class="rules">
            \(rules)
            </dl></details>
            \(command)
            <p class="soft">vdit \(escaped(results.vditVersion)), \(escaped(results.created)). All numbers: \
            <a href="results.json">results.json</a>, <a href="results.csv">results.csv</a>; lossless clips: \
            <a href="\(ReportFolder.clips)/">\(ReportFolder.clips)/</a>.</p>
            """
    }

    // MARK: Charts

    func perFrame(_ rows: [(ComparisonVariant, [Quality])]) -> Chart {
        Chart(
            title: "PSNR of every frame", xLabel: "frame", yLabel: "PSNR (dB)", fillsWidth: true,
            series: rows.map { variant, qualities in
                let count = qualities.map(\.perFrame.count).min() ?? 0
                let points = (0..<count).compactMap { frame -> Chart.Point? in
                    qualities.compactMap { $0.perFrame[frame].psnr }.mean.map {
                        Chart.Point(x: Double(frame), y: $0)
                    }
                }
                return Chart.Series(
                    name: variant.label, colour: colour(variant), dash: dash(variant), points: points)
            })
    }

    func divergence(_ rows: [(ComparisonVariant, [LatentDistance])]) -> Chart {
        Chart(
            title: "Divergence of the latents", xLabel: "denoising step", yLabel: "relative error (log scale)",
            yScale: .logarithmic, fillsWidth: true,
            series: rows.map { variant, steps in
                Chart.Series(
                    name: variant.label, colour: colour(variant), dash: dash(variant),
                    points: steps.enumerated().map {
                        Chart.Point(x: Double($0 + 1), y: $1.relativeError)
                    })
            })
    }

    func mean(_ clips: [[LatentDistance]]) -> [LatentDistance] {
        guard var total = clips.first else { return [] }
        for clip in clips.dropFirst() {
            for index in total.indices where index < clip.count {
                total[index].cosine += clip[index].cosine
                total[index].relativeError += clip[index].relativeError
            }
        }
        for index in total.indices {
            total[index].cosine /= Double(clips.count)
            total[index].relativeError /= Double(clips.count)
        }
        return total
    }

    func figure(_ chart: Chart, _ caption: String) -> String {
        "<figure><h3>\(escaped(chart.title))</h3>\(chart.svg)<figcaption>\(escaped(caption))</figcaption></figure>"
    }

    var legend: String {
        let items = results.variants.filter { !$0.variant.isDense }.map { row in
            "<li><svg viewBox=\"0 0 28 8\" aria-hidden=\"true\"><line class=\"curve c\(colour(row.variant)) "
                + "d\(dash(row.variant))\" x1=\"0\" y1=\"4\" x2=\"28\" y2=\"4\"/></svg>\(escaped(row.label))</li>"
        }
        return "<ul class=\"legend\">\(items.joined())</ul>"
    }

    /// Of a method, alone and with a cache, by its place among those there are.
    func colour(_ variant: ComparisonVariant) -> Int {
        let kinds = results.variants.filter { !$0.variant.isDense }.map(\.variant.kind).uniqued
        return (kinds.firstIndex(of: variant.kind) ?? 0) % ReportStyle.colours
    }

    /// Variants of one colour differ by their dashes.
    private func dash(_ variant: ComparisonVariant) -> Int {
        let own = results.variants.filter { $0.variant.kind == variant.kind }
        return (own.firstIndex { $0.variant == variant } ?? 0) % 4
    }

    // MARK: Text

    private func inlined(_ path: String) throws -> String {
        let bytes = try InputFile.contents(of: "\(folder)/\(path)", limit: 1 << 30)
        return "data:image/png;base64," + Data(bytes).base64EncodedString()
    }

    /// `1.2 T`
    private func engineering(_ value: Double) -> String {
        for (size, unit) in [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")] where value >= size {
            return "\(fixed(value / size, value / size < 100 ? 1 : 0)) \(unit)"
        }
        return "\(fixed(value, 0)) "
    }
}
