import Foundation
import TestSupport
import Testing
import VDiT

/// Every kernel against a float64 statement of the plan's semantics, on fresh random inputs.
struct AttentionKernelTests {
    struct Shape: CustomTestStringConvertible {
        var heads = 1
        let tokens: Int
        let headDim: Int
        var testDescription: String { "\(heads)×\(tokens)×\(headDim)" }
    }

    static let shapes = [
        Shape(tokens: 1, headDim: 64), Shape(tokens: 2, headDim: 8), Shape(tokens: 15, headDim: 16),
        Shape(heads: 3, tokens: 33, headDim: 40), Shape(tokens: 63, headDim: 64),
        Shape(tokens: 129, headDim: 72), Shape(heads: 2, tokens: 200, headDim: 80),
        Shape(heads: 2, tokens: 257, headDim: 128), Shape(tokens: 300, headDim: 256),
    ]

    @Test(arguments: AttentionCase.allKernels, shapes)
    func denseAttentionEqualsTheFloat64Oracle(kernel: AttentionKernelCase, shape: Shape) {
        var random = SeededRandom.fresh()
        let call = AttentionCase.call(
            heads: shape.heads, tokens: shape.tokens, headDim: shape.headDim, kernel, &random)
        let plan = AttentionPlan.dense(tokens: shape.tokens, block: 48)
        AttentionCase.expectParity(call, plan, kernel, "seed \(random.seed)")
    }

    @Test(arguments: AttentionCase.allKernels, shapes)
    func randomPlansEqualTheFloat64Oracle(kernel: AttentionKernelCase, shape: Shape) {
        var random = SeededRandom.fresh()
        let call = AttentionCase.call(
            heads: shape.heads, tokens: shape.tokens, headDim: shape.headDim, kernel, &random)
        for density in [0.2, 0.7] {
            let plan = AttentionCase.plan(
                heads: shape.heads, tokens: shape.tokens, density: density, &random)
            AttentionCase.expectParity(call, plan, kernel, "seed \(random.seed)")
        }
    }

    @Test(arguments: AttentionCase.kernels)
    func extremeLogitsStayFiniteAndExact(kernel: AttentionKernelCase) {
        // Queries and keys are powers of two along one axis, so that scores up to ±10⁴ are exact in fp32.
        var random = SeededRandom.fresh()
        let tokens = 150, headDim = 64
        var call = AttentionCase.call(heads: 1, tokens: tokens, headDim: headDim, kernel, &random)
        var q = [Float](repeating: 0, count: tokens * headDim), k = q
        for token in 0..<tokens {
            q[token * headDim] = Float([-128, -1, 0, 1, 128].randomElement(using: &random)!)
            k[token * headDim] = Float([-64, -2, 0, 1, 32, 64].randomElement(using: &random)!)
        }
        call = AttentionCase.call(
            like: call, q: Tensor(q, shape: [1, tokens, headDim]), k: Tensor(k, shape: [1, tokens, headDim]),
            scale: 1.25)
        AttentionCase.expectParity(call, .dense(tokens: tokens, block: 32), kernel, "seed \(random.seed)")
    }

    @Test(arguments: AttentionCase.allKernels)
    func aDominantKeyIsReturnedWhereverItStands(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let tokens = 260, headDim = 64
        for place in [0, 17, 127, 128, 259] {
            let base = AttentionCase.call(heads: 1, tokens: tokens, headDim: headDim, kernel, &random)
            var q = [Float](repeating: 0, count: tokens * headDim), k = q
            for token in 0..<tokens { q[token * headDim] = 16 }
            k[place * headDim] = 64
            let call = AttentionCase.call(
                like: base, q: Tensor(q, shape: [1, tokens, headDim]),
                k: Tensor(k, shape: [1, tokens, headDim]), scale: 1)
            let output = blockSparseAttention(
                call, .dense(tokens: tokens, block: 64), values: .f32, kernel: kernel.kernel)
            let expected = Array(call.v.floats()[place * headDim..<(place + 1) * headDim])
            let error = relativeError(
                output.values.floats(), Array(repeating: expected, count: tokens).flatMap { $0 })
            #expect(error <= 1e-6, "seed \(random.seed), key \(place)")
        }
    }

    @Test(arguments: AttentionCase.allKernels)
    func valuesAreRoundedToBf16WhenAsked(kernel: AttentionKernelCase) {
        var random = SeededRandom.fresh()
        let call = AttentionCase.call(heads: 2, tokens: 70, headDim: 72, kernel, &random)
        let plan = AttentionCase.plan(heads: 2, tokens: 70, density: 0.5, &random)
        let full = blockSparseAttention(call, plan, values: .f32, kernel: kernel.kernel)
        let half = blockSparseAttention(call, plan, values: .bf16, kernel: kernel.kernel)
        #expect(half.values.floats() == full.values.converted(to: .bf16).floats(), "seed \(random.seed)")
        #expect(half.logSumExp.floats() == full.logSumExp.floats())
    }

    @Test(arguments: AttentionCase.allKernels, [1, 31, 226, 512])
    func crossAttentionEqualsTheFloat64Oracle(kernel: AttentionKernelCase, keys: Int) {
        var random = SeededRandom.fresh()
        let (heads, rows, headDim) = (2, 150, 64)
        let q = AttentionCase.normal([rows, heads, headDim], kernel.operands, &random)
        let k = AttentionCase.normal([heads, keys, headDim], kernel.operands, &random)
        let v = AttentionCase.normal([heads, keys, headDim], kernel.operands, &random)
        let pool = WorkPool(threads: 1)
        let packed = PackedKeys(k: k, v: v, kernel: kernel.kernel, pool: pool)
        let out = Tensor(.f32, [rows, heads, headDim])
        // Row chunks, as a fused layer calls it.
        pool.run(3) { chunk, scratch in
            let part = chunk * 50..<(chunk + 1) * 50
            crossAttention(q: q.slice(part), keys: packed, into: out.slice(part), scratch: scratch)
        }
        var expected: [Float] = []
        let (qs, ks, vs) = (q.floats(), k.floats(), v.floats())
        for row in 0..<rows {
            for head in 0..<heads {
                let start = (row * heads + head) * headDim
                let (values, _) = AttentionCase.oracle(
                    q: qs[start..<start + headDim], k: ks[head * keys * headDim..<(head + 1) * keys * headDim],
                    v: vs[head * keys * headDim..<(head + 1) * keys * headDim], keys: Array(0..<keys),
                    scale: 1 / Double(headDim).squareRoot())
                expected += values.map { Float($0) }
            }
        }
        #expect(relativeError(out.floats(), expected) <= kernel.tolerance, "seed \(random.seed)")
    }

    @Test(arguments: AttentionCase.allKernels)
    func aBiasIsAddedToTheScaledScoresOfItsKey(kernel: AttentionKernelCase) {
        // A bias of log n is a key listed n times; keys of −200 are as good as absent.
        var random = SeededRandom.fresh()
        let (heads, keys, rows, headDim) = (2, 75, 40, 64)
        let q = AttentionCase.normal([rows, heads, headDim], kernel.operands, &random)
        let k = AttentionCase.normal([heads, keys, headDim], kernel.operands, &random)
        let v = AttentionCase.normal([heads, keys, headDim], kernel.operands, &random)
        let copies = (0..<heads * keys).map { _ in [0, 1, 2, 7].randomElement(using: &random)! }
        let bias = Tensor(copies.map { $0 == 0 ? -200 : Float(log(Double($0))) }, shape: [heads, keys])
        let order = (0..<Int32(keys)).shuffled(using: &random)
        let pool = WorkPool(threads: 1)
        let packed = PackedKeys(
            k: k, v: v, bias: bias,
            blocks: [KeyBlocks(order: order, offsets: [0, 1, 34, 75], kernel: kernel.kernel)],
            kernel: kernel.kernel, pool: pool)
        let out = Tensor(.f32, [rows, heads, headDim])
        pool.run(heads) { head, scratch in
            packed.attend(
                head: head, q: HeadView(tokenMajor: q, head: head),
                blocks: [QueryBlock(positions: 0..<rows, kept: [0, 1, 2])], scale: 0.125,
                out: HeadView(tokenMajor: out, head: head), scratch: scratch)
        }
        let (qs, ks, vs) = (q.floats(), k.floats(), v.floats())
        var expected: [Float] = []
        for row in 0..<rows {
            for head in 0..<heads {
                let start = (row * heads + head) * headDim
                let part = head * keys * headDim..<(head + 1) * keys * headDim
                let listed = (0..<keys).flatMap { Array(repeating: $0, count: copies[head * keys + $0]) }
                expected += AttentionCase.oracle(
                    q: qs[start..<start + headDim], k: ks[part], v: vs[part], keys: listed, scale: 0.125
                ).values.map { Float($0) }
            }
        }
        #expect(relativeError(out.floats(), expected) <= kernel.tolerance, "seed \(random.seed)")
    }

    @Test(arguments: InstructionSet.supported, Precision.allCases)
    func theBenchmarkMeasuresWhatItSays(set: InstructionSet, precision: Precision) {
        let benchmark = AttentionBenchmark(
            heads: 2, tokens: 300, headDim: 64, precision: precision, block: 64, blockDensity: 0.4, seed: 3)
        let result = benchmark.run(repeats: 3, pool: WorkPool(threads: 2), instructionSet: set)
        #expect(result.relativeError <= (precision == .fp32 ? 1e-5 : 1e-2))
        // fp32 on the scalar kernel is the reference itself.
        #expect(result.relativeError > 0 || (set == .scalar && precision == .fp32))
        #expect(result.timing.seconds.count == 3)
        #expect((0.2...0.9).contains(result.density))
        #expect(result.flops == result.density * 4 * 2 * 300 * 300 * 64)
    }
}
