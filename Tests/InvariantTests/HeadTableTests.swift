import TestSupport
import Testing
import VDiT
import VditAttention

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
        let other = try #require(HeadTable(patterns: [["top-p": "0.5"]], heads: [[[1]]]))
        let method = try MethodChoice("svg2").configured(table: other)
        #expect(throws: AttentionError.self) { try method.planner(for: layout) }
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

    @Test func theLeastLossIsChosenWithinTheLimit() {
        var search = PatternSearch([["a": "1"], ["a": "2"], ["a": "3"]], densityWeight: 0.5, lossLimit: 1)
        #expect(search.loss(meanSquaredError: 0.25, density: 0.5) == 0.5)
        #expect(search.choice([0.5, 0.25, 0.25]) == 2)
        #expect(search.choice([1, 2, 3]) == 1 && search.choice([1.5, 2, 3]) == 0)
        search.lossLimit = nil
        #expect(search.choice([7, 6, 8]) == 2)
        search.lossLimit = 0
        #expect(search.choice([0.1, 0.2, 0.3]) == 0 && search.choice([]) == 0)
    }
}
