import TestSupport
import Testing
import VDiT
import VditAttention

/// Methods with densities that plan each head by itself.
private func namesOfMethodsForTables() throws -> [String] {
    try MethodCatalogue.methods.filter { !$0.densityOptions.isEmpty && $0.trained == nil }.map(\.name)
        .filter { name in try MethodChoice(name).configured().method.learns.isEmpty }
}

/// Tables that give every head a pattern of its own.
@Suite struct HeadTableTests {
    private let layout = TokenLayout(frames: 6, height: 4, width: 8, textAfter: 3)
    private let patterns = [["mode": "skip"], ["mode": "diagonal"], ["mode": "positions", "kept": "0.2"]]

    private func table(_ heads: [[[Int]]]) throws -> HeadTable {
        try #require(HeadTable(patterns: patterns.map { $0.merging(["block": "8"]) { $1 } }, heads: heads))
    }

    private func configured(_ table: HeadTable, _ options: [String: String] = [:]) throws -> ConfiguredMethod {
        try MethodChoice("sparse-vdit", options: options).configured(table: table)
    }

    private func head(_ pattern: [String: String]) throws -> AttentionPlan.Head {
        let options = pattern.merging(["block": "8"]) { $1 }
        return try #require(MethodExample("sparse-vdit", options).configured().planner(for: layout).layoutPlan).heads[0]
    }

    @Test func everyHeadHasItsPatternAtItsStepAndLayer() throws {
        let planner = try configured(table([[[0, 1], [2, 3]], [[3, 3], [2, 0]]])).planner(for: layout)
        let dense = AttentionPlan.dense(tokens: layout.tokens).heads[0]
        let heads = try [dense] + patterns.map(head)
        var random = SeededRandom.fresh()
        for (step, layers) in [[[0, 1], [2, 3]], [[3, 3], [2, 0]]].enumerated() {
            for (layer, numbers) in layers.enumerated() {
                var state = MethodState()
                let call = MethodCase.call(layout, step: step, steps: 2, layer: layer, &random)
                #expect(try planner.plan(call, &state).heads == numbers.map { heads[$0] })
            }
        }
        // What a step costs is known beforehand: the mean over layers and heads, skipped ones counting nothing.
        let pairs = Double(layout.tokens * layout.tokens)
        let shares = heads.map { Double($0.pairs) / pairs }
        #expect(shares[1] == 0)
        let expected = (1 + shares[2] + shares[3]) / 4
        #expect(abs(try #require(planner.predictedWork(step: 0, first: 0)) - expected) < 1e-12)
        // Without the layers that are dense anyway.
        let later = try configured(table([[[0, 1], [2, 3]]]), ["dense-layers": "1"]).planner(for: layout)
        #expect(abs(try #require(later.predictedWork(step: 0, first: 0)) - (shares[2] + shares[3]) / 2) < 1e-12)
    }

    @Test func aTableOfDenseHeadsIsDense() throws {
        var random = SeededRandom.fresh()
        let call = MethodCase.call(layout, &random)
        let found = try AttentionContext(configured(table([[[0, 0]]])), layout: layout).attend(call)
        let dense = try AttentionContext(MethodChoice.dense.configured(), layout: layout).attend(call)
        #expect(found.values.floats() == dense.values.floats())
    }

    @Test func aLoopOfAnotherLengthTakesTheNearestStep() throws {
        let steps = try table((0..<4).map { [[$0, $0]] })
        func numbers(_ count: Int) -> [Int] { steps.stretched(to: count).heads.map { $0[0][0] } }
        #expect(numbers(4) == [0, 1, 2, 3] && numbers(2) == [0, 3] && numbers(1) == [0])
        #expect(numbers(7) == [0, 0, 1, 2, 2, 2, 3])
    }

    @Test func whatDoesNotFitIsRefused() throws {
        #expect(HeadTable(patterns: patterns, heads: []) == nil)
        #expect(HeadTable(patterns: patterns, heads: [[]]) == nil)
        #expect(HeadTable(patterns: patterns, heads: [[[]]]) == nil)
        #expect(HeadTable(patterns: patterns, heads: [[[4]]]) == nil)
        #expect(HeadTable(patterns: patterns, heads: [[[-1]]]) == nil)
        #expect(HeadTable(patterns: patterns, heads: [[[0], [1, 2]]]) == nil)
        #expect(HeadTable(patterns: patterns, heads: [[[0]], [[1], [2]]]) == nil)
        let table = try table([[[1, 2]]])
        let both = #expect(throws: AttentionError.self) { try configured(table, ["mode": "stripe"]) }
        #expect(both?.description == "sparse option 'mode': found a value, expected none beside a table, which says it")
        #expect(throws: AttentionError.self) { try MethodChoice("sparse-vdit", density: 0.3).configured(table: table) }
        // What is learned is of all heads, and what follows the plan sees all of them.
        for name in ["svg2", "mass", "adaspa", "rettention", "vsa", "sla"] {
            let densities = try #require(HeadTable(patterns: [["density": "0.5"]], heads: [[[1]]]))
            let method = try MethodChoice(name).configured(table: densities)
            let refused = #expect(throws: AttentionError.self) { try method.planner(for: layout) }
            #expect(refused?.description.contains("more than the queries and keys of a head") == true, "\(name)")
        }
        // Calls that no entry is for: a step beyond, a layer beyond, another number of heads.
        let planner = try configured(table).planner(for: layout)
        var random = SeededRandom.fresh()
        for (heads, step, layer) in [(2, 1, 0), (2, 0, 1), (3, 0, 0)] {
            var state = MethodState()
            let call = MethodCase.call(layout, heads: heads, step: step, layer: layer, &random)
            #expect(throws: AttentionError.self) { try planner.plan(call, &state) }
        }
    }

    /// A run's record says what it computed with: options that the table has are not the run's.
    @Test func optionsOfTheTableAreNotTheRuns() throws {
        let options = try configured(table([[[1, 2]]])).options
        #expect(options["mode"] == nil && options["kept"] == nil && options["dense-steps"] == "0")
    }

    private func reaches(_ density: Double, _ name: String, _ layout: TokenLayout) throws -> Bool {
        let method = try MethodChoice(name, density: density).configured()
        do {
            _ = try method.headPlanner(for: layout)
        } catch {
            guard case .unreachableDensity = error else { throw error }
            return false
        }
        return true
    }

    /// Every method that takes a table: one density for all heads is that density without a table, and a head that has
    /// another gets the plan it would have with that one.
    @Test(arguments: try namesOfMethodsForTables())
    func headsHaveTheDensitiesOfTheTable(_ name: String) throws {
        let layout = TokenLayout(frames: 9, height: 16, width: 20, textAfter: 3)
        var ladder: [Double] = []
        for density in [0.3, 0.5, 0.7] where try reaches(density, name, layout) { ladder.append(density) }
        let last = try #require(ladder.last)
        let patterns = ladder.map { ["density": "\($0)"] }
        let count = patterns.count
        let heads = [[[0, 1, count]], [[1, 1, 1]]]
        let table = try #require(HeadTable(patterns: patterns, heads: heads))
        let planner = try MethodChoice(name, options: ["dense-layers": "0"]).configured(table: table)
            .planner(for: layout)
        var random = SeededRandom.fresh()
        for step in 0..<2 {
            let call = MethodCase.call(layout, heads: 3, step: step, steps: 2, &random)
            let plans = try ([1] + ladder).map { density in
                var nothing = MethodState()
                let choice = density == 1 ? MethodChoice.dense : try MethodChoice(name, density: density)
                return try choice.configured().planner(for: layout).plan(call, &nothing)
            }
            var state = MethodState()
            let found = try planner.plan(call, &state).heads
            for (head, number) in heads[step][0].enumerated() {
                #expect(found[head] == plans[number].head(head), "\(name), head \(head)")
            }
            #expect(state.tensors.isEmpty)
        }
        let predicted = try #require(planner.predictedWork(step: 0, first: 0))
        let expected: Double = (1 + ladder[0] + last) / 3
        #expect(abs(predicted - expected) < 0.01, "\(name)")
    }

    @Test func theLeastLossIsChosenWithinTheLimit() {
        var search = PatternSearch([["a": "1"], ["a": "2"], ["a": "3"]], densityWeight: 0.5, lossLimit: 1)
        func choice(_ losses: [Double]) -> Int {
            search.choices([losses.map { PatternSearch.Trial(loss: $0, density: 0) }])[0]
        }
        #expect(choice([0.5, 0.25, 0.25]) == 2)
        #expect(choice([1, 2, 3]) == 1 && choice([1.5, 2, 3]) == 0)
        // What is kept costs.
        #expect(search.choices([[.init(loss: 0.1, density: 1), .init(loss: 0.3, density: 0.2)]]) == [2])
        search.lossLimit = nil
        #expect(choice([7, 6, 8]) == 2)
        search.lossLimit = 0
        #expect(choice([0.1, 0.2, 0.3]) == 0 && choice([]) == 0)
    }

    /// Against every way to choose: none within the pairs loses less by more than one head's last rise would.
    @Test func pairsGoWhereTheyGainMost() {
        typealias Trial = PatternSearch.Trial
        var search = PatternSearch([[String: String]]())
        search.density = 0.5
        // The second head gains more from the same pairs; together they may keep one whole.
        let heads = [
            [Trial(loss: 0.2, density: 0.25), Trial(loss: 0.1, density: 0.5)],
            [Trial(loss: 0.8, density: 0.25), Trial(loss: 0.3, density: 0.5), Trial(loss: 0.1, density: 0.75)],
        ]
        #expect(search.choices(heads) == [1, 3])
        search.density = 1
        #expect(search.choices(heads) == [0, 0])
        search.density = 0.25
        #expect(search.choices(heads) == [1, 1])
        var random = SeededRandom.fresh()
        for _ in 0..<50 {
            search.density = 0.3
            func trial(_ density: Double) -> Trial {
                let part = Double(random.next() % 1000) / 1000
                return Trial(loss: part * (1 - density), density: density)
            }
            let heads = (0..<4).map { _ in [0.1, 0.3, 0.6].map(trial) }
            let all = heads.map { [Trial(loss: 0, density: 1)] + $0 }
            func total(_ chosen: [Int]) -> Trial {
                zip(all, chosen).reduce(into: Trial(loss: 0, density: 0)) { sum, of in
                    sum.loss += of.0[of.1].loss
                    sum.density += of.0[of.1].density
                }
            }
            let found = total(search.choices(heads))
            #expect(found.density <= 1.2 + 1e-9)
            let ways = (0..<256).map { (way: Int) in total([way & 3, way >> 2 & 3, way >> 4 & 3, way >> 6]) }
            let best = ways.filter { $0.density <= 1.2 + 1e-9 }.map(\.loss).min() ?? 0
            let most = all.flatMap { $0.map(\.loss) }.max() ?? 0
            #expect(found.loss <= best + most)
        }
    }
}
