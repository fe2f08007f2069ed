import TestSupport
import Testing
import VDiT

/// Key blocks that are not kept, entering by their estimated mass.
@Suite struct Rectification {
    @Test func outputIsThatOfTheSpecification() throws {
        try SpecificationGolden.expectOutput(
            "jenga",
            [
                "block": "16", "own": "off", "order": "raster", "neighbours": "off", "first-frame": "off",
                "mass": "0.3", "sparsity": "0.8", "rest": "rectified",
            ], of: "rectified")
    }

    /// What is added to all keys' values alike passes through, whatever the blocks' sizes and the orders.
    @Test(arguments: AttentionCase.kernels)
    func valuesThatAreAllTheSameStayWhatTheyAre(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let base = AttentionCase.call(heads: 3, tokens: 160, headDim: 32, kernel, &random)
        let threes = Tensor([Float](repeating: 3, count: base.v.count), shape: base.v.shape)
        let call = AttentionCase.call(like: base, v: threes)
        let plan = AttentionCase.plan(heads: 3, tokens: 160, density: 0.4, &random)
        func values(_ plan: AttentionPlan) -> [Float] {
            blockSparseAttention(call, plan, values: .f32, kernel: kernel.kernel).values.floats()
        }
        // A query block without keys has no values in either.
        #expect(MethodCase.distance(values(plan.with(rest: .rectified)), values(plan)) < 1e-2, "seed \(random.seed)")
    }

    /// Where tokens are as their block's mean, the estimate is exact.
    @Test func blocksOfTokensAlikeAreEstimatedExactly() {
        var random = SeededRandom.fresh()
        let kernel = AttentionCase.kernels[0]
        let base = AttentionCase.call(heads: 1, tokens: 96, headDim: 16, kernel, &random)
        func alike(_ x: Tensor) -> Tensor {
            let x = x.floats()
            var rows: [Float] = []
            for token in 0..<96 {
                let first = token / 12 * 12 * 16
                rows += x[first..<first + 16]
            }
            return Tensor(rows, shape: [1, 96, 16])
        }
        let call = AttentionCase.call(like: base, q: alike(base.q), k: alike(base.k))
        let offsets = AttentionPlan.offsets(tokens: 96, block: 12)
        let plan = AttentionPlan(heads: [
            AttentionPlan.Head(
                queryOffsets: offsets, keyOffsets: offsets, rowStart: (0...8).map { $0 }, keyBlocks: (0..<8).map { $0 },
                rest: .rectified)
        ])
        let found = blockSparseAttention(call, plan, values: .f32, kernel: kernel.kernel).values.floats()
        let dense = blockSparseAttention(call, .dense(tokens: 96), values: .f32, kernel: kernel.kernel).values.floats()
        #expect(relativeError(found, dense) < 1e-5, "seed \(random.seed)")
    }

    @Test(arguments: AttentionCase.kernels)
    func nothingLeftOutIsDenseBitForBit(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let call = AttentionCase.call(heads: 2, tokens: 203, headDim: 64, kernel, &random)
        let dense = AttentionPlan.dense(tokens: 203, block: 48)
        let expected = blockSparseAttention(call, dense, values: .f32, kernel: kernel.kernel)
        let found = blockSparseAttention(call, dense.with(rest: .rectified), values: .f32, kernel: kernel.kernel)
        #expect(found.values.floats() == expected.values.floats(), "seed \(random.seed)")
    }
}
