import CVditKernels

/// `activation(x · Wᵀ)` with weights that are used once: multiplied with as they lie in their file, a slab of outputs at
/// a time, copied and packed nowhere. What is packed is `x`.
///
/// Rows are taken `rowBlock` at a time and slabs depend on the weights' shape alone, so a row's result depends on the
/// row and its place in its block: not on the number of threads, nor on what else is multiplied.
public struct StreamedLinear: Sendable {
    /// Rows of one product. `x` holds a multiple of them.
    public static let rowBlock = 32
    /// Bytes of a slab, to stay in a core's own cache while all rows meet it.
    private static let slabBytes = 1 << 20

    public struct Weights: Sendable {
        /// `[outputs, inputs]`, f32, f16 or bf16, as stored.
        let matrix: Tensor
        let activation: Linear.Activation

        public init(_ matrix: Tensor, activation: Linear.Activation = .none) {
            self.matrix = matrix
            self.activation = activation
        }
    }

    private let compute: ComputeContext

    public init(_ compute: ComputeContext) { self.compute = compute }

    /// Multiplies rows with several weights of one shape, a slab of all of them at a time.
    ///
    /// - Parameters:
    ///   - x: `[rows, inputs]` of the operand type, rows a multiple of `rowBlock`.
    ///   - body: gets products of some rows and some outputs, `[rowBlock, outputs]` f32 for each of the weights; called
    ///     from many threads, once for each pair of ranges.
    /// - Throws: `TensorError.library` if oneDNN refuses the shape.
    public func callAsFunction(
        _ x: Tensor, _ weights: [Weights],
        _ body: @Sendable (_ rows: Range<Int>, _ outputs: Range<Int>, _ products: [Tensor]) -> Void
    ) throws(TensorError) {
        let (outputs, inputs) = (weights[0].matrix.shape[0], x.columns)
        let (operand, blocks) = (compute.operandType, x.rowCount / Self.rowBlock)
        precondition(x.dtype == operand && x.rowCount % Self.rowBlock == 0)
        precondition(weights.allSatisfy { $0.matrix.shape == [outputs, inputs] })
        let slab = min(outputs, max(16, Self.slabBytes / (inputs * operand.byteCount) / 16 * 16))
        let slabs = (outputs + slab - 1) / slab
        let whole = try products(slab, inputs, weights, like: nil)
        let rest = outputs - (slabs - 1) * slab
        let last = rest == slab ? whole : try products(rest, inputs, weights, like: whole[0])
        let packed = Tensor(.u8, [blocks, (whole[0].packedBytes + 63) & ~63])
        try compute.pool.run(blocks) { (block, _) throws(TensorError) in
            try whole[0].pack(x.slice(block * Self.rowBlock..<(block + 1) * Self.rowBlock), into: packed[block])
        }
        try compute.pool.run(slabs) { (item, scratch) throws(TensorError) in
            let range = item * slab..<min(outputs, (item + 1) * slab)
            let products = range.count == slab ? whole : last
            let matrices = weights.map { operandValues($0.matrix.slice(range), scratch) }
            let transposed = scratch.tensor(.f32, [range.count, Self.rowBlock])
            let results = weights.map { _ in scratch.tensor(.f32, [Self.rowBlock, range.count]) }
            let workspace = scratch.tensor(.u8, [products.map(\.scratchBytes).max() ?? 1])
            for block in 0..<blocks {
                for index in weights.indices {
                    try products[index].run(matrices[index], packed[block], into: transposed, workspace)
                    results[index].assignTransposed(transposed)
                }
                body(block * Self.rowBlock..<(block + 1) * Self.rowBlock, range, results)
            }
        }
    }

    private func products(
        _ outputs: Int, _ inputs: Int, _ weights: [Weights], like: MatrixProduct?
    ) throws(TensorError) -> [MatrixProduct] {
        var products: [MatrixProduct] = []
        for weights in weights {
            // All read the same packed rows.
            products.append(
                try MatrixProduct(
                    rows: outputs, inputs: inputs, outputs: Self.rowBlock, operand: compute.operandType,
                    activation: weights.activation, like: like ?? products.first))
        }
        return products
    }

    /// Weights in the operand type: themselves where they are stored in it, else a copy in scratch.
    private func operandValues(_ matrix: Tensor, _ scratch: Scratch) -> Tensor {
        func converted(_ tensor: Tensor, _ dtype: DType) -> Tensor {
            if tensor.dtype == dtype { return tensor }
            let result = scratch.tensor(dtype, tensor.shape)
            result.convert(from: tensor)
            return result
        }
        let operand = compute.operandType
        return converted(compute.precision.dtype == .bf16 ? converted(matrix, .bf16) : matrix, operand)
    }
}

extension Tensor {
    /// Writes a block into rows and columns of this `[rows, columns]` tensor, in this tensor's type.
    ///
    /// - Parameter block: `[rows.count, columns.count]`, f32.
    public func assign(rows: Range<Int>, columns: Range<Int>, _ block: Tensor) {
        precondition(block.shape == [rows.count, columns.count] && block.dtype == .f32 && rank == 2)
        precondition(rows.upperBound <= shape[0] && columns.upperBound <= shape[1])
        for (index, row) in rows.enumerated() {
            vdit_convert(
                block.pointer(as: Float.self) + index * columns.count, VDIT_F32,
                rawPointer + (row * shape[1] + columns.lowerBound) * dtype.byteCount, operandFloatType,
                Int64(columns.count))
        }
    }

    /// Fills this `[columns, rows]` tensor from `[rows, columns]` of the same two- or four-byte type.
    public func assignTransposed(_ source: Tensor) {
        precondition(dtype == source.dtype && shape == source.shape.reversed())
        if dtype == .bf16 { copyTransposed(UInt16.self, source) } else { copyTransposed(UInt32.self, source) }
    }

    private func copyTransposed<Word>(_ type: Word.Type, _ source: Tensor) {
        let (from, to) = (source.pointer(as: type), pointer(as: type))
        let (rows, columns) = (source.shape[0], source.shape[1])
        for row in 0..<rows {
            for column in 0..<columns { to[column * rows + row] = from[row * columns + column] }
        }
    }
}
