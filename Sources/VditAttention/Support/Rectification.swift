import VditTensor

/// What the key blocks that a plan leaves out do to each query block's values, estimated from means of blocks.
///
/// Attention between the means of blocks, each key block counted as often as it has keys, says how much mass one
/// holds. One that is left out enters with the mean of its values, weighted by that mass, where the estimate is likely
/// to be better than nothing: where it is greater than what the spread of the tokens around their means could make of
/// it. Its mass is given to the kept blocks where not. So values become `share · values + added`, both the same for
/// all queries of a block.
///
/// - Source: Rectified SpaAttn: Revisiting Attention Sparsity for Efficient Video Generation, arXiv 2511.19835;
///   BienLuky/Rectified-SpaAttn.
/// - Differs: text enters by blocks of its own, counted by their tokens, not token by token; so do blocks that differ
///   in size. A query block that keeps nothing stays without values.
struct Rectification {
    private struct Head: Sendable {
        let plan: AttentionPlan.Head
        /// Of each query block, the mass of the blocks it keeps and of those not worth an estimate.
        let shares: [Float]
        /// `[query blocks, headDim]` f32.
        let added: Tensor
    }

    /// Nil where a head's rest is another.
    private let heads: [Head?]

    init(_ call: AttentionCall, _ plan: AttentionPlan) {
        heads = call.pool.map(call.heads) { index, scratch -> Head? in
            let head = plan.head(index)
            guard head.rest == .rectified, !head.keepsAll else { return nil }
            return Self.estimated(call, index, head, scratch)
        }
    }

    /// - Parameter tokens: positions of the query block, all or some.
    func apply(to values: Tensor, head index: Int, block: Int, tokens: Range<Int>, _ scratch: Scratch) {
        guard let head = heads[index] else { return }
        let (share, dim) = (head.shares[block], values.columns)
        let row = scratch.tensor(.f32, [dim])
        head.added[block].withFloats { added in
            for position in tokens {
                let token = head.plan.queryOrder.map { Int($0[position]) } ?? position
                row.convert(from: values[token][index])
                row.withMutableFloats { row in
                    for c in 0..<dim { row[c] = share * row[c] + added[c] }
                }
                values[token][index].convert(from: row)
            }
        }
    }

    private static func estimated(
        _ call: AttentionCall, _ index: Int, _ head: AttentionPlan.Head, _ scratch: Scratch
    ) -> Head {
        let (kernels, set) = (PlanningKernels(call.instructionSet), call.instructionSet)
        let (rows, columns, dim) = (head.queryBlocks, head.keyBlockCount, call.headDim)
        func means(_ x: Tensor, _ order: [Int32]?, _ offsets: [Int32]) -> Tensor {
            let means = scratch.tensor(.f32, [offsets.count - 1, dim])
            kernels.blockMeans(x, order: order, offsets: offsets, into: means)
            return means
        }
        let (queryOrder, keyOrder) = (head.queryOrder, head.keyOrder)
        let queries = means(call.q[index], queryOrder, head.queryOffsets)
        let keys = means(call.k[index], keyOrder, head.keyOffsets)
        func products(_ queries: Tensor, _ keys: Tensor) -> Tensor {
            let (across, result) = (scratch.tensor(.f32, [dim, columns]), scratch.tensor(.f32, [rows, columns]))
            across.assignTransposed(keys)
            result.fill(byte: 0)
            result.addProduct(up: queries, down: across, set)
            return result
        }
        let masses = products(queries, keys)
        let ofQueries = spread(call.q[index], queryOrder, head.queryOffsets, around: queries, scratch)
        let ofKeys = spread(call.k[index], keyOrder, head.keyOffsets, around: keys, scratch)
        let errors = zip(products(ofQueries, keys).floats(), products(queries, ofKeys).floats())
        let isWorth = zip(masses.floats(), errors).map { abs($0) > abs($1.0) + abs($1.1) }
        let sizes = zip(head.keyOffsets, head.keyOffsets.dropFirst()).map { Float($1 - $0) }
        kernels.softmax(masses, scale: call.scale, weights: sizes)

        var shares = [Float](repeating: 0, count: rows)
        masses.withMutableFloats { masses in
            for row in 0..<rows {
                let first = row * columns
                let kept = Set(head.kept(row))
                for block in 0..<columns where kept.contains(Int32(block)) || !isWorth[first + block] {
                    shares[row] += masses[first + block]
                    masses[first + block] = 0
                }
                if kept.count == columns { shares[row] = 1 }
            }
        }
        let added = Tensor(.f32, [rows, dim])
        added.fill(byte: 0)
        added.addProduct(up: masses, down: means(call.v[index], keyOrder, head.keyOffsets), set)
        return Head(plan: head, shares: shares, added: added)
    }

    /// `[blocks, headDim]` f32: how far the rows of a block are from their mean, channel by channel, on average.
    private static func spread(
        _ x: Tensor, _ order: [Int32]?, _ offsets: [Int32], around means: Tensor, _ scratch: Scratch
    ) -> Tensor {
        let dim = means.columns
        let (spread, rows) = (scratch.tensor(.f32, means.shape), scratch.tensor(.f32, x.shape))
        rows.convert(from: x)
        spread.fill(byte: 0)
        rows.withFloats { rows in
            means.withFloats { means in
                spread.withMutableFloats { spread in
                    for (block, (start, end)) in zip(offsets, offsets.dropFirst()).enumerated() {
                        for position in Int(start)..<Int(end) {
                            let token = order.map { Int($0[position]) } ?? position
                            for c in 0..<dim {
                                let apart = abs(rows[token * dim + c] - means[block * dim + c])
                                spread[block * dim + c] += apart / Float(end - start)
                            }
                        }
                    }
                }
            }
        }
        return spread
    }
}
