import Foundation
import TestSupport
import Testing
import VDiT

/// The softmax mass on every kept block, which the kernel hands out where a plan asks for it.
@Suite struct MeasuredMass {
    private static let largest = AttentionKernel.rows

    private func measured(_ plan: AttentionPlan) -> AttentionPlan {
        var plan = plan
        plan.measuresMass = true
        return plan
    }

    @Test(arguments: AttentionCase.kernels, AttentionKernelTests.shapes)
    func massesEqualTheFloat64Oracle(kernel: AttentionKernelCase, shape: AttentionKernelTests.Shape) {
        var random = SeededRandom.fresh()
        let call = AttentionCase.call(
            heads: shape.heads, tokens: shape.tokens, headDim: shape.headDim, kernel, &random)
        for rest in [AttentionPlan.Rest.dropped, .pooled(run: 3), .pooled(run: nil), .pooled(run: nil, order: .first)] {
            let plan = AttentionCase.plan(
                heads: shape.heads, tokens: shape.tokens, density: 0.6, largest: Self.largest, &random
            ).with(rest: rest)
            expectParity(call, measured(plan), kernel, "seed \(random.seed), rest \(rest)")
        }
    }

    /// References of rows that rise from key to key, so that sums have to be rescaled time and again.
    @Test(arguments: AttentionCase.kernels)
    func massesFollowScoresThatRise(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let (tokens, headDim) = (290, 64)
        let base = AttentionCase.call(heads: 1, tokens: tokens, headDim: headDim, kernel, &random)
        var q = [Float](repeating: 0, count: tokens * headDim), k = q
        for token in 0..<tokens {
            q[token * headDim] = Float(token % 3)
            k[token * headDim] = Float(token / 8)
        }
        let call = AttentionCase.call(
            like: base, q: Tensor(q, shape: [1, tokens, headDim]), k: Tensor(k, shape: [1, tokens, headDim]),
            scale: 0.5)
        expectParity(call, measured(.dense(tokens: tokens, block: 20)), kernel, "seed \(random.seed)")
    }

    @Test(arguments: AttentionCase.kernels)
    func measuringChangesNoBitOfTheOutput(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let one = AttentionCase.call(heads: 2, tokens: 333, headDim: 72, kernel, &random)
        let many = AttentionCase.call(like: one, pool: WorkPool(threads: 3))
        let plan = AttentionCase.plan(heads: 2, tokens: 333, density: 0.5, largest: Self.largest, &random)
        let plain = blockSparseAttention(one, plan, values: .f32, kernel: kernel.kernel)
        #expect(plain.masses.isEmpty)
        let found = [one, many].map {
            blockSparseAttention($0, measured(plan), values: .f32, kernel: kernel.kernel)
        }
        for output in found {
            #expect(output.values.floats() == plain.values.floats(), "seed \(random.seed)")
            #expect(output.logSumExp.floats() == plain.logSumExp.floats())
            #expect(output.masses.map { $0.floats() } == found[0].masses.map { $0.floats() })
        }
    }

    @Test(arguments: AttentionCase.kernels)
    func aRowsMassesSumToOneWhereNothingIsPooled(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let call = AttentionCase.call(heads: 2, tokens: 257, headDim: 64, kernel, &random)
        let plan = AttentionCase.plan(heads: 2, tokens: 257, density: 0.5, largest: Self.largest, &random)
        let output = blockSparseAttention(call, measured(plan), values: .bf16, kernel: kernel.kernel)
        for (head, masses) in zip(plan.heads, output.masses.map { $0.floats() }) {
            for row in 0..<head.queryBlocks where !head.kept(row).isEmpty {
                let sum = masses[head.kept(row).indices].reduce(0, +)
                #expect(abs(sum - 1) < 1e-5, "seed \(random.seed)")
            }
        }
    }

    private func expectParity(
        _ call: AttentionCall, _ plan: AttentionPlan, _ kernel: AttentionKernelCase, _ comment: Comment
    ) {
        let found = blockSparseAttention(call, plan, values: .f32, kernel: kernel.kernel).masses
        let all = AttentionCase.oracle(call, plan).logSumExp
        let (q, k, dim) = (call.q.floats(), call.k.floats(), call.headDim)
        for index in 0..<call.heads {
            let (head, masses) = (plan.head(index), found[index].floats())
            let part = index * call.tokens * dim..<(index + 1) * call.tokens * dim
            func tokens(_ block: Int, _ offsets: [Int32], _ order: [Int32]?) -> [Int] {
                (offsets[block]..<offsets[block + 1]).map { Int(order?[Int($0)] ?? $0) }
            }
            for row in 0..<head.queryBlocks {
                let queries = tokens(row, head.queryOffsets, head.queryOrder)
                for (place, block) in zip(head.kept(row).indices, head.kept(row)) {
                    let keys = tokens(Int(block), head.keyOffsets, head.keyOrder)
                    let mass = queries.reduce(0.0) { sum, token in
                        let start = part.lowerBound + token * dim
                        let ofBlock = AttentionCase.oracle(
                            q: q[start..<start + dim], k: k[part], v: k[part], keys: keys,
                            scale: Double(call.scale)
                        ).logSumExp
                        return sum + exp(ofBlock - Double(all[index * call.tokens + token]))
                    }
                    let right = mass / Double(queries.count)
                    if !(abs(Double(masses[place]) - right) <= kernel.tolerance * max(right, 1e-3)) {
                        Issue.record("mass \(masses[place]), expected \(right): \(comment)")
                        return
                    }
                }
            }
        }
    }
}
