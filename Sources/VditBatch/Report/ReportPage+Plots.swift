import VditPipeline

extension ReportPage {
    /// What times are worth, in a sentence.
    var timing: String {
        results.clips.count > 1
            ? "Speed is that of all clips together, on \(escaped(results.machine))."
            : "Seconds are of a single run on \(escaped(results.machine)): differences of some per cent are noise."
    }

    /// The charts over all clips.
    var plots: String {
        // A step cache leaves out more than attention.
        let countsAll = results.variants.contains { $0.variant.cache != nil }
        let speed = Chart(
            title: "Quality against speed", xLabel: "speed, denoising (times dense)", yLabel: "PSNR (dB)",
            guide: (1, "dense"),
            series: tradeoff(\.speedRatio) { clip, row in
                clip.rows[0].seconds.flatMap { dense in row.seconds.map { dense / $0 } }
            })
        let work = Chart(
            title: "Quality against work",
            xLabel: countsAll ? "work of the transformer (% of dense)" : "self-attention computed (% of dense)",
            yLabel: "PSNR (dB)",
            series: tradeoff({ 100 * (1 - (countsAll ? $0.flopsSaved : $0.attentionFlopsSaved)) }, of: { _, _ in nil }))
        let steps = divergence(results.variants.enumerated().compactMap { index, row in
            row.variant.isDense
                ? nil : (row.variant, mean(results.clips.map { $0.rows[index].steps ?? [] }))
        })
        let frames = perFrame(results.variants.enumerated().compactMap { index, row in
            row.variant.isDense
                ? nil : (row.variant, results.clips.compactMap { $0.rows[index].quality })
        })
        let spread = results.clips.count > 1
            ? "Means over the clips; lines through a point reach from the lowest clip to the highest." : ""
        return """
            <h2>Quality, speed and work</h2>
            <div class="pair">
            \(figure(speed, ["Up and to the right is better.", spread, timing].filter { !$0.isEmpty }.joined(separator: " ")))
            \(figure(work, ["Up and to the left is better.", spread, "Work counts the steps and layers that stay dense."]
                .filter { !$0.isEmpty }.joined(separator: " ")))
            </div>
            <h2>Where it departs from dense</h2>
            \(legend)
            <div class="pair">
            \(figure(steps, "Distance of the latents from the dense render's after every step, mean over the clips. Lower is better; no curve where they are the same."))
            \(figure(frames, "PSNR of every frame, mean over the clips. Higher is better."))
            </div>
            """
    }

    /// PSNR over a measure of cost: a curve for every method, one with rings where it has a cache too.
    ///
    /// - Parameters:
    ///   - cost: of a variant; it has no point where that is not known.
    ///   - own: of a single clip, where it differs from clip to clip.
    private func tradeoff(
        _ cost: (ComparisonResults.Summary) -> Double?,
        of own: (ComparisonResults.Clip, ComparisonRow) -> Double?
    ) -> [Chart.Series] {
        let sparse = results.variants.enumerated().filter { !$1.variant.isDense }
        return sparse.map(\.element.variant.name).uniqued.map { name in
            let rows = sparse.filter { $1.variant.name == name }
            let variant = rows[0].element.variant
            let points = rows.compactMap { index, row -> Chart.Point? in
                guard let x = cost(row), let y = row.psnr else { return nil }
                let costs = results.clips.compactMap { own($0, $0.rows[index]) }
                return Chart.Point(
                    x: x, y: y, note: row.label, label: row.variant.shares, xSpread: spread(costs),
                    ySpread: spread([row.psnrLowestClip, row.psnrHighestClip].compactMap { $0 }))
            }
            var named = points
            if !named.isEmpty { named[0].label = named[0].note }
            return Chart.Series(
                name: name, colour: colour(variant), dash: variant.isPair ? 1 : 0, points: named, hasMarks: true,
                isHollow: variant.isPair)
        }
    }

    private func spread(_ values: [Double]) -> ClosedRange<Double>? {
        guard results.clips.count > 1, let low = values.min(), let high = values.max(), low < high else { return nil }
        return low...high
    }
}
