import CVditKernels
import Glibc

/// Keys and values of every head in short, to stand for the blocks a query block does not keep.
///
/// A run of consecutive keys of a block becomes one key: the mean of the keys with the mean of the values, its score
/// greater by the logarithm of their number. Means are made in fp32 and packed as the kernel multiplies them, once for
/// all query blocks: each says by its biases which of them it sees.
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
        /// Keys of a run, the last run of a block with what is left; `.max` for whole blocks. Of each level, where pairs
        /// of blocks choose among several; nil for one that no pair chooses.
        let keys: [Int?]
        let order: Order
        let areChosen: Bool

        /// The same for all blocks that are not kept.
        public init(keys: Int, order: Order) {
            precondition(keys >= 1)
            (self.keys, self.order, areChosen) = ([keys], order, false)
        }

        /// - Parameter levels: of each pair of blocks, counted from 1 in `keys`; 0 for none.
        public init(keys: [Int], levels: [UInt8]) {
            precondition(keys.allSatisfy { $0 >= 1 })
            self.keys = keys.enumerated().map { levels.contains(UInt8($0 + 1)) ? $1 : nil }
            (order, areChosen) = (.zeroth, true)
        }
    }

    private struct Head: Sendable {
        let levels: [PooledLevel?]
        /// Nil for the zeroth order.
        let slope: ValueSlope?

        /// Blocks whose runs of all levels are made and placed at a time, which no two levels cut differently.
        var slabs: [Range<Int>] {
            guard let cut = levels.lazy.compactMap(\.self).first?.cut else { return [] }
            return slope == nil ? cut.slabs : [0..<cut.runs.count - 1]
        }
    }

    /// Of each head, what keys are packed less.
    private let means: Tensor?
    /// Nil where a head has none.
    private let heads: [Head?]

    /// - Parameters:
    ///   - k: `[heads, keys, headDim]` f32 or bf16, and so `v`.
    ///   - packed: the same keys in full, in their blocks.
    ///   - runs: for each entry of the blocks; nil for heads that pool nothing.
    ///   - set: what means are made with.
    ///   - buffers: where they live.
    public init(
        k: Tensor, v: Tensor, beside packed: PackedKeys, runs: [Runs?], set: InstructionSet, pool: WorkPool,
        buffers: TensorPool
    ) {
        let (blocks, dim) = (packed.blocks, k.shape[2])
        precondition(k.rank == 3 && k.shape == v.shape && blocks.count == runs.count && k.shape[0] == packed.heads)
        means = packed.means
        let cuts = pool.map(blocks.count) { entry, _ in
            runs[entry].map { runs in
                runs.keys.map { $0.map { RunCut(blocks[entry], run: $0, areChosen: runs.areChosen, packed.kernel) } }
            }
        }
        heads = (0..<packed.heads).map { head in
            let entry = blocks.count == 1 ? 0 : head
            return cuts[entry].map { cuts in
                Head(
                    levels: cuts.map { $0.map { PooledLevel($0, headDim: dim, packed.kernel, buffers) } },
                    slope: runs[entry]?.order == .first ? ValueSlope(headDim: dim, set) : nil)
            }
        }
        let items = heads.enumerated().flatMap { index, head in
            (head?.slabs ?? []).flatMap { slab in [true, false].map { (head: index, blocks: slab, areKeys: $0) } }
        }
        let kernels = PlanningKernels(set)
        pool.run(items.count) { [heads, means] item, scratch in
            let (index, slab, areKeys) = items[item]
            guard let head = heads[index] else { return }
            let order = blocks[blocks.count == 1 ? 0 : index].order
            for case let level? in head.levels {
                let runs = level.cut.runs(of: slab)
                let offsets = Array(level.cut.offsets[runs.lowerBound...runs.upperBound])
                let rows = scratch.tensor(.f32, [runs.count, dim])
                kernels.blockMeans((areKeys ? k : v)[index], order: order, offsets: offsets, into: rows)
                if areKeys {
                    level.place(keys: rows, of: slab, less: means?[index].pointer(as: Float.self))
                    head.slope?.sum(
                        k: HeadView(headMajor: k, head: index), v: HeadView(headMajor: v, head: index), order: order,
                        offsets: offsets, means: rows, scratch: scratch)
                } else {
                    level.place(values: rows, of: slab)
                }
            }
        }
    }

    /// What a query block sees.
    struct Spans {
        /// Of panels, in scratch memory with room for all.
        let list: UnsafeMutablePointer<vdit_key_span>
        fileprivate(set) var count = 0
        let slope: ValueSlope?

        mutating func append(_ panels: vdit_key_panels, count keys: Int) {
            list[count] = vdit_key_span(panels: panels, count: Int32(keys))
            count += 1
        }
    }

    /// The runs that stand for blocks; nil where there are none.
    ///
    /// - Parameters:
    ///   - kept: blocks that nothing stands for, ascending.
    ///   - levels: of each block, which level's runs stand for it, counted from 1; 0 for none. Nil is the only one.
    func spans(
        head: Int, leavingOut kept: ArraySlice<Int32>, levels: ArraySlice<UInt8>?, scratch: Scratch
    ) -> Spans? {
        guard let short = heads[head] else { return nil }
        let mean = means.map { UnsafePointer($0[head].pointer(as: Float.self)) }
        let most = short.levels.reduce(0) { $0 + ($1?.cut.panels ?? 0) }
        let room = scratch.tensor(.u8, [most * MemoryLayout<vdit_key_span>.stride])
        var spans = Spans(
            list: room.rawPointer.bindMemory(to: vdit_key_span.self, capacity: most), slope: short.slope)
        for (index, level) in short.levels.enumerated() {
            guard let level else { continue }
            let count = level.cut.places.count - 1
            let blocks = levels.map { levels in
                let others = (0..<count).lazy.filter { levels[levels.startIndex + $0] != index + 1 }
                return Self.ranges(of: count, leavingOut: others)
            } ?? Self.ranges(of: count, leavingOut: kept.lazy.map(Int.init))
            level.show(blocks, mean, in: &spans, scratch)
        }
        return spans.count > 0 ? spans : nil
    }

    /// The numbers below `count` but for some, ascending.
    private static func ranges(of count: Int, leavingOut others: some Sequence<Int>) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        var next = 0
        for other in others {
            if next < other { ranges.append(next..<other) }
            next = other + 1
        }
        if next < count { ranges.append(next..<count) }
        return ranges
    }
}
