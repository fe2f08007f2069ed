import Glibc
import VditTensor

/// Where the softmax mass of dense attention lies, by the blocks of a plan.
///
/// Scores of 64 queries at a time in fp32, never `tokens × tokens`.
/// - Returns: `[queryBlocks, keyBlocks]` f32, the mean over a block's queries of their mass on each key block;
///   a row sums to 1.
/// - Throws: `AttentionError.tensor` if oneDNN refuses the shape.
public func attentionMass(
    _ call: AttentionCall, head: Int, blocks: AttentionPlan.Head
) throws(AttentionError) -> Tensor {
    let tile = 64
    let (tokens, headDim) = (call.tokens, call.headDim)
    let queries = ordered(call.q[head], blocks.queryOrder)
    let kernels = PlanningKernels(call.instructionSet)
    let mass = Tensor(.f32, [blocks.queryBlocks, blocks.keyBlockCount])
    let groups = groups(of: blocks.queryOffsets, atLeast: tile)
    try tensorWork { () throws(TensorError) in
        let product = try Linear(
            weights: [ordered(call.k[head], blocks.keyOrder)], biases: [], operand: .f32,
            on: call.instructionSet)
        try call.pool.run(groups.count) { (item, scratch) throws(TensorError) in
            let rows = scratch.tensor(.f32, [tile, headDim])
            let scores = scratch.tensor(.f32, [tile, tokens])
            let sums = scratch.tensor(.f32, [tokens])
            for block in groups[item] {
                sums.fill(byte: 0)
                let positions = Int(blocks.queryOffsets[block])..<Int(blocks.queryOffsets[block + 1])
                for part in positions.parts(atMost: tile) {
                    // Rows past the part are computed and not read: one product serves every size.
                    rows.fill(byte: 0)
                    rows.slice(0..<part.count).assign(queries.slice(part))
                    try product(rows, into: scores, scratch)
                    let used = scores.slice(0..<part.count)
                    kernels.softmax(used, scale: call.scale)
                    add(rowsOf: used, to: sums)
                }
                sums.withFloats { sums in
                    mass[block].withMutableFloats { mass in
                        for key in mass.indices {
                            var total = 0.0
                            for i in Int(blocks.keyOffsets[key])..<Int(blocks.keyOffsets[key + 1]) {
                                total += Double(sums[i])
                            }
                            mass[key] = Float(total / Double(positions.count))
                        }
                    }
                }
            }
        }
    }
    return mass
}

/// Rows in a plan's order, f32.
private func ordered(_ rows: Tensor, _ order: [Int32]?) -> Tensor {
    let rows = rows.converted(to: .f32)
    guard let order else { return rows }
    let result = Tensor(.f32, rows.shape)
    for (position, token) in order.enumerated() {
        let token = Int(token)
        result.slice(position..<position + 1).assign(rows.slice(token..<token + 1))
    }
    return result
}

/// Consecutive blocks of together at least so many positions, where there are.
private func groups(of offsets: [Int32], atLeast size: Int) -> [Range<Int>] {
    var groups: [Range<Int>] = []
    var start = 0
    for block in 0..<offsets.count - 1
    where Int(offsets[block + 1] - offsets[start]) >= size || block == offsets.count - 2 {
        groups.append(start..<block + 1)
        start = block + 1
    }
    return groups
}

private func add(rowsOf matrix: Tensor, to sums: Tensor) {
    let columns = matrix.columns
    sums.withMutableFloats { sums in
        matrix.withFloats { values in
            for row in 0..<values.count / columns {
                let values = UnsafeBufferPointer(rebasing: values[row * columns..<(row + 1) * columns])
                for i in 0..<columns { sums[i] += values[i] }
            }
        }
    }
}

extension AttentionOutput {
    /// Of each head, the share of the softmax mass of another output that this one's keys have, mean over queries.
    ///
    /// - Parameter all: of all keys.
    package func recalls(of all: AttentionOutput) -> [Double] {
        (0..<logSumExp.shape[0]).map { head in
            let (kept, all) = (logSumExp[head].floats(), all.logSumExp[head].floats())
            return zip(kept, all).reduce(0) { $0 + Double(min(1, exp($1.0 - $1.1))) } / Double(kept.count)
        }
    }
}

/// What a sparse attention lost against the dense one of the same operands, per head.
public struct AttentionFidelity: Sendable {
    /// Share of the softmax mass that the plan keeps, averaged over queries: 1 keeps all that matters.
    public let recall: [Double]
    /// Root of the summed squared difference of the outputs over that of the dense ones. Corrections count,
    /// as does the rounding of the operands' type.
    public let relativeError: [Double]
    /// The latter over all heads together.
    public let totalError: Double

    /// Computes dense attention, and `plan` once more for its softmax mass.
    public init(of observation: AttentionContext.Observation, plan: AttentionPlan) {
        let call = observation.call
        let dense = blockSparseAttention(call, .dense(tokens: call.tokens), values: .f32)
        let kept = blockSparseAttention(call, plan.with(rest: .dropped), values: .f32)
        let (right, found) = (dense.values.floats(), observation.output.values.floats())
        recall = kept.recalls(of: dense)
        var squares: [(difference: Double, size: Double)] = []
        for head in 0..<call.heads {
            var difference = 0.0
            var size = 0.0
            for token in 0..<call.tokens {
                let start = (token * call.heads + head) * call.headDim
                for i in start..<start + call.headDim {
                    difference += Double(found[i] - right[i]) * Double(found[i] - right[i])
                    size += Double(right[i]) * Double(right[i])
                }
            }
            squares.append((difference, size))
        }
        let ratio = { (difference: Double, size: Double) in (difference / max(size, 1e-300)).squareRoot() }
        relativeError = squares.map(ratio)
        totalError = ratio(squares.reduce(0) { $0 + $1.difference }, squares.reduce(0) { $0 + $1.size })
    }
}
