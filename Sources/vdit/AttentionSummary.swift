import VDiT

extension RunRecord {
    /// What attention a run computed, what that saved and where the time of its steps went.
    var attentionSummary: [String] {
        guard let attention, let work = attention.work, let planning = attention.planningSeconds,
            let kernel = attention.attentionSeconds
        else { return [] }
        var lines: [String] = []
        if attention.sparseCalls + (attention.refreshCalls ?? 0) > 0, attention.method != Dense.name {
            let density = attention.densityMean.map { "density \(Format.fraction($0)) of a sparse call, " } ?? ""
            let dense = attention.workDense ?? 0
            let refresh = attention.workRefresh ?? 0
            let parts = [("dense steps and layers", dense), ("refreshes", refresh), ("sparse", work - dense - refresh)]
                .filter { $0.1 > 1e-9 }.map { "\($0.0) \(Format.fraction($0.1))" }
            let saved = attention.flopsSaved ?? 0
            lines.append(
                "\(attention.method): \(density)attention work of the run \(Format.fraction(work)) of dense "
                    + "(\(parts.joined(separator: ", "))), \(Format.count(abs(saved)))FLOP "
                    + (saved < 0 ? "more than dense" : "saved"))
        } else if attention.method != Dense.name {
            lines.append("\(attention.method): every call was dense")
        }
        if let calls = attention.fallbackCalls, calls > 0 {
            lines.append("\(calls) calls that \(attention.method) could not serve were computed densely")
        }
        if let caching {
            let stoodIn = caching.reusedCalls + caching.forecastCalls
            lines.append(
                "\(caching.cache): \(caching.computedCalls) of \(caching.computedCalls + stoodIn) transformer calls "
                    + "computed, \(caching.reusedCalls) reused, \(caching.forecastCalls) forecast"
                    + (caching.flopsSaved.map { ", \(Format.count($0))FLOP saved beside self-attention" } ?? ""))
        }
        let steps = timingS.perStep.reduce(0, +)
        lines.append(
            "\(Format.seconds(steps)) of steps: planning \(Format.seconds(planning)), self-attention "
                + "\(Format.seconds(kernel)), linear and other \(Format.seconds(max(0, steps - planning - kernel)))")
        return lines
    }
}
