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
        let (rows, block) = (up.shape[0], 64)
        precondition(count == rows * down.columns)
        pool.run((rows + block - 1) / block) { index, _ in
            let range = index * block..<min(rows, (index + 1) * block)
            reshaped([rows, down.columns]).slice(range).addProduct(
                up: up.slice(range), down: down, factor: factor, set)
        }
    }

    /// The same on the calling thread.
    public func addProduct(up: Tensor, down: Tensor, factor: Float = 1, _ set: InstructionSet) {
        let (rows, rank, columns) = (up.shape[0], down.shape[0], down.columns)
        precondition(dtype == .f32 && up.dtype == .f32 && down.dtype == .f32)
        precondition(count == rows * columns && up.count == rows * rank)
        vdit_add_low_rank_for(set.isa)(
            pointer(as: Float.self), up.pointer(as: Float.self), down.pointer(as: Float.self), Int64(rows),
            Int64(columns), Int64(rank), factor)
    }
}
