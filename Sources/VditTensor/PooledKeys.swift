import CVditKernels
import Glibc

/// Keys and values of every head in short, to stand for the blocks a query block does not keep.
///
/// A run of consecutive keys of a block becomes one key: the mean of the keys with the mean of the values, its score
/// greater by the logarithm of their number. Means are fp32; each query block packs those it needs for the kernel.
public struct PooledKeys: Sendable {
    /// How far `exp(q·k)` of the keys of a run is followed around the exponential of their mean.
    ///
    /// - Source: Li et al., Piecewise Sparse Attention Is Wiser for Efficient Diffusion Transformers, arXiv 2602.01077.
    public enum Order: Sendable {
        /// The mean alone.
        case zeroth
        /// And how values lean with their keys, `Σ (k − mean)ᵀ v` of all keys, shared out by mass: the paper's hybrid
        /// order.
        case first
    }

    /// How a head's blocks are shortened.
    public struct Run: Sendable {
        /// Keys of a run, the last run of a block with what is left; `.max` for whole blocks.
        let keys: Int
        let order: Order

        public init(keys: Int, order: Order = .zeroth) {
            precondition(keys >= 1)
            (self.keys, self.order) = (keys, order)
        }
    }

    private struct Head: Sendable {
        /// First run of each block, and the number of runs.
        let runs: [Int32]
        /// `[runs, headDim]` f32.
        let keys: Tensor
        let values: Tensor
        /// Of each run, the logarithm of its keys' number.
        let bias: [Float]
        /// Nil for the zeroth order.
        let slope: ValueSlope?
    }

    /// Nil where a head has none.
    private let heads: [Head?]

    /// - Parameters:
    ///   - k: `[heads, keys, headDim]` f32 or bf16, and so `v`.
    ///   - blocks: one entry per head, or one that all heads share.
    ///   - runs: for each entry of `blocks`; nil for heads that pool nothing.
    public init(k: Tensor, v: Tensor, blocks: [KeyBlocks], runs: [Run?], set: InstructionSet, pool: WorkPool) {
        precondition(k.rank == 3 && k.shape == v.shape && blocks.count == runs.count)
        precondition(blocks.count == 1 || blocks.count == k.shape[0])
        let (dim, shared) = (k.shape[2], blocks.count == 1)
        let shapes = zip(blocks, runs).map { blocks, run in run.map { Self.runs(of: blocks, size: $0.keys) } }
        heads = (0..<k.shape[0]).map { head in
            let index = shared ? 0 : head
            guard let run = runs[index], let shape = shapes[index] else { return nil }
            let count = shape.offsets.count - 1
            return Head(
                runs: shape.first, keys: Tensor(.f32, [count, dim]), values: Tensor(.f32, [count, dim]),
                bias: zip(shape.offsets, shape.offsets.dropFirst()).map { logf(Float($1 - $0)) },
                slope: run.order == .first ? ValueSlope(headDim: dim, set) : nil)
        }
        let kernels = PlanningKernels(set)
        pool.run(2 * heads.count) { [heads] item, scratch in
            let index = item / 2
            guard let head = heads[index], let shape = shapes[shared ? 0 : index] else { return }
            let order = blocks[shared ? 0 : index].order
            if item % 2 == 0 {
                kernels.blockMeans(k[index], order: order, offsets: shape.offsets, into: head.keys)
                head.slope?.sum(
                    k: HeadView(headMajor: k, head: index), v: HeadView(headMajor: v, head: index), order: order,
                    offsets: shape.offsets, means: head.keys, scratch: scratch)
            } else {
                kernels.blockMeans(v[index], order: order, offsets: shape.offsets, into: head.values)
            }
        }
    }

    /// Where blocks are cut into runs, and the first run of each.
    private static func runs(of blocks: KeyBlocks, size: Int) -> (first: [Int32], offsets: [Int32]) {
        var first: [Int32] = []
        var offsets: [Int32] = []
        for (start, end) in zip(blocks.offsets, blocks.offsets.dropFirst()) {
            first.append(Int32(offsets.count))
            offsets += stride(from: Int(start), to: Int(end), by: min(size, Int(end - start))).map(Int32.init)
        }
        first.append(Int32(offsets.count))
        return (first, offsets + blocks.offsets.suffix(1))
    }

    /// The runs of the blocks not kept, in panels of scratch memory; nil where there are none.
    ///
    /// - Parameter mean: what the other keys were packed less.
    func packed(
        head: Int, leavingOut kept: ArraySlice<Int32>, mean: UnsafePointer<Float>?, kernel: AttentionKernel,
        scratch: Scratch
    ) -> (panels: vdit_key_panels, count: Int32, slope: ValueSlope?)? {
        guard let head = heads[head] else { return nil }
        var rows: [Int32] = []
        var next = kept.startIndex
        for block in 0..<head.runs.count - 1 {
            if next < kept.endIndex, kept[next] == Int32(block) {
                next += 1
            } else {
                rows += head.runs[block]..<head.runs[block + 1]
            }
        }
        if rows.isEmpty { return nil }
        let table = kernel.table.pointee
        let (dim, perPanel) = (Int32(head.keys.columns), Int(table.keys_per_panel))
        let panels = (rows.count + perPanel - 1) / perPanel
        let keys = scratch.tensor(.u8, [panels * Int(table.key_bytes(dim))])
        let values = scratch.tensor(.u8, [panels * Int(table.value_bytes(dim))])
        let bias = scratch.tensor(.f32, [panels * perPanel])
        rows.withUnsafeBufferPointer { order in
            var source = vdit_token_rows(
                data: head.keys.rawPointer, type: VDIT_F32, stride: Int64(dim), order: order.baseAddress, first: 0)
            table.pack_keys(&source, Int64(order.count), dim, mean, keys.rawPointer)
            source.data = UnsafeRawPointer(head.values.rawPointer)
            table.pack_values(&source, Int64(order.count), dim, values.rawPointer)
        }
        bias.withMutableFloats { bias in for (i, row) in rows.enumerated() { bias[i] = head.bias[Int(row)] } }
        return (
            vdit_key_panels(
                keys: keys.rawPointer, values: values.rawPointer, bias: UnsafePointer(bias.pointer(as: Float.self)),
                mean: mean),
            Int32(rows.count), head.slope
        )
    }
}
