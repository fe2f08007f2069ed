import Testing
import TestSupport
import VDiT

/// What every plan of every method promises, over random layouts.
@Suite struct MethodPlanInvariants {
    /// The plans of a run of three steps and both branches, or nil where the density is out of reach.
    private func plans(
        _ example: MethodExample, _ layout: TokenLayout, seed: UInt64, threads: Int = 2,
        branches: [AttentionSite.Branch] = AttentionSite.Branch.allCases
    ) throws -> [AttentionSite.Branch: [AttentionPlan]]? {
        let configured = try example.configured()
        let planner: any AttentionPlanner
        switch try self.planner(configured, layout) {
        case .success(let made): planner = made
        case .failure(let unreachable):
            #expect(unreachable.range.lowerBound > 0 && unreachable.range.upperBound <= 1 + 1e-12)
            return nil
        }
        let pool = WorkPool(threads: threads)
        var states: [AttentionSite.Branch: MethodState] = [:]
        var plans: [AttentionSite.Branch: [AttentionPlan]] = [:]
        var random = SeededRandom(seed: seed)
        for step in 0..<3 {
            for branch in AttentionSite.Branch.allCases {
                let call = MethodCase.call(layout, step: step, branch: branch, pool: pool, &random)
                guard branches.contains(branch) else { continue }
                var state = states[branch] ?? MethodState()
                let plan = try planner.plan(call, &state)
                var output = blockSparseAttention(call, plan, values: .f32)
                try planner.finish(&output, of: call, by: plan, &state) {
                    blockSparseAttention(call, $0, values: .f32)
                }
                states[branch] = state
                plans[branch, default: []].append(plan)
            }
        }
        return plans
    }

    /// What the method can reach, where that is not the density it was made for.
    private struct Unreachable: Error { let range: ClosedRange<Double> }

    private func planner(
        _ method: ConfiguredMethod, _ layout: TokenLayout
    ) throws(AttentionError) -> Result<any AttentionPlanner, Unreachable> {
        do {
            return .success(try method.planner(for: layout))
        } catch {
            guard case .unreachableDensity(_, _, let reachable) = error else { throw error }
            return .failure(Unreachable(range: reachable))
        }
    }

    private func layouts(_ count: Int) -> (layouts: [TokenLayout], seed: UInt64) {
        var random = SeededRandom.fresh()
        let fixed = [
            TokenLayout(frames: 1, height: 1, width: 1), TokenLayout(frames: 3, height: 8, width: 8),
            TokenLayout(frames: 1, height: 7, width: 5, textBefore: 3),
            TokenLayout(frames: 2, height: 1, width: 9, textAfter: 129),
            TokenLayout(frames: 5, height: 3, width: 11, textBefore: 130, textAfter: 1),
        ]
        return (fixed + (0..<count).map { _ in TokenLayout.random(&random) }, random.seed)
    }

    @Test(arguments: MethodExample.all)
    func plansAreWellFormedKeepTextAndLeaveNoQueryWithoutKeys(example: MethodExample) throws {
        let (layouts, seed) = layouts(4)
        for layout in layouts {
            for plan in try plans(example, layout, seed: seed)?.values.flatMap({ $0 }) ?? [] {
                for head in plan.heads where !(example.skipsHeads && head.keyBlocks.isEmpty) {
                    check(head, layout, emptyRows: example.excuseForEmptyRows != nil, "\(layout) seed \(seed)")
                }
            }
        }
    }

    private func check(
        _ head: AttentionPlan.Head, _ layout: TokenLayout, emptyRows: Bool, _ comment: Comment
    ) {
        let all = Array(0..<Int32(layout.tokens))
        for order in [head.queryOrder, head.keyOrder] {
            if let order { #expect(order.sorted() == all, comment) }
        }
        for offsets in [head.queryOffsets, head.keyOffsets] {
            #expect(offsets.first == 0 && offsets.last == Int32(layout.tokens), comment)
            #expect(zip(offsets, offsets.dropFirst()).allSatisfy { $0 < $1 }, comment)
        }
        #expect(head.rowStart.count == head.queryBlocks + 1, comment)
        // A block is text or video as all its tokens are.
        func isText(_ offsets: [Int32], _ order: [Int32]?, _ block: Int) -> Bool? {
            let kinds = (Int(offsets[block])..<Int(offsets[block + 1])).map { position in
                !layout.video.contains(order.map { Int($0[position]) } ?? position)
            }
            return kinds.allSatisfy { $0 == kinds[0] } ? kinds[0] : nil
        }
        // The dense plan, which a refresh or a full method may give, cuts without regard to text.
        let isFull = head.keyBlocks.count == head.queryBlocks * head.keyBlockCount
        var textKeys: [Int32] = []
        if !isFull {
            for block in 0..<head.keyBlockCount {
                let text = isText(head.keyOffsets, head.keyOrder, block)
                #expect(text != nil, comment)
                if text == true { textKeys.append(Int32(block)) }
            }
        }
        for row in 0..<head.queryBlocks {
            let kept = Array(head.kept(row))
            #expect(zip(kept, kept.dropFirst()).allSatisfy { $0 < $1 }, comment)
            #expect(kept.allSatisfy { $0 >= 0 && $0 < head.keyBlockCount }, comment)
            if !emptyRows { #expect(!kept.isEmpty, comment) }
            if isFull { continue }
            #expect(Set(textKeys).isSubset(of: kept), comment)
            if isText(head.queryOffsets, head.queryOrder, row) == true {
                #expect(kept.count == head.keyBlockCount, comment)
            }
        }
    }

    @Test(arguments: MethodExample.all)
    func sameCallsGiveSamePlansOnAnyNumberOfThreads(example: MethodExample) throws {
        let (layouts, seed) = layouts(1)
        for layout in layouts {
            let one = try plans(example, layout, seed: seed, threads: 1)
            #expect(one == (try plans(example, layout, seed: seed, threads: 3)), "\(layout) seed \(seed)")
            #expect(one == (try plans(example, layout, seed: seed, threads: 1)), "\(layout) seed \(seed)")
        }
    }

    @Test(arguments: MethodExample.all)
    func interleavedBranchesPlanAsIfAlone(example: MethodExample) throws {
        let (layouts, seed) = layouts(1)
        for layout in layouts {
            let together = try plans(example, layout, seed: seed)
            for branch in AttentionSite.Branch.allCases {
                let alone = try plans(example, layout, seed: seed, branches: [branch])
                #expect(together?[branch] == alone?[branch], "\(layout) seed \(seed)")
            }
        }
    }

    @Test(
        arguments: MethodCatalogue.methods.filter { !$0.densityOptions.isEmpty }.map(\.name),
        [0.05, 0.25, 0.3, 0.4, 0.7, 0.95])
    func densityIsReachedInTokenPairsOrNamedUnreachable(name: String, density: Double) throws {
        var random = SeededRandom.fresh()
        for layout in [
            TokenLayout(frames: 9, height: 16, width: 20),
            TokenLayout(frames: 5, height: 15, width: 26, textAfter: 30),
            TokenLayout(frames: 13, height: 10, width: 15, textBefore: 20),
        ] {
            let example = MethodExample(
                name, name == "draft" ? ["pool-height": "5", "pool-width": "5"] : [:], density: density)
            let planner: any AttentionPlanner
            switch try self.planner(example.configured(), layout) {
            case .success(let made): planner = made
            case .failure(let unreachable):
                #expect(!unreachable.range.contains(density), "\(layout)")
                continue
            }
            var state = MethodState()
            let call = MethodCase.call(layout, headDim: 8, &random)
            var plan = try planner.layoutPlan ?? planner.plan(call, &state)
            if plan.measuresMass {
                var output = blockSparseAttention(call, plan, values: .f32)
                try planner.finish(&output, of: call, by: plan, &state) {
                    blockSparseAttention(call, $0, values: .f32)
                }
                plan = try planner.plan(MethodCase.call(layout, headDim: 8, step: 1, &random), &state)
            }
            // Where every row keeps whole blocks of one size, it may miss by half of one.
            let tolerance = ["vsa", "adaspa", "mass"].contains(name) ? 0.03 : 0.01
            #expect(abs(plan.density(tokens: layout.tokens) - density) <= tolerance, "\(layout) \(random.seed)")
        }
    }

    @Test func radialKeepsMoreWithMoreDecayAndLessWithMoreFrames() throws {
        func density(_ decay: Double, _ frames: Int) throws -> Double {
            let layout = TokenLayout(frames: frames, height: 16, width: 32)
            let method = try MethodExample("radial", ["decay": "\(decay)", "sink": "off", "block": "64"]).configured()
            return try #require(method.planner(for: layout).layoutPlan).density(tokens: layout.tokens)
        }
        let byDecay = try [0, 0.2, 0.4, 0.8, 1.2, 2].map { try density($0, 10) }
        #expect(zip(byDecay, byDecay.dropFirst()).allSatisfy { $0 <= $1 })
        let byFrames = try [2, 3, 5, 8, 13, 21, 34].map { try density(0.8, $0) }
        #expect(zip(byFrames, byFrames.dropFirst()).allSatisfy { $0 >= $1 })
        #expect(byFrames[0] == 1 && byFrames[6] < 0.5)
    }

    @Test(arguments: [("svg2", "top-p", ["0.3", "0.6", "0.9"]), ("draft", "sparsity", ["0.9", "0.6", "0.3"])])
    func keptPairsAreNestedInTheBudget(name: String, option: String, values: [String]) throws {
        var random = SeededRandom.fresh()
        let layout = TokenLayout(frames: 3, height: 6, width: 8, textAfter: 5)
        let call = MethodCase.call(layout, &random)
        let masks = try values.map { value in
            var options = [option: value]
            if name == "draft" { options.merge(["pool-height": "2", "pool-width": "4"]) { $1 } }
            var state = MethodState()
            let planner = try MethodExample(name, options).configured().planner(for: layout)
            return MethodCase.tokenMask(try planner.plan(call, &state).heads[0])
        }
        for (small, large) in zip(masks, masks.dropFirst()) {
            for (a, b) in zip(small, large) {
                #expect(zip(a, b).allSatisfy { !$0 || $1 }, "seed \(random.seed)")
            }
        }
    }
}
