import Testing
import TestSupport
import VDiT
import VditAttention

/// What a run's attention promises whatever the method.
@Suite struct MethodOutputInvariants {
    private let layout = TokenLayout(frames: 3, height: 7, width: 9, textBefore: 4, textAfter: 11)

    private func run(
        _ context: AttentionContext, steps: Range<Int>, loop: Int = 12, layers: Int = 2, seed: UInt64,
        dtype: DType = .f32, pool: WorkPool = WorkPool(threads: 2)
    ) throws -> [[Float]] {
        var outputs: [[Float]] = []
        for step in steps {
            for branch in AttentionSite.Branch.allCases {
                for layer in 0..<layers {
                    var random = SeededRandom(
                        seed: seed &+ UInt64(step * 100 + layer * 10 + (branch == .conditional ? 0 : 1)))
                    outputs.append(
                        try context.attend(
                            MethodCase.call(
                                context.layout(of: branch), dtype: dtype, step: step, steps: loop, layer: layer,
                                branch: branch, pool: pool, &random)
                        ).values.floats())
                }
            }
        }
        return outputs
    }

    @Test(arguments: MethodExample.keepingAll, [DType.f32, .bf16])
    func keepingEverythingEqualsDense(example: MethodExample, dtype: DType) throws {
        let seed = SeededRandom.fresh().seed
        let context = try AttentionContext(example.configured(), layout: layout)
        let dense = try AttentionContext(MethodExample("dense").configured(), layout: layout)
        let found = try run(context, steps: 4..<8, seed: seed, dtype: dtype)
        let expected = try run(dense, steps: 4..<8, seed: seed, dtype: dtype)
        // Re-ttention's residual of a full window is rounding alone, in fp32 as in bf16.
        for (a, b) in zip(found, expected) {
            #expect(relativeError(a, b) < (dtype == .f32 ? 1e-5 : 1e-2), "seed \(seed)")
        }
        #expect(context.statistics.total.sparseCalls == 0)
    }

    @Test(arguments: MethodExample.all)
    func resumedRunEqualsUninterruptedOne(example: MethodExample) throws {
        let seed = SeededRandom.fresh().seed
        let whole = try AttentionContext(example.configured(), layout: layout)
        let expected = try run(whole, steps: 0..<8, seed: seed)
        let first = try AttentionContext(example.configured(), layout: layout)
        _ = try run(first, steps: 0..<5, seed: seed)
        let second = try AttentionContext(example.configured(), layout: layout)
        let bytes = try SafetensorsWriter.bytes(first.learnedState())
        let file = try SafetensorsReader(bytes: bytes, name: "state")
        try second.restore(
            Dictionary(uniqueKeysWithValues: file.names.map { ($0, try file.tensor($0)) }))
        let found = try run(second, steps: 5..<8, seed: seed)
        #expect(found == Array(expected.suffix(found.count)), "seed \(seed)")
    }

    /// Putting an earlier state back undoes what came after it, statistics included.
    @Test(arguments: MethodExample.all)
    func anEarlierStateUndoesAStep(example: MethodExample) throws {
        let seed = SeededRandom.fresh().seed
        let context = try AttentionContext(example.configured(), layout: layout)
        _ = try run(context, steps: 3..<5, seed: seed)
        let before = context.state
        let once = try run(context, steps: 5..<6, seed: seed)
        let pairs = context.statistics.total.computedPairs
        context.state = before
        #expect(try run(context, steps: 5..<6, seed: seed) == once, "seed \(seed)")
        #expect(context.statistics.total.computedPairs == pairs)
    }

    /// Branches whose texts differ in length are computed as if each had a context of its own; but where they learn
    /// together, which mass does on purpose, only the first of a step is.
    @Test(arguments: MethodExample.all)
    func branchesOfTwoLayoutsAreComputedAsIfAlone(example: MethodExample) throws {
        let seed = SeededRandom.fresh().seed
        let layouts: [AttentionSite.Branch: TokenLayout] = [
            .conditional: layout, .unconditional: TokenLayout(frames: 3, height: 7, width: 9, textBefore: 4),
        ]
        let both = try AttentionContext(example.configured(), layouts: layouts)
        let learnApart = !both.configuration.method.sharesBranches
        let found = try run(both, steps: 4..<7, seed: seed)
        var work = 0.0, pairs = 0.0
        for (offset, branch) in AttentionSite.Branch.allCases.enumerated() {
            let own = try #require(layouts[branch])
            let alone = try AttentionContext(example.configured(), layout: own)
            let expected = try run(alone, steps: 4..<7, seed: seed)
            // Two layers of each branch in turn.
            for index in expected.indices where index / 2 % 2 == offset && (learnApart || offset == 0) {
                #expect(found[index] == expected[index], "\(branch) seed \(seed)")
            }
            let dense = Double(own.tokens * own.tokens)
            work += alone.predictedWork(calls: [2, 2, 2], layers: 2).share * dense
            pairs += dense
        }
        if learnApart { #expect(abs(both.predictedWork(calls: [2, 2, 2], layers: 2).share - work / pairs) < 1e-12) }
    }

    @Test func oneBranchMayBeRefusedAndTheOtherServed() throws {
        let wordy = TokenLayout(frames: 3, height: 7, width: 9, textAfter: 200)
        let layouts: [AttentionSite.Branch: TokenLayout] = [
            .conditional: wordy, .unconditional: TokenLayout(frames: 3, height: 7, width: 9),
        ]
        let method = try MethodExample("svg2", density: 0.3).configured()
        #expect(throws: AttentionError.self) { try AttentionContext(method, layouts: layouts) }
        let context = try AttentionContext(method, layouts: layouts, fallback: .dense)
        #expect(context.refusal(of: .conditional) != nil && context.refusal(of: .unconditional) == nil)
        _ = try run(context, steps: 4..<5, seed: 1)
        #expect(context.statistics.total.fallbackCalls == 2 && context.statistics.total.sparseCalls == 2)
    }

    /// What is not kept and enters as means is computed, and counted; what is kept is the same.
    @Test func pooledRestsAddTheirMeans() throws {
        for name in ["radial", "svg2", "draft", "rettention"] {
            let small = ["radial": ["block": "16"], "draft": ["pool-height": "3", "pool-width": "4"]][name] ?? [:]
            func densities(_ rest: String) throws -> (kept: Double, work: Double, values: [Float]) {
                let options = small.merging(["rest": rest]) { $1 }
                let density = name == "radial" ? 0.9 : 0.6
                let context = try AttentionContext(
                    MethodExample(name, options, density: density).configured(), layout: layout)
                let values = try run(context, steps: 4..<7, seed: 5).flatMap { $0 }
                return (context.statistics.sparseDensity ?? 1, context.statistics.work, values)
            }
            let (dropped, pooled) = (try densities("dropped"), try densities("pooled"))
            // A mean counts for a token: the finer the blocks that a density asks for, the more of them.
            let most = name == "rettention" ? 0.25 : 0.1
            #expect(dropped.kept < pooled.kept && pooled.kept < dropped.kept + most, "\(name)")
            #expect(dropped.work < pooled.work && dropped.values != pooled.values, "\(name)")
        }
    }

    @Test(arguments: MethodExample.all)
    func outputsDoNotDependOnThreads(example: MethodExample) throws {
        let seed = SeededRandom.fresh().seed
        let outputs = try [1, 2, 5].map { threads in
            try run(
                AttentionContext(example.configured(), layout: layout), steps: 0..<4, seed: seed,
                dtype: .bf16, pool: WorkPool(threads: threads))
        }
        #expect(outputs[0] == outputs[1] && outputs[1] == outputs[2], "seed \(seed)")
    }

    @Test(arguments: MethodExample.all)
    func memoryIsPredictedAndBounded(example: MethodExample) throws {
        let configured = try example.configured()
        let context = try AttentionContext(configured, layout: layout)
        _ = try run(context, steps: 0..<3, seed: 1)
        let early = context.learnedBytes
        _ = try run(context, steps: 3..<9, seed: 1)
        #expect(context.learnedBytes == early)
        #expect(
            early
                == configured.predictedStateBytes(
                    layout: layout, heads: 2, headDim: 16, layers: 2, branches: 2))
    }

    @Test func rettentionMemoryIsThatOfThePaperAtItsSizes() throws {
        let method = try MethodChoice("rettention").configured(forModel: "wan2.1-t2v-1.3b")
        let wan = TokenLayout(frames: 21, height: 30, width: 52)
        let bytes = method.predictedStateBytes(layout: wan, heads: 12, headDim: 128, layers: 30, branches: 2)
        #expect(bytes == 30 * 2 * (32_760 * 12 * (128 * 2 + 4) + 4))
        #expect(abs(Double(bytes) / 1e9 - 6.13) < 0.01)
    }

    /// Dense steps and layers give dense attention's own bytes, and are counted apart.
    @Test(arguments: MethodExample.all.filter { $0.name != "dense" })
    func scheduledCallsAreDense(example: MethodExample) throws {
        let context = try AttentionContext(
            example.with(["dense-steps": "50%", "dense-layers": "1"]).configured(), layout: layout)
        let dense = try AttentionContext(MethodExample("dense").configured(), layout: layout)
        #expect(try run(context, steps: 0..<6, seed: 3) == run(dense, steps: 0..<6, seed: 3))
        #expect(context.statistics.total.scheduledDenseCalls == 6 * 4)
        #expect(context.statistics.work == 1 && context.statistics.sparseDensity == nil)
        _ = try run(context, steps: 6..<8, seed: 3)
        let rows = context.statistics.rows
        #expect(rows.filter { $0.layer == 0 }.allSatisfy { $0.scheduledDenseCalls == 2 })
        let later = rows.filter { $0.layer == 1 && $0.step >= 6 }
        #expect(later.count == 2)
        #expect(later.allSatisfy { $0.sparseCalls + $0.fullCalls == 2 && $0.scheduledDenseCalls == 0 })
    }

    @Test func refreshIsDenseBitForBitAndTheNextStepReproducesIt() throws {
        for type in ["bf16", "f32"] {
            let context = try AttentionContext(
                MethodExample("rettention", ["kept": "0.2", "residual-type": type]).configured(),
                layout: layout)
            let dense = try AttentionContext(MethodExample("dense").configured(), layout: layout)
            var random = SeededRandom.fresh()
            let calls = (5..<7).map { [seed = random.next()] step in
                var same = SeededRandom(seed: seed)
                return MethodCase.call(layout, step: step, &same)
            }
            let full = try dense.attend(calls[0]).values.floats()
            #expect(try context.attend(calls[0]).values.floats() == full)
            let next = try context.attend(calls[1]).values.floats()
            #expect(relativeError(next, full) < (type == "f32" ? 1e-6 : 3e-3), "seed \(random.seed)")
            let rows = context.statistics.rows
            #expect(rows.map(\.fullCalls) == [1, 0] && rows.map(\.sparseCalls) == [0, 1])
        }
    }

    @Test func ratioIsTheMassOfTheWindowAndGrowsToOneAtMost() throws {
        let context = try AttentionContext(
            MethodExample("rettention", ["kept": "0.2", "growth": "0.3", "refresh-every": "100"]).configured(),
            layout: layout)
        var last: [Float]?
        for step in 0..<5 {
            var random = SeededRandom(seed: 8)
            _ = try context.attend(MethodCase.call(layout, step: step, &random))
            let ratio = try #require(context.learnedState()["conditional.0.ratio"]).floats()
            #expect(ratio.allSatisfy { $0 > 0 && $0 <= 1 })
            for token in 0..<layout.tokens where !layout.video.contains(token) {
                #expect(abs(ratio[token] - 1) < 1e-5)
            }
            if let last { #expect(zip(last, ratio).allSatisfy { $0 <= $1 }) }
            last = ratio
        }
        #expect(last?.allSatisfy { $0 == 1 } == true)
    }

    @Test func clusteringNeverGetsWorseAndSettles() throws {
        var random = SeededRandom.fresh()
        let x = AttentionCase.normal([2, 300, 16], .f32, &random)
        let means = KMeans(pool: WorkPool(threads: 2), instructionSet: InstructionSet.supported.max() ?? .scalar)
        var centroids = KMeans.seeds(x, rows: 10..<290, clusters: 12, seed: random.seed)
        var last = Double.infinity
        for _ in 0..<6 {
            let found = try means.cluster(x, rows: 10..<290, from: centroids, iterations: 1)
            let (labels, values, centres) = (found.labels.integers(), x.floats(), centroids.floats())
            var objective = 0.0
            for head in 0..<2 {
                for row in 0..<280 {
                    for i in 0..<16 {
                        let cluster = Int(labels[head * 280 + row])
                        let difference =
                            values[(head * 300 + 10 + row) * 16 + i] - centres[(head * 12 + cluster) * 16 + i]
                        objective += Double(difference * difference)
                    }
                }
            }
            #expect(objective <= last * (1 + 1e-6), "seed \(random.seed)")
            last = objective
            centroids = found.centroids
        }
        let settled = try means.cluster(x, rows: 10..<290, from: centroids, iterations: 200)
        let again = try means.cluster(x, rows: 10..<290, from: settled.centroids, iterations: 200)
        #expect(again.iterations == 1)
        #expect(again.labels.integers() == settled.labels.integers())
    }
}
