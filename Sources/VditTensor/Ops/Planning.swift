import CVditKernels

/// What planners of sparse attention do with tokens: pooling, clustering, correcting outputs. Each call runs
/// on the calling thread, inside an item of `WorkPool`.
public struct PlanningKernels: Sendable {
    // A constant table of C function pointers.
    nonisolated(unsafe) private let table: UnsafePointer<vdit_planning_kernels>

    public init(_ instructionSet: InstructionSet) {
        table = vdit_planning_kernels_for(instructionSet.isa)
    }

    /// Means of blocks of rows.
    ///
    /// - Parameters:
    ///   - x: `[rows, columns]` f32 or bf16.
    ///   - order: rows in the order the blocks cut; nil is the identity.
    ///   - offsets: block boundaries, ascending, no block empty.
    ///   - means: `[blocks, columns]` f32.
    public func blockMeans(_ x: Tensor, order: [Int32]?, offsets: [Int32], into means: Tensor) {
        precondition(means.count == (offsets.count - 1) * x.columns)
        precondition(Int(offsets.last ?? 0) <= (order?.count ?? x.rowCount))
        order.withPointer { order in
            table.pointee.block_means(
                x.rawPointer, x.operandFloatType, Int64(x.columns), order, offsets,
                Int64(offsets.count - 1), means.pointer(as: Float.self))
        }
    }

    /// Sums of the rows of each cluster, and their number.
    ///
    /// - Parameters:
    ///   - x: `[rows, columns]` f32 or bf16.
    ///   - labels: `[rows]` i32, below the number of clusters.
    ///   - sums: `[clusters, columns]` f32.
    ///   - sizes: `[clusters]` i32.
    public func clusterSums(_ x: Tensor, labels: Tensor, into sums: Tensor, sizes: Tensor) {
        precondition(labels.count == x.rowCount && sums.count == sizes.count * x.columns)
        table.pointee.cluster_sums(
            x.rawPointer, x.operandFloatType, Int64(x.rowCount), Int64(x.columns),
            labels.pointer(as: Int32.self), Int64(sizes.count), sums.pointer(as: Float.self),
            sizes.pointer(as: Int32.self))
    }

    /// The lowest index of each row's largest score; scores `[rows, columns]` f32, `index` `[rows]` i32.
    public func argmax(_ scores: Tensor, into index: Tensor) {
        precondition(index.count == scores.rowCount)
        table.pointee.row_argmax(
            scores.pointer(as: Float.self), Int64(scores.rowCount), Int64(scores.columns),
            index.pointer(as: Int32.self))
    }

    /// `weight[j] · exp(scale · s[j] − max)` over its sum, in place along the last axis; nil weights are 1.
    public func softmax(_ scores: Tensor, scale: Float, weights: [Float]? = nil) {
        precondition(weights == nil || weights!.count == scores.columns)
        func run(_ weights: UnsafePointer<Float>?) {
            table.pointee.softmax_rows(
                scores.pointer(as: Float.self), Int64(scores.rowCount), Int64(scores.columns), scale,
                weights)
        }
        if let weights { weights.withUnsafeBufferPointer { run($0.baseAddress) } } else { run(nil) }
    }

    /// `residual = full − ratio · sparse` for some tokens.
    ///
    /// - Parameters:
    ///   - full: `[tokens, heads, headDim]` f32, and so `sparse`.
    ///   - ratio: `[heads, tokens]` f32.
    ///   - residual: shaped as `full`, f32 or bf16.
    public func residual(
        full: Tensor, sparse: Tensor, ratio: Tensor, tokens: Range<Int>, into residual: Tensor
    ) {
        precondition(full.rank == 3 && sparse.shape == full.shape && residual.shape == full.shape)
        precondition(ratio.count * full.shape[2] == full.count && tokens.upperBound <= full.shape[0])
        table.pointee.residual(
            full.pointer(as: Float.self), sparse.pointer(as: Float.self), ratio.pointer(as: Float.self),
            Int64(tokens.lowerBound), Int64(tokens.upperBound), Int64(full.shape[0]),
            Int64(full.shape[1]), Int64(full.shape[2]), residual.rawPointer,
            residual.operandFloatType)
    }

    /// `values = ratio · values + residual` for some tokens; shapes as for `residual(full:…)`.
    public func rescale(_ values: Tensor, ratio: Tensor, residual: Tensor, tokens: Range<Int>) {
        precondition(values.rank == 3 && residual.shape == values.shape)
        precondition(
            ratio.count * values.shape[2] == values.count && tokens.upperBound <= values.shape[0])
        table.pointee.rescale(
            values.pointer(as: Float.self), ratio.pointer(as: Float.self), residual.rawPointer,
            residual.operandFloatType, Int64(tokens.lowerBound), Int64(tokens.upperBound),
            Int64(values.shape[0]), Int64(values.shape[1]), Int64(values.shape[2]))
    }

    /// `values[token] += part · x` for the tokens at some positions, the same bits with every instruction set.
    ///
    /// - Parameters:
    ///   - x: `[columns]` f32 or bf16.
    ///   - order: the token at each position; nil is the identity.
    ///   - values: `[tokens, columns]` f32.
    public func add(_ x: Tensor, times part: Float, order: [Int32]?, positions: Range<Int>, to values: Tensor) {
        precondition(x.count == values.columns && positions.upperBound <= (order?.count ?? values.rowCount))
        order.withPointer { order in
            table.pointee.add_to_rows(
                values.pointer(as: Float.self), Int64(values.columns), order, Int64(positions.lowerBound),
                Int64(positions.upperBound), part, x.rawPointer, x.operandFloatType)
        }
    }
}
