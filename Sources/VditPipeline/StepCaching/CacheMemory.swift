import Glibc
import VditTensor

/// What a cache keeps of one branch. Tensors are replaced, never written to, so a copy of it stays what it is.
struct CacheMemory: Sendable {
    var numbers = CacheNumbers()
    /// What the next call's signal is compared with.
    var signal: Tensor?
    /// `terms[j]` is the j-th difference over steps of what a computed call gave, by stream: as many as there are
    /// computed calls, up to the order and one.
    var terms: [[Tensor]] = []

    var byteCount: Int { tensors.values.reduce(0) { $0 + $1.byteCount } }

    /// By name, for a checkpoint.
    var tensors: [String: Tensor] {
        var tensors: [String: Tensor] = [:]
        tensors["signal"] = signal
        for (order, streams) in terms.enumerated() {
            for (stream, tensor) in streams.enumerated() { tensors["term\(order).\(stream)"] = tensor }
        }
        return tensors
    }

    init() {}

    /// - Throws: `PipelineError.damagedCheckpoint` for a name or a type that none of these has.
    init(_ tensors: [String: Tensor], _ numbers: CacheNumbers) throws(PipelineError) {
        self.numbers = numbers
        signal = tensors["signal"]
        while let first = tensors["term\(terms.count).0"] {
            var streams = [first]
            while let next = tensors["term\(terms.count).\(streams.count)"] { streams.append(next) }
            terms.append(streams)
        }
        let known = self.tensors
        // Differences are f32; attention is kept in its own type.
        let types: [DType] = terms.count > 1 ? [.f32] : [.f32, .bf16]
        guard known.count == tensors.count, known.values.allSatisfy({ types.contains($0.dtype) }), numbers.isPlausible,
            Set(terms.map { $0.map(\.shape) }).count <= 1, terms.isEmpty || numbers.lastComputed != nil
        else {
            throw .damagedCheckpoint(
                "checkpoint: cached: found \(tensors.keys.sorted().joined(separator: ", ")), expected what a cache keeps")
        }
    }

    /// What becomes of a call that is judged so.
    func outcome(_ verdict: CacheVerdict) -> CacheStatistics.Outcome {
        verdict.isComputed ? .computed : terms.count > 1 ? .forecast : .reused
    }

    /// What stands in for a call some steps after the last computed one: `Σ leanʲ Dʲ Δʲ / j!`.
    ///
    /// Differences of steps that lie apart overshoot: a `lean` below 1 follows a part of them.
    /// - Source: Liu et al., From Reusing to Forecasting: Accelerating Diffusion Models with TaylorSeers
    ///   (arXiv 2503.06923).
    func forecast(_ step: Int, lean: Double, _ pool: WorkPool) -> [Tensor] {
        if terms.count == 1 { return terms[0] }
        let distance = Double(step - (numbers.lastComputed ?? step))
        var weights = [1.0]
        for order in 1..<terms.count { weights.append(weights[order - 1] * lean * distance / Double(order)) }
        return terms[0].indices.map { stream in
            combination(zip(weights, terms).map { (weight: $0, tensor: $1[stream]) }, pool)
        }
    }

    /// Takes what a computed call gave: `D⁰ = value`, `Dʲ⁺¹ = (Dʲ − Dʲ before) / gap`.
    mutating func learn(_ value: [Tensor], order: Int, _ pool: WorkPool) {
        var next = [value]
        let weight = 1 / Double(numbers.gap)
        for (j, before) in terms.prefix(order).enumerated() {
            next.append(zip(next[j], before).map { combination([(weight, $0), (-weight, $1)], pool) })
        }
        terms = next
    }
}

/// `mean|now − before| / mean|before|`: fp64 sums over fixed parts in a fixed order, whatever the threads.
///
/// - Throws: `PipelineError.damagedCheckpoint` for tensors of two shapes.
func relativeChange(_ now: Tensor, since before: Tensor, _ pool: WorkPool) throws(PipelineError) -> Double {
    guard now.shape == before.shape else {
        throw .damagedCheckpoint("checkpoint: cached signal: found \(before.shape), expected \(now.shape)")
    }
    let (count, part) = (now.count, 1 << 14)
    let parts = (count + part - 1) / part
    let sums = ResultSlots<(change: Double, size: Double)>(count: parts)
    pool.run(parts) { item, _ in
        let range = item * part..<min(count, (item + 1) * part)
        sums[item] = now.withFloats { now in
            before.withFloats { before in
                range.reduce(into: (change: 0.0, size: 0.0)) { sums, index in
                    sums.change += Double(abs(now[index] - before[index]))
                    sums.size += Double(abs(before[index]))
                }
            }
        }
    }
    let total = sums.all.reduce((change: 0.0, size: 0.0)) { ($0.change + $1.change, $0.size + $1.size) }
    return total.change / total.size
}

/// Every so many-th channel of rows, copied; the tensor itself where that is all of them.
func channels(every stride: Int, of rows: Tensor) -> Tensor {
    if stride <= 1 { return rows }
    let width = (rows.columns + stride - 1) / stride
    let kept = Tensor(.f32, [rows.rowCount, width])
    rows.withFloats { values in
        kept.withMutableFloats { kept in
            for row in 0..<rows.rowCount {
                for column in 0..<width { kept[row * width + column] = values[row * rows.columns + column * stride] }
            }
        }
    }
    return kept
}
