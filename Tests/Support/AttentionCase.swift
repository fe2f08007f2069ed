import Foundation
import Testing
import VDiT

/// A generator whose seed is fresh in every run and named in a failure.
public struct SeededRandom: RandomNumberGenerator {
    public let seed: UInt64
    private var state: UInt64

    public init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    public static func fresh() -> SeededRandom { SeededRandom(seed: .random(in: 0..<1_000_000_000)) }

    /// splitmix64
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// Roughly normal: the sum of twelve uniforms.
    public mutating func normal() -> Float {
        (0..<12).reduce(-6) { sum, _ in sum + Float.random(in: 0..<1, using: &self) }
    }
}

/// Root of the summed squared differences over that of the expected values.
public func relativeError(_ found: [Float], _ expected: [Float]) -> Double {
    precondition(found.count == expected.count)
    var difference = 0.0, size = 0.0
    for (a, b) in zip(found, expected) {
        difference += (Double(a) - Double(b)) * (Double(a) - Double(b))
        size += Double(b) * Double(b)
    }
    return (difference / max(size, 1e-30)).squareRoot()
}

/// A kernel with the operands it is tested on.
public struct AttentionKernelCase: Sendable, CustomTestStringConvertible {
    public let kernel: AttentionKernel
    public let operands: DType
    /// Relative error allowed against float64 on the same operands.
    public let tolerance: Double
    /// And of any one denominator.
    public let worst: Double
    public var testDescription: String { "\(kernel) \(operands)" }

    init(kernel: AttentionKernel, operands: DType, tolerance: Double? = nil, worst: Double? = nil) {
        (self.kernel, self.operands) = (kernel, operands)
        let usual = operands == .bf16 ? 1e-2 : 1e-5
        (self.tolerance, self.worst) = (tolerance ?? usual, worst ?? usual)
    }
}

/// Random attention calls and plans, and what they should come to.
public enum AttentionCase {
    /// Every kernel this CPU can run, in the table or emulated.
    public static let kernels: [AttentionKernelCase] =
        InstructionSet.supported.flatMap { set in
            [DType.f32, .bf16].map {
                AttentionKernelCase(kernel: AttentionKernel(set, operands: $0), operands: $0)
            }
        }
        + [AttentionKernel.emulatedAMX].compactMap(\.self).map { AttentionKernelCase(kernel: $0, operands: .bf16) }

    /// And those with int8 scores, whose error is that of two roundings to 127 steps.
    public static let allKernels = kernels
        + AttentionKernel.withInt8Scores.map {
            AttentionKernelCase(kernel: $0, operands: .bf16, tolerance: 3e-2, worst: 8e-2)
        }

    public static func normal(_ shape: [Int], _ dtype: DType, _ random: inout SeededRandom) -> Tensor {
        Tensor((0..<shape.reduce(1, *)).map { _ in random.normal() }, shape: shape).converted(to: dtype)
    }

    public static func call(
        heads: Int, tokens: Int, headDim: Int, _ kernel: AttentionKernelCase, threads: Int = 1,
        _ random: inout SeededRandom
    ) -> AttentionCall {
        let shape = [heads, tokens, headDim]
        return AttentionCall(
            q: normal(shape, kernel.operands, &random), k: normal(shape, kernel.operands, &random),
            v: normal(shape, kernel.operands, &random),
            layout: TokenLayout(frames: 1, height: 1, width: tokens),
            site: AttentionSite(layer: 0, branch: .conditional), step: 0, steps: 1,
            pool: WorkPool(threads: threads), instructionSet: .scalar)
    }

    /// The call with other operands, converted to its type.
    public static func call(
        like call: AttentionCall, q: Tensor? = nil, k: Tensor? = nil, v: Tensor? = nil, scale: Float? = nil,
        pool: WorkPool? = nil
    ) -> AttentionCall {
        let dtype = call.q.dtype
        return AttentionCall(
            q: (q ?? call.q).converted(to: dtype), k: (k ?? call.k).converted(to: dtype),
            v: (v ?? call.v).converted(to: dtype), scale: scale ?? call.scale, layout: call.layout,
            site: call.site, step: call.step, steps: call.steps, pool: pool ?? call.pool,
            instructionSet: call.instructionSet)
    }

    /// A plan of random permutations, block sizes (many of one token) and kept blocks (some rows empty).
    ///
    /// - Parameter largest: tokens of a block at most.
    public static func plan(
        heads: Int, tokens: Int, density: Double, largest: Int = 200, _ random: inout SeededRandom
    ) -> AttentionPlan {
        func offsets() -> [Int32] {
            var offsets: [Int32] = [0]
            while Int(offsets.last!) < tokens {
                let size = min(largest, [1, 2, 5, 16, 17, 64, 100, 200].randomElement(using: &random)!)
                offsets.append(Int32(min(tokens, Int(offsets.last!) + size)))
            }
            return offsets
        }
        func order() -> [Int32]? {
            Bool.random(using: &random) ? (0..<Int32(tokens)).shuffled(using: &random) : nil
        }
        return AttentionPlan(
            heads: (0..<heads).map { _ in
                let queryOffsets = offsets(), keyOffsets = offsets()
                var rowStart: [Int32] = [0], kept: [Int32] = []
                for _ in 1..<queryOffsets.count {
                    for block in 0..<keyOffsets.count - 1
                    where Double.random(in: 0..<1, using: &random) < density {
                        kept.append(Int32(block))
                    }
                    rowStart.append(Int32(kept.count))
                }
                return AttentionPlan.Head(
                    queryOrder: order(), keyOrder: order(), queryOffsets: queryOffsets,
                    keyOffsets: keyOffsets, rowStart: rowStart, keyBlocks: kept)
            })
    }

    /// The plan with a level for every pair of blocks that it does not keep, some of them none.
    public static func withLevels(_ plan: AttentionPlan, runs: [Int], _ random: inout SeededRandom) -> AttentionPlan {
        var plan = plan
        for index in plan.heads.indices {
            let head = plan.heads[index]
            var levels = (0..<head.queryBlocks * head.keyBlockCount).map { _ in
                UInt8.random(in: 0...UInt8(runs.count), using: &random)
            }
            for row in 0..<head.queryBlocks {
                for block in head.kept(row) { levels[row * head.keyBlockCount + Int(block)] = 0 }
            }
            plan.heads[index].rest = .levels(levels, runs: runs)
        }
        return plan
    }

    /// One query over the listed keys, in float64: values and natural-log denominator.
    ///
    /// - Parameters:
    ///   - counts: how many keys each key stands for; nil is 1.
    ///   - slope: `[dim, dim]`, by which the values of keys that stand for several lean with the query; nil is 0.
    public static func oracle(
        q: ArraySlice<Float>, k: ArraySlice<Float>, v: ArraySlice<Float>, keys: [Int], counts: [Int]? = nil,
        slope: (first: Int, matrix: [Double])? = nil, scale: Double
    ) -> (values: [Double], logSumExp: Double) {
        let dim = q.count
        var values = [Double](repeating: 0, count: dim)
        if keys.isEmpty { return (values, -.infinity) }
        let scores = keys.map { key in
            var sum = 0.0
            for c in 0..<dim {
                sum += Double(q[q.startIndex + c]) * Double(k[k.startIndex + key * dim + c])
            }
            return sum * scale + log(Double(counts?[key] ?? 1))
        }
        let largest = scores.max()!
        var total = 0.0, ofRest = 0.0
        for (key, score) in zip(keys, scores) {
            let weight = exp(score - largest)
            total += weight
            if let slope, key >= slope.first { ofRest += weight }
            for c in 0..<dim { values[c] += weight * Double(v[v.startIndex + key * dim + c]) }
        }
        if let slope {
            for (i, value) in q.enumerated() {
                for c in 0..<dim { values[c] += ofRest * scale * Double(value) * slope.matrix[i * dim + c] }
            }
        }
        return (values.map { $0 / total }, largest + log(total))
    }

    /// The whole plan in float64: `[tokens, heads, headDim]` values and `[heads, tokens]` denominators.
    public static func oracle(_ call: AttentionCall, _ plan: AttentionPlan) -> (values: [Float], logSumExp: [Float]) {
        let (heads, tokens, dim) = (call.heads, call.tokens, call.headDim)
        let (q, k, v) = (call.q.floats(), call.k.floats(), call.v.floats())
        var values = [Float](repeating: 0, count: tokens * heads * dim)
        var denominators = [Float](repeating: 0, count: heads * tokens)
        for index in 0..<heads {
            let head = plan.head(index)
            let part = index * tokens * dim..<(index + 1) * tokens * dim
            let short = shortened(head, k[part], v[part], dim)
            for block in 0..<head.queryBlocks {
                let kept = Set(head.kept(block))
                let keys = (0..<Int32(head.keyBlockCount)).flatMap { key -> [Int] in
                    if kept.contains(key) { return self.tokens(of: Int(key), head) }
                    guard case .levels(let levels, _) = head.rest else { return short.keys.first?[Int(key)] ?? [] }
                    let level = Int(levels[block * head.keyBlockCount + Int(key)])
                    return level > 0 ? short.keys[level - 1][Int(key)] : []
                }
                for position in Int(head.queryOffsets[block])..<Int(head.queryOffsets[block + 1]) {
                    let token = head.queryOrder.map { Int($0[position]) } ?? position
                    let start = part.lowerBound + token * dim
                    let row = oracle(
                        q: q[start..<start + dim], k: short.k, v: short.v, keys: keys, counts: short.counts,
                        slope: short.slope.map { (tokens, $0) }, scale: Double(call.scale))
                    for c in 0..<dim { values[(token * heads + index) * dim + c] = Float(row.values[c]) }
                    denominators[index * tokens + token] = Float(row.logSumExp)
                }
            }
        }
        return (values, denominators)
    }

    private static func tokens(of block: Int, _ head: AttentionPlan.Head) -> [Int] {
        (head.keyOffsets[block]..<head.keyOffsets[block + 1]).map { Int(head.keyOrder?[Int($0)] ?? $0) }
    }

    /// A head's keys and values, behind them those that stand for the rest, how many keys each stands for, which of
    /// them stand for each block at each level, and how values lean with keys where the rest is of first order.
    private static func shortened(
        _ head: AttentionPlan.Head, _ k: ArraySlice<Float>, _ v: ArraySlice<Float>, _ dim: Int
    ) -> (k: ArraySlice<Float>, v: ArraySlice<Float>, counts: [Int], keys: [[[Int]]], slope: [Double]?) {
        var (k, v) = (k, v)
        let tokenCount = k.count / dim
        var counts = [Int](repeating: 1, count: tokenCount)
        var slope: [Double]?
        if case .pooled(_, .first) = head.rest { slope = [Double](repeating: 0, count: dim * dim) }
        let runs: [Int?]
        switch head.rest {
        case .dropped, .rectified: runs = []
        case .pooled(let run, _): runs = [run]
        case .levels(_, let all): runs = all
        }
        func shortened(_ block: Int, run: Int?) -> [Int] {
            let all = tokens(of: block, head)
            return stride(from: 0, to: all.count, by: run ?? all.count).map { start in
                let members = all[start..<min(all.count, start + (run ?? all.count))]
                func mean(_ x: ArraySlice<Float>) -> [Float] {
                    (0..<dim).map { c in
                        let sum = members.reduce(0.0) { $0 + Double(x[x.startIndex + $1 * dim + c]) }
                        return Float(sum / Double(members.count))
                    }
                }
                let centre = mean(k)
                for token in members where slope != nil {
                    for i in 0..<dim {
                        let apart = Double(k[k.startIndex + token * dim + i]) - Double(centre[i])
                        for c in 0..<dim {
                            slope?[i * dim + c] += apart * Double(v[v.startIndex + token * dim + c]) / Double(tokenCount)
                        }
                    }
                }
                k += centre
                v += mean(v)
                counts.append(members.count)
                return counts.count - 1
            }
        }
        let keys = runs.map { run in (0..<head.keyBlockCount).map { shortened($0, run: run) } }
        return (k, v, counts, keys, slope)
    }

    /// Values within the kernel's tolerance by relative RMS, denominators within it each, −∞ where nothing
    /// is kept.
    public static func expectParity(
        _ call: AttentionCall, _ plan: AttentionPlan, _ kernel: AttentionKernelCase, _ comment: Comment,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let output = blockSparseAttention(call, plan, values: .f32, kernel: kernel.kernel)
        let expected = oracle(call, plan)
        let error = relativeError(output.values.floats(), expected.values)
        #expect(error <= kernel.tolerance, comment, sourceLocation: sourceLocation)
        for (found, right) in zip(output.logSumExp.floats(), expected.logSumExp) {
            if right == -.infinity {
                #expect(found == right, comment, sourceLocation: sourceLocation)
            } else if !(abs(found - right) <= Float(kernel.worst) * max(1, abs(right))) {
                Issue.record("logSumExp \(found), expected \(right): \(comment)", sourceLocation: sourceLocation)
            }
        }
    }
}
