import TestSupport
import Testing
import VDiT

@Suite struct MassAttentionParity {
    private let layout = TokenLayout(frames: 5, height: 9, width: 13, textBefore: 3, textAfter: 9)

    /// The plan of the step after a full one, on the same operands.
    private func measured(
        _ options: [String: String], density: Double? = nil, layout: TokenLayout? = nil, seed: UInt64
    ) throws -> (plan: AttentionPlan, call: AttentionCall) {
        let layout = layout ?? self.layout
        var random = SeededRandom(seed: seed)
        let call = MethodCase.call(layout, &random)
        let planner = try MethodExample("mass", options, density: density).configured().planner(for: layout)
        var state = MethodState()
        let full = try planner.plan(call, &state)
        var output = blockSparseAttention(call, full, values: .f32)
        try planner.finish(&output, of: call, by: full, &state) { blockSparseAttention(call, $0, values: .f32) }
        random = SeededRandom(seed: seed)
        let next = MethodCase.call(layout, step: 1, &random)
        return (try planner.plan(next, &state), next)
    }

    /// No pair that is dropped holds more mass per key than one of its rivals that is kept, but for the levels' width.
    @Test(arguments: ["0", "0.5", "1"], ["tiles", "raster", "positions"])
    func whatIsKeptHasTheMostMassPerKey(even: String, order: String) throws {
        let seed = SeededRandom.fresh().seed
        let (plan, call) = try measured(
            ["even": even, "order": order, "block": "24", "rest": "dropped"], density: 0.5, seed: seed)
        var kept: [[Int]: Float] = [:]
        var dropped: [[Int]: Float] = [:]
        for (index, head) in plan.heads.enumerated() {
            let mass = try attentionMass(call, head: index, blocks: head).floats()
            let video = 1..<head.keyBlockCount - 1
            for row in video {
                let rivals = even == "0" ? [] : [index, row]
                let keeps = Set(head.kept(row).map(Int.init))
                for block in video where block != row {
                    let keys = Float(head.keyOffsets[block + 1] - head.keyOffsets[block])
                    let perKey = mass[row * head.keyBlockCount + block] / keys
                    if keeps.contains(block) {
                        kept[rivals] = min(kept[rivals] ?? .infinity, perKey)
                    } else {
                        dropped[rivals] = max(dropped[rivals] ?? 0, perKey)
                    }
                }
            }
        }
        #expect(!kept.isEmpty && !dropped.isEmpty)
        for (rivals, most) in dropped {
            #expect(most <= (kept[rivals] ?? .infinity) * 1.1, "\(rivals) seed \(seed)")
        }
    }

    /// Blocks of equal size, so that a query block's part is theirs but for the rounding of one.
    @Test(arguments: [0, 0.5, 0.9, 1], ["pooled", "dropped"])
    func everyQueryBlockHasItsEvenPart(even: Double, rest: String) throws {
        let layout = TokenLayout(frames: 6, height: 8, width: 12)
        let options = ["even": "\(even)", "order": "raster", "block": "24", "rest": rest]
        let plan = try measured(options, density: 0.4, layout: layout, seed: SeededRandom.fresh().seed).plan
        let blocks = 24.0, means = rest == "pooled" ? 1.0 / 24 : 0
        let whole = (0.4 - means) * blocks / (1 - means)
        let counts = plan.heads.flatMap { head in (0..<head.queryBlocks).map { Double(head.kept($0).count) } }
        let (least, most) = (counts.min() ?? 0, counts.max() ?? 0)
        #expect(least >= even * (whole - 1), "\(counts)")
        #expect(even < 1 ? most > whole : most <= whole + 1, "\(counts)")
        #expect(abs(counts.reduce(0, +) / Double(counts.count) - whole) < 0.6, "\(counts)")
    }

    @Test(arguments: [0.3, 0.5, 0.8], ["pooled", "dropped"])
    func densityCountsTheMeans(density: Double, rest: String) throws {
        let (plan, call) = try measured(["rest": rest], density: density, seed: 4)
        #expect(abs(plan.density(tokens: call.tokens) - density) < 0.01)
    }

    @Test func aRampMovesDensityFromTheLastStepsToTheFirst() throws {
        let context = try AttentionContext(
            MethodExample("mass", ["ramp": "0.5"], density: 0.5).configured(), layout: layout)
        for step in 0..<9 {
            var random = SeededRandom(seed: 3)
            _ = try context.attend(MethodCase.call(layout, step: step, steps: 9, &random))
        }
        let found = context.statistics.rows.compactMap(\.density)
        for (step, density) in found.enumerated() {
            #expect(abs(density - 0.5 * (1 + 0.5 * (1 - Double(step + 1) / 4))) < 0.01)
        }
        #expect(found.count == 8)
    }

    @Test func theFirstFullStepsComeInARowAndTheOthersLate() throws {
        let context = try AttentionContext(
            MethodExample("mass", ["full-steps": "2", "refresh-every": "4"]).configured(), layout: layout)
        for step in 1..<12 {
            var random = SeededRandom(seed: UInt64(step))
            _ = try context.attend(MethodCase.call(layout, step: step, &random))
        }
        #expect(context.statistics.rows.map(\.fullCalls) == [1, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0])
        let planner = try #require(context.planner())
        for (step, row) in context.statistics.rows.enumerated() {
            let work = try #require(planner.predictedWork(step: step + 1, first: 1))
            #expect((work >= 1) == (row.fullCalls == 1))
        }
    }

    /// One measurement serves both branches, and the work is what was predicted.
    @Test(arguments: ["shared", "apart"], ["0", "4"])
    func branchesGoByOneMeasurementOrOneEach(branches: String, residual: String) throws {
        let options = ["branches": branches, "residual": residual, "refresh-every": "3"]
        let context = try AttentionContext(MethodExample("mass", options, density: 0.6).configured(), layout: layout)
        var plans: [[AttentionPlan]] = []
        context.observer = { (observation) throws(AttentionError) in plans.append(observation.plans) }
        for step in 0..<6 {
            for branch in AttentionSite.Branch.allCases {
                var random = SeededRandom(seed: UInt64(step))
                _ = try context.attend(MethodCase.call(layout, step: step, steps: 6, branch: branch, &random))
            }
        }
        let isShared = branches == "shared"
        #expect(context.statistics.rows.map(\.fullCalls) == (isShared ? [1, 0, 0, 1, 0, 0] : [2, 0, 0, 2, 0, 0]))
        #expect(Set(context.learnedState().keys.map { $0.prefix { $0 != "." } }).count == (isShared ? 1 : 2))
        // At equal steps, calls of both branches keep the same.
        for step in [1, 2, 4, 5] { #expect(plans[2 * step] == plans[2 * step + 1]) }
        if isShared, residual != "0" { #expect(plans[0].last == plans[1].first) }
        let total = context.statistics.total
        let predicted = context.predictedWork(calls: Array(repeating: 2, count: 6), layers: 1)
        #expect(abs(predicted.share - Double(total.computedPairs) / Double(total.pairs)) < 0.01)
    }

    /// Where operands stay, what a sparse call lacks comes back: as a mean of every few tokens.
    @Test(arguments: [1, 4, 32], [DType.f32, .bf16])
    func theResidualBringsBackWhatWasLost(run: Int, dtype: DType) throws {
        let options = ["residual": "\(run)", "fade": "0"]
        let context = try AttentionContext(MethodExample("mass", options, density: 0.3).configured(), layout: layout)
        var plan: AttentionPlan?
        context.observer = { (observation) throws(AttentionError) in plan = observation.plans.last }
        let outputs = try (0..<2).map { step in
            var random = SeededRandom(seed: 6)
            return try context.attend(MethodCase.call(layout, dtype: dtype, step: step, &random)).values.floats()
        }
        #expect(outputs[0] != outputs[1])
        let head = try #require(plan).heads[0]
        let order = try #require(head.queryOrder)
        let width = 2 * 16
        for block in 1..<head.queryBlocks - 1 {
            for start in stride(from: head.queryOffsets[block], to: head.queryOffsets[block + 1], by: run) {
                let tokens = (start..<min(start + Int32(run), head.queryOffsets[block + 1])).map { Int(order[Int($0)]) }
                for column in 0..<width {
                    let lost = tokens.reduce(Float(0)) {
                        $0 + outputs[0][$1 * width + column] - outputs[1][$1 * width + column]
                    }
                    #expect(abs(lost) / Float(tokens.count) < 1e-2)
                }
            }
        }
    }

    /// Neighbours and the first frame are kept whatever their mass.
    @Test func forcedPairsAreKept() throws {
        let (plan, _) = try measured(["neighbours": "on", "sink": "on", "kept": "0"], seed: 5)
        for head in plan.heads {
            let order = try #require(head.keyOrder).map(Int.init)
            func places(_ block: Int) -> [(Int, Int, Int)] {
                (head.keyOffsets[block]..<head.keyOffsets[block + 1]).map {
                    let token = order[Int($0)] - layout.textBefore
                    return (token / 117, token / 13 % 9, token % 13)
                }
            }
            for row in 1..<head.queryBlocks - 1 {
                for block in 1..<head.keyBlockCount - 1 {
                    let touches = places(row).contains { a in
                        places(block).contains { b in
                            abs(a.0 - b.0) <= 1 && abs(a.1 - b.1) <= 1 && abs(a.2 - b.2) <= 1
                        }
                    }
                    let isFirst = places(block).contains { $0.0 == 0 }
                    #expect(head.kept(row).contains(Int32(block)) == (touches || isFirst))
                }
            }
        }
    }

    @Test func stateOfAnotherSizeIsRefused() throws {
        let context = try AttentionContext(MethodExample("mass").configured(), layout: layout)
        try context.restore([
            "conditional.0.mass-levels": Tensor(.u8, [2, 3, 3]), "conditional.0.measured-steps": Tensor([0, 0]),
        ])
        var random = SeededRandom(seed: 1)
        let call = MethodCase.call(layout, step: 1, &random)
        #expect {
            try context.attend(call)
        } throws: { "\($0)".contains("mass-levels") }
    }

    @Test func boxesAreWholeButForTheFirst() throws {
        let layout = TokenLayout(frames: 5, height: 6, width: 9)
        let head = try measured([:], density: 0.5, layout: layout, seed: 1).plan.heads[0]
        let (frames, rows, columns): ([Int], [Int], [Int]) = ([1, 2, 2], [2, 4], [1, 4, 4])
        let expected = frames.flatMap { frames in rows.flatMap { rows in columns.map { frames * rows * $0 } } }
        #expect(zip(head.queryOffsets, head.queryOffsets.dropFirst()).map { Int($1 - $0) } == expected)
    }

    @Test func tilesOfMoreQueriesThanTheKernelTakesAreRefused() throws {
        let method = try MethodExample("mass", ["tile-frames": "5", "tile-height": "9"]).configured()
        #expect {
            try method.planner(for: layout)
        } throws: { "\($0)".contains("blocks of 180 tokens") }
    }
}
