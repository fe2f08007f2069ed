import CVditKernels
import Glibc

/// Keys and values of every head in short, to stand for the blocks a query block does not keep.
///
/// A run of consecutive keys of a block becomes one key: the mean of the keys with the mean of the values, its score
/// greater by the logarithm of their number. Means are made in fp32 and kept in what the kernel multiplies; each query
/// block packs those it needs.
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
    public struct Runs: Sendable {
        /// Keys of a run at each level, the last run of a block with what is left; `.max` for whole blocks.
        let keys: [Int]
        let order: Order

        /// - Parameter order: the first for a single level only.
        public init(keys: [Int], order: Order = .zeroth) {
            precondition(!keys.isEmpty && keys.allSatisfy { $0 >= 1 } && (order == .zeroth || keys.count == 1))
            (self.keys, self.order) = (keys, order)
        }
    }

    private struct Head: Sendable {
        /// At each level, the first run of each block and the end of all, among those of all levels.
        let runs: [[Int32]]
        /// `[runs, headDim]`, in the kernel's types.
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
    ///   - kernel: what they will be packed for.
    ///   - set: what means are made with.
    public init(
        k: Tensor, v: Tensor, blocks: [KeyBlocks], runs: [Runs?], kernel: AttentionKernel, set: InstructionSet,
        pool: WorkPool
    ) {
        precondition(k.rank == 3 && k.shape == v.shape && blocks.count == runs.count)
        precondition(blocks.count == 1 || blocks.count == k.shape[0])
        let (dim, shared) = (k.shape[2], blocks.count == 1)
        let levels = zip(blocks, runs).map { blocks, runs in runs.map { $0.keys.map { Level(blocks, run: $0) } } ?? [] }
        heads = (0..<k.shape[0]).map { head in
            let index = shared ? 0 : head
            guard let order = runs[index]?.order else { return nil }
            let sizes = levels[index].flatMap { zip($0.offsets, $0.offsets.dropFirst()).map { $1 - $0 } }
            var first: Int32 = 0
            return Head(
                runs: levels[index].map { level in
                    defer { first += level.first[level.first.count - 1] }
                    return level.first.map { $0 + first }
                },
                keys: Tensor(kernel.keyType, [sizes.count, dim]), values: Tensor(kernel.valueType, [sizes.count, dim]),
                bias: sizes.map { logf(Float($0)) }, slope: order == .first ? ValueSlope(headDim: dim, set) : nil)
        }
        let kernels = PlanningKernels(set)
        pool.run(2 * heads.count) { [heads] item, scratch in
            let index = item / 2
            guard let head = heads[index] else { return }
            let order = blocks[shared ? 0 : index].order
            for (level, runs) in zip(levels[shared ? 0 : index], head.runs) {
                let part = Int(runs[0])..<Int(runs[runs.count - 1])
                let means = scratch.tensor(.f32, [part.count, dim])
                if item % 2 == 0 {
                    kernels.blockMeans(k[index], order: order, offsets: level.offsets, into: means)
                    head.keys.slice(part).convert(from: means)
                    head.slope?.sum(
                        k: HeadView(headMajor: k, head: index), v: HeadView(headMajor: v, head: index), order: order,
                        offsets: level.offsets, means: means, scratch: scratch)
                } else {
                    kernels.blockMeans(v[index], order: order, offsets: level.offsets, into: means)
                    head.values.slice(part).convert(from: means)
                }
            }
        }
    }

    /// Where blocks are cut into runs, and the first run of each.
    private struct Level {
        private(set) var first: [Int32] = []
        private(set) var offsets: [Int32] = []

        init(_ blocks: KeyBlocks, run size: Int) {
            for (start, end) in zip(blocks.offsets, blocks.offsets.dropFirst()) {
                first.append(Int32(offsets.count))
                offsets += stride(from: Int(start), to: Int(end), by: min(size, Int(end - start))).map(Int32.init)
            }
            first.append(Int32(offsets.count))
            offsets += blocks.offsets.suffix(1)
        }
    }

    /// The runs that stand for blocks, in panels of scratch memory; nil where there are none.
    ///
    /// - Parameters:
    ///   - kept: blocks that nothing stands for, ascending.
    ///   - levels: of each block, which level's runs stand for it, counted from 1; 0 for none. Nil is the only one.
    ///   - mean: what the other keys were packed less.
    func packed(
        head: Int, leavingOut kept: ArraySlice<Int32>, levels: ArraySlice<UInt8>?, mean: UnsafePointer<Float>?,
        kernel: AttentionKernel, scratch: Scratch
    ) -> (panels: vdit_key_panels, count: Int32, slope: ValueSlope?)? {
        guard let head = heads[head] else { return nil }
        let rows = scratch.tensor(.i32, [head.bias.count]).pointer(as: Int32.self)
        var count = 0
        var next = kept.startIndex
        for block in 0..<head.runs[0].count - 1 {
            if next < kept.endIndex, kept[next] == Int32(block) {
                next += 1
                continue
            }
            let level = levels.map { Int($0[$0.startIndex + block]) } ?? 1
            if level == 0 { continue }
            for run in head.runs[level - 1][block]..<head.runs[level - 1][block + 1] {
                rows[count] = run
                count += 1
            }
        }
        if count == 0 { return nil }
        let table = kernel.table.pointee
        let (dim, perPanel) = (Int32(head.keys.columns), Int(table.keys_per_panel))
        let panels = (count + perPanel - 1) / perPanel
        let keys = scratch.tensor(.u8, [panels * Int(table.key_bytes(dim))])
        let values = scratch.tensor(.u8, [panels * Int(table.value_bytes(dim))])
        let bias = scratch.tensor(.f32, [panels * perPanel]).pointer(as: Float.self)
        var source = vdit_token_rows(
            data: head.keys.rawPointer, type: table.key_type, stride: Int64(dim), order: rows, first: 0)
        table.pack_keys(&source, Int64(count), dim, mean, keys.rawPointer)
        (source.data, source.type) = (UnsafeRawPointer(head.values.rawPointer), table.value_type)
        table.pack_values(&source, Int64(count), dim, values.rawPointer)
        head.bias.withUnsafeBufferPointer { of in for i in 0..<count { bias[i] = of[Int(rows[i])] } }
        return (
            vdit_key_panels(
                keys: keys.rawPointer, values: values.rawPointer, bias: UnsafePointer(bias), mean: mean),
            Int32(count), head.slope
        )
    }
}
