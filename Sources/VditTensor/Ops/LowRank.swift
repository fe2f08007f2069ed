import CVditKernels

extension Tensor {
    /// `self += factor · (up · down)`, summed over the rank in ascending order.
    ///
    /// Every thread count and instruction set gives the same bits.
    /// - Parameters:
    ///   - up: `[rows, rank]` f32.
    ///   - down: `[rank, columns]` f32, of this tensor's `[rows, columns]` f32.
    public func addProduct(
        up: Tensor, down: Tensor, factor: Float, _ pool: WorkPool, _ set: InstructionSet
    ) {
        let (rows, rank, columns) = (up.shape[0], down.shape[0], down.columns)
        precondition(dtype == .f32 && up.dtype == .f32 && down.dtype == .f32)
        precondition(count == rows * columns && up.count == rows * rank)
        let block = 64
        pool.run((rows + block - 1) / block) { index, _ in
            let range = index * block..<min(rows, (index + 1) * block)
            vdit_add_low_rank_for(set.isa)(
                pointer(as: Float.self) + range.lowerBound * columns,
                up.pointer(as: Float.self) + range.lowerBound * rank, down.pointer(as: Float.self),
                Int64(range.count), Int64(columns), Int64(rank), factor)
        }
    }
}
