import Foundation
import TestSupport
import Testing
import VDiT

/// What holds for any plan on any kernel.
struct AttentionInvariantTests {
    @Test(arguments: AttentionCase.allKernels)
    func valuesOfAllOnesComeBackAsOnes(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let base = AttentionCase.call(heads: 2, tokens: 190, headDim: 40, kernel, &random)
        let ones = Tensor([Float](repeating: 1, count: base.v.count), shape: base.v.shape)
        let call = AttentionCase.call(like: base, v: ones)
        let plan = AttentionCase.plan(heads: 2, tokens: 190, density: 0.5, &random)
        let output = blockSparseAttention(call, plan, values: .f32, kernel: kernel.kernel)
        let kept = output.logSumExp.floats().map { $0 > -.infinity }
        for (index, value) in output.values.floats().enumerated() {
            let (token, head) = (index / 80, index / 40 % 2)
            let expected: Float = kept[head * 190 + token] ? 1 : 0
            if !(abs(value - expected) <= 2e-6) {
                Issue.record("\(value) at token \(token), head \(head), seed \(random.seed)")
            }
        }
    }

    @Test(arguments: AttentionCase.allKernels)
    func disjointKeySetsMergedByLogSumExpEqualTheWhole(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let (tokens, dim) = (230, 64)
        let call = AttentionCase.call(heads: 1, tokens: tokens, headDim: dim, kernel, &random)
        let whole = AttentionPlan.dense(tokens: tokens, block: 23)
        func keeping(_ keep: (Int32) -> Bool) -> AttentionPlan {
            var head = whole.heads[0]
            let blocks = (0..<Int32(head.keyBlockCount)).filter(keep)
            head.keyBlocks = (0..<head.queryBlocks).flatMap { _ in blocks }
            head.rowStart = (0...head.queryBlocks).map { Int32($0 * blocks.count) }
            return AttentionPlan(heads: [head])
        }
        let run = { blockSparseAttention(call, $0, values: .f32, kernel: kernel.kernel) }
        let (all, a, b) = (run(whole), run(keeping { $0 % 3 == 0 }), run(keeping { $0 % 3 != 0 }))
        let (va, vb, la, lb) = (a.values.floats(), b.values.floats(), a.logSumExp.floats(), b.logSumExp.floats())
        var merged = va
        for token in 0..<tokens {
            let weight = 1 / (1 + exp(lb[token] - la[token]))
            for c in token * dim..<(token + 1) * dim { merged[c] = weight * va[c] + (1 - weight) * vb[c] }
        }
        #expect(relativeError(merged, all.values.floats()) <= kernel.tolerance, "seed \(random.seed)")
    }

    @Test(arguments: AttentionCase.kernels)
    func notANumberOutsideThePlannedBlocksNeverLeaks(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let (tokens, dim) = (210, 72)
        let clean = AttentionCase.call(heads: 1, tokens: tokens, headDim: dim, kernel, &random)
        var plan = AttentionCase.plan(heads: 1, tokens: tokens, density: 0.6, &random)
        // Drop every third key block everywhere, and poison what it holds.
        var head = plan.heads[0]
        var rowStart: [Int32] = [0], kept: [Int32] = []
        for block in 0..<head.queryBlocks {
            kept += head.kept(block).filter { $0 % 3 != 1 }
            rowStart.append(Int32(kept.count))
        }
        (head.rowStart, head.keyBlocks) = (rowStart, kept)
        plan.heads[0] = head
        var (k, v) = (clean.k.floats(), clean.v.floats())
        for block in stride(from: 1, to: head.keyBlockCount, by: 3) {
            for position in head.keyOffsets[block]..<head.keyOffsets[block + 1] {
                let token = Int(head.keyOrder?[Int(position)] ?? position)
                for c in token * dim..<(token + 1) * dim { (k[c], v[c]) = (.nan, .infinity) }
            }
        }
        let poisoned = AttentionCase.call(
            like: clean, k: Tensor(k, shape: clean.k.shape), v: Tensor(v, shape: clean.v.shape))
        let expected = blockSparseAttention(clean, plan, values: .f32, kernel: kernel.kernel)
        let found = blockSparseAttention(poisoned, plan, values: .f32, kernel: kernel.kernel)
        #expect(found.values.floats() == expected.values.floats(), "seed \(random.seed)")
        #expect(found.logSumExp.floats() == expected.logSumExp.floats(), "seed \(random.seed)")
    }

    @Test(arguments: AttentionCase.allKernels)
    func notANumberInAPlannedBlockIsSeen(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let clean = AttentionCase.call(heads: 1, tokens: 130, headDim: 64, kernel, &random)
        var k = clean.k.floats()
        k[129 * 64 + 3] = .nan
        let call = AttentionCase.call(like: clean, k: Tensor(k, shape: clean.k.shape))
        let output = blockSparseAttention(call, .dense(tokens: 130), values: .bf16, kernel: kernel.kernel)
        #expect(output.values.floats().allSatisfy { $0.isNaN }, "seed \(random.seed)")
    }

    @Test(arguments: AttentionCase.allKernels)
    func oneThreadEqualsManyBitForBit(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let one = AttentionCase.call(heads: 3, tokens: 330, headDim: 64, kernel, &random)
        let plan = AttentionCase.plan(heads: 3, tokens: 330, density: 0.4, &random)
        let expected = blockSparseAttention(one, plan, values: .f32, kernel: kernel.kernel)
        for threads in [2, 3] {
            let many = AttentionCase.call(like: one, pool: WorkPool(threads: threads))
            let found = blockSparseAttention(many, plan, values: .f32, kernel: kernel.kernel)
            #expect(found.values.floats() == expected.values.floats(), "seed \(random.seed)")
            #expect(found.logSumExp.floats() == expected.logSumExp.floats(), "seed \(random.seed)")
        }
    }

    /// Short query blocks are computed together; so are none of their bits.
    @Test(
        arguments: AttentionCase.allKernels,
        [.dropped, .pooled(run: 3), .pooled(run: 40, order: .first), .levels([], runs: [1, 4, 32])]
            as [AttentionPlan.Rest])
    func queryBlocksTogetherEqualEachAloneBitForBit(kernel: AttentionKernelCase, rest: AttentionPlan.Rest) {
        var random = SeededRandom.fresh()
        let (heads, tokens, dim) = (3, 700, 40)
        let call = AttentionCase.call(heads: heads, tokens: tokens, headDim: dim, kernel, threads: 2, &random)
        var plan = AttentionCase.plan(heads: heads, tokens: tokens, density: 0.2, largest: 64, &random).with(rest: rest)
        if case .levels(_, let runs) = rest { plan = AttentionCase.withLevels(plan, runs: runs, &random) }
        plan.measuresMass = true
        let together = blockSparseAttention(call, plan, values: .f32, kernel: kernel.kernel)

        let packed = PackedKeys(
            k: call.k, v: call.v,
            blocks: plan.heads.map { KeyBlocks(order: $0.keyOrder, offsets: $0.keyOffsets, kernel: kernel.kernel) },
            kernel: kernel.kernel, pool: call.pool)
        let runs = plan.heads.map { head -> PooledKeys.Runs? in
            switch head.rest {
            case .dropped, .rectified: nil
            case .pooled(let run, let order): PooledKeys.Runs(keys: run ?? .max, order: order)
            case .levels(let levels, let runs): PooledKeys.Runs(keys: runs, levels: levels)
            }
        }
        let pooled = rest == .dropped ? nil : PooledKeys(
            k: call.k, v: call.v, beside: packed, runs: runs, set: call.instructionSet, pool: call.pool,
            buffers: TensorPool())
        let values = Tensor([Float](repeating: 0, count: together.values.count), shape: together.values.shape)
        let logSumExp = Tensor(
            [Float](repeating: -.infinity, count: heads * tokens), shape: together.logSumExp.shape)
        for (index, head) in plan.heads.enumerated() {
            let masses = Tensor([Float](repeating: 0, count: head.keyBlocks.count), shape: [head.keyBlocks.count])
            for block in 0..<head.queryBlocks {
                let kept = head.kept(block)
                var levels: ArraySlice<UInt8>?
                if case .levels(let all, _) = head.rest {
                    levels = all[block * head.keyBlockCount..<(block + 1) * head.keyBlockCount]
                }
                if kept.isEmpty && (pooled == nil || levels?.max() == 0) { continue }
                packed.attend(
                    head: index, q: HeadView(headMajor: call.q, head: index), order: head.queryOrder,
                    blocks: [
                        QueryBlock(
                            positions: Int(head.queryOffsets[block])..<Int(head.queryOffsets[block + 1]), kept: kept,
                            levels: levels, masses: masses.slice(kept.indices))
                    ], rest: pooled, scale: call.scale, out: HeadView(tokenMajor: values, head: index),
                    logSumExp: logSumExp[index], scratch: Scratch())
            }
            #expect(masses.floats() == together.masses[index].floats(), "seed \(random.seed)")
        }
        #expect(values.floats() == together.values.floats(), "seed \(random.seed)")
        #expect(logSumExp.floats() == together.logSumExp.floats(), "seed \(random.seed)")
    }

    @Test(arguments: [1, 127, 128, 129, 300])
    func partsCoverARangeEvenly(count: Int) {
        let parts = (5..<5 + count).parts(atMost: 128)
        #expect(parts.flatMap { Array($0) } == Array(5..<5 + count))
        #expect(parts.count == (count + 127) / 128)
        #expect(parts.map(\.count).max()! - parts.map(\.count).min()! <= 1)
    }
}
