import Foundation
import TestSupport
import Testing
import VDiT

/// Key blocks that are not kept, entering as means, on every kernel.
@Suite struct PooledRest {
    @Test(arguments: AttentionCase.allKernels, AttentionKernelTests.shapes)
    func randomPlansEqualTheFloat64Oracle(kernel: AttentionKernelCase, shape: AttentionKernelTests.Shape) {
        var random = SeededRandom.fresh()
        let call = AttentionCase.call(
            heads: shape.heads, tokens: shape.tokens, headDim: shape.headDim, kernel, &random)
        for rest in [
            .pooled(run: nil), .pooled(run: 1), .pooled(run: 3), .pooled(run: 16), .pooled(run: nil, order: .first),
            .pooled(run: 16, order: .first),
        ] as [AttentionPlan.Rest] {
            for density in [0, 0.3, 0.8] {
                let plan = AttentionCase.plan(
                    heads: shape.heads, tokens: shape.tokens, density: density, &random
                ).with(rest: rest)
                AttentionCase.expectParity(call, plan, kernel, "\(rest), density \(density), seed \(random.seed)")
            }
        }
        for density in [0, 0.3] {
            let plan = AttentionCase.plan(heads: shape.heads, tokens: shape.tokens, density: density, &random)
            AttentionCase.expectParity(
                call, AttentionCase.withLevels(plan, runs: [2, 4, 8], &random), kernel,
                "levels, density \(density), seed \(random.seed)")
        }
    }

    /// Means lie in panels that all query blocks share, each with those of its kept blocks hidden: the first panel and
    /// the last, whole ones between, every other one, all but one, none and all.
    @Test(arguments: AttentionCase.allKernels)
    func panelsOfKeptBlocksAreNotSeen(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let (blocks, tokens) = (Int32(100), 310)
        let call = AttentionCase.call(heads: 2, tokens: tokens, headDim: 40, kernel, &random)
        let kept: [[Int32]] = [
            Array(0..<40), Array(60..<blocks), Array(30..<70), Array(stride(from: 0, to: blocks, by: 2)),
            Array(0..<blocks - 1), Array(1..<blocks), [], Array(0..<blocks),
        ]
        let head = AttentionPlan.Head(
            keyOrder: (0..<Int32(tokens)).shuffled(using: &random),
            queryOffsets: (0...8).map { Int32($0 * tokens / 8) }, keyOffsets: (0..<blocks).map { $0 * 3 } + [310],
            rowStart: kept.reduce(into: [0]) { $0.append($0[$0.count - 1] + Int32($1.count)) },
            keyBlocks: kept.flatMap(\.self))
        let plan = AttentionPlan(heads: [head])
        for rest in [
            .pooled(run: nil), .pooled(run: 2), .pooled(run: nil, order: .first),
        ] as [AttentionPlan.Rest] {
            AttentionCase.expectParity(call, plan.with(rest: rest), kernel, "\(rest), seed \(random.seed)")
        }
        AttentionCase.expectParity(
            call, AttentionCase.withLevels(plan, runs: [1, 2, 3], &random), kernel, "levels, seed \(random.seed)")
    }

    /// A level for all is a pooled rest, and a level of single keys the block itself.
    @Test(arguments: AttentionCase.kernels)
    func oneLevelOfAllIsThePooledRest(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let call = AttentionCase.call(heads: 2, tokens: 150, headDim: 32, kernel, &random)
        let plan = AttentionCase.plan(heads: 2, tokens: 150, density: 0.3, &random)
        func leveled(_ level: UInt8) -> AttentionPlan {
            var plan = plan
            for index in plan.heads.indices {
                let head = plan.heads[index]
                var levels = [UInt8](repeating: level, count: head.queryBlocks * head.keyBlockCount)
                for row in 0..<head.queryBlocks {
                    for block in head.kept(row) { levels[row * head.keyBlockCount + Int(block)] = 0 }
                }
                plan.heads[index].rest = .levels(levels, runs: [1, 4])
            }
            return plan
        }
        func values(_ plan: AttentionPlan) -> [Float] {
            blockSparseAttention(call, plan, values: .f32, kernel: kernel.kernel).values.floats()
        }
        #expect(values(leveled(0)) == values(plan), "seed \(random.seed)")
        let same: [UInt8: AttentionPlan] = [1: .dense(tokens: 150), 2: plan.with(rest: .pooled(run: 4))]
        for (level, same) in same {
            let error = relativeError(values(leveled(level)), values(same))
            #expect(error <= kernel.tolerance, "level \(level), seed \(random.seed)")
        }
        #expect(leveled(1).density(tokens: 150) == 1)
        for level in 0...2 {
            let rests: [AttentionPlan.Rest] = [.dropped, .pooled(run: 1), .pooled(run: 4)]
            #expect(leveled(UInt8(level)).density(tokens: 150) == plan.with(rest: rests[level]).density(tokens: 150))
        }
    }

    /// One head's blocks may be pooled and another's dropped; all of them are a key apart with runs of 1.
    @Test(arguments: AttentionCase.allKernels)
    func headsRestAsEachSays(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let call = AttentionCase.call(heads: 4, tokens: 140, headDim: 64, kernel, &random)
        var plan = AttentionCase.plan(heads: 4, tokens: 140, density: 0.4, &random)
        plan.heads[0].rest = .pooled(run: nil)
        plan.heads[1].rest = .pooled(run: nil, order: .first)
        plan.heads[2].rest = .pooled(run: 7)
        AttentionCase.expectParity(call, plan, kernel, "seed \(random.seed)")
    }

    @Test(arguments: AttentionCase.allKernels)
    func nothingLeftOutIsDenseBitForBit(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let call = AttentionCase.call(heads: 2, tokens: 203, headDim: 64, kernel, &random)
        let dense = AttentionPlan.dense(tokens: 203, block: 48)
        let expected = blockSparseAttention(call, dense, values: .f32, kernel: kernel.kernel)
        let found = blockSparseAttention(
            call, dense.with(rest: .pooled(run: nil)), values: .f32, kernel: kernel.kernel)
        #expect(found.values.floats() == expected.values.floats(), "seed \(random.seed)")
        #expect(found.logSumExp.floats() == expected.logSumExp.floats(), "seed \(random.seed)")

        // And where only one row leaves something out, the others.
        var some = dense
        some.heads[0].keyBlocks.removeFirst()
        for row in 1..<some.heads[0].rowStart.count { some.heads[0].rowStart[row] -= 1 }
        let partly = blockSparseAttention(
            call, some.with(rest: .pooled(run: nil)), values: .f32, kernel: kernel.kernel)
        #expect(partly.values.slice(48..<203).floats() == expected.values.slice(48..<203).floats())
        #expect(partly.values.slice(0..<48).floats() != expected.values.slice(0..<48).floats())
    }

    @Test(arguments: AttentionCase.kernels)
    func keysAlikeWithinBlocksMakeItExactAtAnyDensity(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let (tokens, dim) = (150, 64)
        let base = AttentionCase.call(heads: 1, tokens: tokens, headDim: dim, kernel, &random)
        var plan = AttentionCase.plan(heads: 1, tokens: tokens, density: 0.2, &random)
        var k = base.k.floats()
        let head = plan.heads[0]
        for block in 0..<head.keyBlockCount {
            let members = (head.keyOffsets[block]..<head.keyOffsets[block + 1]).map {
                Int(head.keyOrder?[Int($0)] ?? $0)
            }
            for token in members { for c in 0..<dim { k[token * dim + c] = k[members[0] * dim + c] } }
        }
        let call = AttentionCase.call(like: base, k: Tensor(k, shape: base.k.shape))
        plan = plan.with(rest: .pooled(run: nil))
        let found = blockSparseAttention(call, plan, values: .f32, kernel: kernel.kernel)
        let dense = blockSparseAttention(call, .dense(tokens: tokens), values: .f32, kernel: kernel.kernel)
        #expect(relativeError(found.values.floats(), dense.values.floats()) <= kernel.tolerance, "seed \(random.seed)")
        #expect(relativeError(found.logSumExp.floats(), dense.logSumExp.floats()) <= kernel.tolerance)
    }

    @Test(arguments: AttentionCase.allKernels)
    func oneThreadEqualsManyBitForBit(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let one = AttentionCase.call(heads: 3, tokens: 330, headDim: 64, kernel, &random)
        var plan = AttentionCase.plan(heads: 3, tokens: 330, density: 0.4, &random).with(rest: .pooled(run: nil))
        plan.heads[1].rest = .pooled(run: nil, order: .first)
        let expected = blockSparseAttention(one, plan, values: .bf16, kernel: kernel.kernel)
        let many = AttentionCase.call(like: one, pool: WorkPool(threads: 3))
        let found = blockSparseAttention(many, plan, values: .bf16, kernel: kernel.kernel)
        #expect(found.values.floats() == expected.values.floats(), "seed \(random.seed)")
    }

    @Test func pairsCountTheMeans() {
        // Rows of 100 and 30 queries; blocks of 100 and 30 keys, each row keeping its own.
        let head = AttentionPlan.Head(
            queryOffsets: [0, 100, 130], keyOffsets: [0, 100, 130], rowStart: [0, 1, 2], keyBlocks: [0, 1])
        let plan = AttentionPlan(heads: [head])
        #expect(plan.heads[0].pairs == 100 * 100 + 30 * 30)
        #expect(plan.with(rest: .pooled(run: nil)).heads[0].pairs == 100 * 101 + 30 * 31)
        #expect(plan.with(rest: .pooled(run: 8)).heads[0].pairs == 100 * 104 + 30 * 43)
        #expect(plan.with(rest: .pooled(run: 1)).density(tokens: 130) == 1)
    }

    /// PISA without and with its slope, as our statement of its formula in NumPy has it.
    @Test(arguments: ["pisa_even", "pisa_odd"], AttentionCase.kernels.filter { $0.operands == .f32 })
    func goldenOutputsOfPISAAreReproduced(name: String, kernel: AttentionKernelCase) throws {
        let golden = try SpecificationGolden.entry(name)
        let probe = try SpecificationGolden.entry(name == "pisa_even" ? "probe" : "oddProbe")
        let grid = try #require(probe["grid"] as? [Int])
        let call = SpecificationGolden.call(grid)
        let layout = call.layout
        let sums = try #require(probe["checksums"] as? [String: [Double]])
        for (letter, tensor) in [("q", call.q), ("k", call.k), ("v", call.v)] {
            let sum = tensor.floats().reduce(0.0) { $0 + Double($1) }
            #expect(abs(sum - (try #require(sums[letter])[0])) < 1e-4)
        }
        let offsets = AttentionPlan.offsets(tokens: layout.tokens, block: try #require(golden["block"] as? Int))
        let zeroth = AttentionPlan(
            heads: try #require(golden["kept"] as? [[[Int]]]).map { rows in
                AttentionPlan.Head(
                    queryOffsets: offsets, keyOffsets: offsets,
                    rowStart: rows.reduce(into: [0]) { $0.append($0[$0.count - 1] + Int32($1.count)) },
                    keyBlocks: rows.flatMap { $0.map(Int32.init) }, rest: .pooled(run: nil))
            })
        for (plan, key) in [(zeroth, "zeroth"), (zeroth.with(rest: .pooled(run: nil, order: .first)), "output")] {
            try SpecificationGolden.expect(
                blockSparseAttention(call, plan, values: .f32, kernel: kernel.kernel), golden[key])
        }
    }
}
