import VditTensor

/// Clusters of the rows of each head, by Euclidean distance.
package struct Clustering: Sendable {
    /// `[heads, rows]` i32: the cluster of each row.
    package let labels: Tensor
    /// `[heads, clusters, headDim]` f32: one update ahead of the labels, unless the search had converged.
    package let centroids: Tensor
    /// `[heads, clusters]` i32: rows of each cluster by the labels.
    package let sizes: Tensor
    package let iterations: Int
}

/// Lloyd's iterations over all heads together: assignment by one matrix product per head, means in fp32.
package struct KMeans: Sendable {
    let pool: WorkPool
    let instructionSet: InstructionSet
    let kernels: PlanningKernels

    package init(pool: WorkPool, instructionSet: InstructionSet) {
        self.pool = pool
        self.instructionSet = instructionSet
        kernels = PlanningKernels(instructionSet)
    }

    /// - Parameters:
    ///   - x: `[heads, tokens, headDim]`, f32 or bf16.
    ///   - rows: the tokens to cluster.
    ///   - centroids: `[heads, clusters, headDim]` f32 to start from.
    ///   - iterations: at least 1; fewer are run when no centroid of any head moves by `tolerance`.
    package func cluster(
        _ x: Tensor, rows: Range<Int>, from centroids: Tensor, iterations: Int, tolerance: Float = 1e-4
    ) throws(AttentionError) -> Clustering {
        let heads = x.shape[0]
        let clusters = centroids.shape[1]
        let labels = Tensor(.i32, [heads, rows.count])
        let sizes = Tensor(.i32, [heads, clusters])
        var centroids = centroids
        var iteration = 0
        while true {
            iteration += 1
            try assign(x, rows, centroids, labels)
            let (moved, shift) = update(x, rows, labels, centroids, sizes)
            if shift < tolerance { break }
            centroids = moved
            if iteration >= iterations { break }
        }
        return Clustering(
            labels: labels, centroids: centroids, sizes: sizes, iterations: iteration)
    }

    /// Labels every row with its nearest centroid, the lowest of equally near ones.
    ///
    /// The nearest is the one with the largest `x · c − |c|² / 2`.
    private func assign(
        _ x: Tensor, _ rows: Range<Int>, _ centroids: Tensor, _ labels: Tensor
    ) throws(AttentionError) {
        let clusters = centroids.shape[1]
        let operand = instructionSet.operandType(of: x.dtype)
        // The products see the centroids in x's type, so their norms have to as well.
        let seen = centroids.converted(to: x.dtype).converted(to: .f32)
        let products = try tensorWork { () throws(TensorError) in
            try pool.map(x.shape[0]) { (head, _) throws(TensorError) in
                let seen = seen[head]
                let bias = Tensor(.f32, [clusters])
                bias.withMutableFloats { bias in
                    seen.withFloats { seen in
                        for cluster in 0..<clusters {
                            var square: Float = 0
                            for i in 0..<x.columns {
                                let value = seen[cluster * x.columns + i]
                                square += value * value
                            }
                            bias[cluster] = -square / 2
                        }
                    }
                }
                return try Linear(
                    weights: [seen], biases: [bias], operand: operand, result: .f32, on: instructionSet)
            }
        }
        let firsts = pool.map(x.shape[0]) { head, _ in Self.firstOfEqual(seen[head]) }
        let tile = 256
        let chunk = 4 * tile
        let chunks = (rows.count + chunk - 1) / chunk
        try tensorWork { () throws(TensorError) in
            try pool.run(x.shape[0] * chunks) { (item, scratch) throws(TensorError) in
                let head = item / chunks
                let first = item % chunks * chunk
                let scores = scratch.tensor(.f32, [tile, clusters])
                for start in stride(from: first, to: min(first + chunk, rows.count), by: tile) {
                    let end = min(start + tile, rows.count)
                    let part = scores.slice(0..<end - start)
                    var values = x[head].slice(rows.lowerBound + start..<rows.lowerBound + end)
                    if operand != x.dtype {
                        let stored = values
                        values = scratch.tensor(operand, stored.shape)
                        values.convert(from: stored)
                    }
                    try products[head](values, into: part, scratch)
                    let found = labels[head].slice(start..<end)
                    kernels.argmax(part, into: found)
                    if let firsts = firsts[head] {
                        let found = found.pointer(as: Int32.self)
                        for row in 0..<end - start { found[row] = firsts[Int(found[row])] }
                    }
                }
            }
        }
    }

    /// The lowest cluster of the same centroid, for each; nil where all differ.
    ///
    /// A product may sum each of its columns in another order, and give equal centroids scores that are not.
    private static func firstOfEqual(_ centroids: Tensor) -> [Int32]? {
        var known: [[UInt8]: Int32] = [:]
        let bytes = centroids.columns * 4
        let firsts = centroids.withBytes { all in
            (0..<centroids.shape[0]).map { cluster -> Int32 in
                let row = Array(all[cluster * bytes..<(cluster + 1) * bytes])
                if let first = known[row] { return first }
                known[row] = Int32(cluster)
                return Int32(cluster)
            }
        }
        return known.count == firsts.count ? nil : firsts
    }

    /// The means of the labelled rows, an empty cluster's centroid staying where it was, and the largest
    /// distance any centroid moved.
    private func update(
        _ x: Tensor, _ rows: Range<Int>, _ labels: Tensor, _ centroids: Tensor, _ sizes: Tensor
    ) -> (Tensor, Float) {
        let moved = Tensor(.f32, centroids.shape)
        let columns = x.columns
        let shifts = pool.map(x.shape[0]) { (head, _) -> Float in
            kernels.clusterSums(
                x[head].slice(rows), labels: labels[head], into: moved[head], sizes: sizes[head])
            let count = sizes[head].integers()
            return moved[head].withMutableFloats { new in
                centroids[head].withFloats { old in
                    var largest: Float = 0
                    for cluster in count.indices {
                        let range = cluster * columns..<(cluster + 1) * columns
                        if count[cluster] == 0 {
                            for i in range { new[i] = old[i] }
                            continue
                        }
                        let inverse = 1 / Float(count[cluster])
                        var square: Float = 0
                        for i in range {
                            new[i] *= inverse
                            square += (new[i] - old[i]) * (new[i] - old[i])
                        }
                        largest = max(largest, square.squareRoot())
                    }
                    return largest
                }
            }
        }
        return (moved, shifts.max() ?? 0)
    }

    /// Centroids to start from: rows drawn without replacement, the same ones for the same seed.
    package static func seeds(
        _ x: Tensor, rows: Range<Int>, clusters: Int, seed: UInt64
    ) -> Tensor {
        let result = Tensor(.f32, [x.shape[0], clusters, x.columns])
        for head in 0..<x.shape[0] {
            var random = SplitMix64(seed: seed &+ UInt64(head) &* 0x9e37_79b9_7f4a_7c15)
            var places = Array(rows)
            for cluster in 0..<clusters {
                let other = cluster + Int(random.next() % UInt64(places.count - cluster))
                places.swapAt(cluster, other)
                result[head].slice(cluster..<cluster + 1)
                    .convert(from: x[head].slice(places[cluster]..<places[cluster] + 1))
            }
        }
        return result
    }
}

extension Tensor {
    /// The elements of an i32 tensor.
    package func integers() -> [Int32] {
        precondition(dtype == .i32)
        return withBytes { Array($0.bindMemory(to: Int32.self)) }
    }
}

/// `scores[i][j] = x_i · y_j`.
///
/// - Parameters:
///   - x: `[rows, columns]` f32.
///   - y: `[others, columns]` f32.
/// - Returns: `[rows, others]` f32.
package func pairwiseScores(
    _ x: Tensor, _ y: Tensor, on set: InstructionSet, _ scratch: Scratch
) throws(AttentionError) -> Tensor {
    let scores = Tensor(.f32, [x.shape[0], y.shape[0]])
    try tensorWork { () throws(TensorError) in
        try Linear(weights: [y], biases: [], operand: .f32, on: set)(x, into: scores, scratch)
    }
    return scores
}
