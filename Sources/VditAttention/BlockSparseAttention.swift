import VditTensor

/// Runs a plan: `out = softmax(scale · q kᵀ) v` of each query over the keys of the blocks it keeps and those that
/// stand for the rest.
///
/// - Parameters:
///   - dtype: element type of the values, f32 or bf16. Where the rest is rectified, bf16 is rounded to twice.
///   - kernel: the kernel to compute with; by default that of the call's instruction set, with products in
///     the type of `q`.
///   - buffers: where packed keys and the output live; kept by whoever calls again and again.
public func blockSparseAttention(
    _ call: AttentionCall, _ plan: AttentionPlan, values dtype: DType, kernel: AttentionKernel? = nil,
    buffers: TensorPool = TensorPool()
) -> AttentionOutput {
    blockSparseAttention(call, plan, PlanWork(plan, for: call), values: dtype, kernel: kernel, buffers: buffers)
}

/// - Parameter work: of that plan and call.
func blockSparseAttention(
    _ call: AttentionCall, _ plan: AttentionPlan, _ work: PlanWork, values dtype: DType, kernel: AttentionKernel?,
    buffers: TensorPool
) -> AttentionOutput {
    let kernel = kernel ?? AttentionKernel(call.instructionSet, operands: call.q.dtype)
    let blocks = plan.heads.map { KeyBlocks(order: $0.keyOrder, offsets: $0.keyOffsets, kernel: kernel) }
    let packed = PackedKeys(
        k: call.k, v: call.v, blocks: blocks, kernel: kernel, pool: call.pool, buffers: buffers)
    let rest = pooledRest(call, plan, packed, buffers)
    let rectification = plan.heads.contains { $0.rest == .rectified } ? Rectification(call, plan) : nil
    let values = buffers.tensor(dtype, [call.tokens, call.heads, call.headDim])
    let logSumExp = buffers.tensor(.f32, [call.heads, call.tokens])
    let masses = plan.measuresMass
        ? (0..<call.heads).map { Tensor(.f32, [plan.head($0).keyBlocks.count]) } : []
    let items = work.items(plan, call)
    call.pool.run(items.count) { index, scratch in
        let item = items[index]
        let head = plan.head(item.head)
        let blocks = item.keys.indices.filter { item.keys[$0] > 0 }
        packed.attend(
            head: item.head, q: HeadView(headMajor: call.q, head: item.head), order: head.queryOrder,
            blocks: blocks.map { block in
                let kept = head.kept(block)
                return QueryBlock(
                    positions: item.positions(head, block), kept: kept, levels: head.levels(block),
                    masses: masses.isEmpty ? nil : masses[item.head].slice(kept.indices))
            },
            rest: rest, scale: call.scale, out: HeadView(tokenMajor: values, head: item.head),
            logSumExp: logSumExp[item.head], scratch: scratch)
        for block in blocks {
            rectification?.apply(
                to: values, head: item.head, block: block, tokens: item.positions(head, block), scratch)
        }
        for block in item.keys.indices where item.keys[block] == 0 {
            for position in item.positions(head, block) {
                let token = head.queryOrder.map { Int($0[position]) } ?? position
                logSumExp[item.head].withMutableFloats { $0[token] = -.infinity }
                values[token][item.head].fill(byte: 0)
            }
        }
    }
    return AttentionOutput(values: values, logSumExp: logSumExp, masses: masses)
}

/// What stands for the blocks that are not kept; nil where nothing does or there are none.
private func pooledRest(
    _ call: AttentionCall, _ plan: AttentionPlan, _ packed: PackedKeys, _ buffers: TensorPool
) -> PooledKeys? {
    let runs = plan.heads.map { head -> PooledKeys.Runs? in
        if head.keepsAll { return nil }
        switch head.rest {
        case .dropped, .rectified: return nil
        case .pooled(let run, let order): return PooledKeys.Runs(keys: run ?? .max, order: order)
        case .levels(let levels, let runs): return PooledKeys.Runs(keys: runs, levels: levels)
        }
    }
    if runs.allSatisfy({ $0 == nil }) { return nil }
    return PooledKeys(
        k: call.k, v: call.v, beside: packed, runs: runs, set: call.instructionSet, pool: call.pool, buffers: buffers)
}

/// Attention of token-major query rows to all packed keys, on the calling thread: for use inside an item
/// of a `WorkPool`.
///
/// - Parameters:
///   - q: `[rows, heads, headDim]` f32 or bf16.
///   - out: `[rows, heads, headDim]` f32 or bf16; does not overlap `q`.
///   - scale: factor of the scores; nil is `1 / sqrt(headDim)`.
public func crossAttention(
    q: Tensor, keys: PackedKeys, into out: Tensor, scale: Float? = nil, scratch: Scratch
) {
    precondition(q.shape == out.shape && q.rank == 3 && q.shape[1] == keys.heads)
    let scale = scale ?? 1 / Float(keys.headDim).squareRoot()
    for head in 0..<keys.heads {
        for part in (0..<q.shape[0]).parts(atMost: AttentionKernel.rows) {
            keys.attend(
                head: head, q: HeadView(tokenMajor: q, head: head), blocks: [QueryBlock(positions: part, kept: [0])],
                scale: scale, out: HeadView(tokenMajor: out, head: head), scratch: scratch)
        }
    }
}

/// Consecutive query blocks, or a part of one.
private struct WorkItem {
    let head: Int
    let positions: Range<Int>
    /// Of each of the blocks.
    let keys: ArraySlice<Int>

    /// Those of a block.
    func positions(_ head: AttentionPlan.Head, _ block: Int) -> Range<Int> {
        head.positions(block).clamped(to: positions)
    }
}

/// What a plan comes to for a call it was made for.
struct PlanWork {
    /// Of each of the plan's entries, the keys each query block is multiplied with.
    private let keys: [[Int]]
    /// Query-key pairs of all heads.
    let pairs: Int

    /// Stops on a plan that would make the kernel read or write elsewhere.
    init(_ plan: AttentionPlan, for call: AttentionCall) {
        precondition(plan.heads.count == 1 || plan.heads.count == call.heads)
        let ofEntries = call.pool.map(plan.heads.count) { index, _ in
            let head = plan.heads[index]
            head.require(tokens: call.tokens)
            let keys = head.keysOfRows
            return (keys: keys, pairs: head.pairs(keys))
        }
        keys = ofEntries.map(\.keys)
        pairs = ofEntries.reduce(0) { $0 + $1.pairs } * (call.heads / plan.heads.count)
    }

    /// Query blocks, short ones together, as neighbours keep much the same keys, and long ones cut: head by head, so
    /// that the threads share one head's keys in their caches, and costliest first within a head, so that the last
    /// items to finish are short.
    fileprivate func items(_ plan: AttentionPlan, _ call: AttentionCall) -> [WorkItem] {
        call.pool.map(call.heads) { index, _ in
            let (head, keys) = (plan.head(index), keys.count == 1 ? keys[0] : keys[index])
            var items: [(item: WorkItem, cost: Int)] = []
            for blocks in head.gangs {
                let positions = head.positions(blocks.lowerBound).lowerBound..<head.positions(blocks.last!).upperBound
                for part in positions.parts(atMost: AttentionKernel.rows) {
                    let item = WorkItem(head: index, positions: part, keys: keys[blocks])
                    items.append((item, blocks.reduce(0) { $0 + item.positions(head, $1).count * keys[$1] }))
                }
            }
            return items.sorted { $0.cost > $1.cost }.map(\.item)
        }.flatMap(\.self)
    }
}

extension AttentionPlan.Head {
    fileprivate func positions(_ block: Int) -> Range<Int> {
        Int(queryOffsets[block])..<Int(queryOffsets[block + 1])
    }

    /// Runs of short query blocks, of `AttentionKernel.rows` together at most; others alone.
    fileprivate var gangs: [Range<Int>] {
        var gangs: [Range<Int>] = []
        var rows = AttentionKernel.rows
        for block in 0..<queryBlocks {
            // A long one fills what is left for others.
            let count = positions(block).count
            let room = count <= AttentionKernel.rows / 2 ? count : AttentionKernel.rows
            if rows + room <= AttentionKernel.rows, let last = gangs.popLast() {
                gangs.append(last.lowerBound..<block + 1)
                rows += room
            } else {
                gangs.append(block..<block + 1)
                rows = room
            }
        }
        return gangs
    }

    /// Stops on a plan that would make the kernel read or write elsewhere.
    fileprivate func require(tokens: Int) {
        func ascend(_ offsets: [Int32]) -> Bool {
            offsets.first == 0 && offsets.last == Int32(tokens)
                && zip(offsets, offsets.dropFirst()).allSatisfy { $0 < $1 }
        }
        func covers(_ order: [Int32]?) -> Bool {
            order.map { $0.count == tokens && $0.allSatisfy { $0 >= 0 && $0 < tokens } } ?? true
        }
        precondition(ascend(queryOffsets) && ascend(keyOffsets), "block offsets")
        precondition(covers(queryOrder) && covers(keyOrder), "token orders")
        precondition(
            rowStart.count == queryBlocks + 1 && rowStart.first == 0
                && rowStart.last == Int32(keyBlocks.count)
                && zip(rowStart, rowStart.dropFirst()).allSatisfy { $0 <= $1 }
                && keyBlocks.allSatisfy { $0 >= 0 && $0 < keyBlockCount }, "kept blocks")
        precondition(rest.runs.allSatisfy { $0 >= 1 }, "keys of a run")
        if rest != .dropped {
            precondition(
                (0..<queryBlocks).allSatisfy { row in zip(kept(row), kept(row).dropFirst()).allSatisfy { $0 < $1 } },
                "kept blocks ascend")
        }
        if case .levels(let levels, let runs) = rest {
            precondition(
                levels.count == queryBlocks * keyBlockCount && (levels.max() ?? 0) <= runs.count
                    && (0..<queryBlocks).allSatisfy { row in
                        kept(row).allSatisfy { levels[row * keyBlockCount + Int($0)] == 0 }
                    }, "levels of blocks that are not kept")
        }
    }
}
