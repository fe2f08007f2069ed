import TestSupport
import Testing
import VDiT

@Suite struct AdaSpaParity {
    /// The plan of the step after a search on the same operands, and what the search measured.
    private func searched(
        _ grid: [Int], heads: Int, options: [String: String]
    ) throws -> (plan: AttentionPlan, masses: [Tensor]) {
        let method = try MethodExample("adaspa", options).configured()
        let call = SpecificationGolden.call(grid, heads: heads)
        let planner = try method.planner(for: call.layout)
        var state = MethodState()
        let full = try planner.plan(call, &state)
        #expect(full.density(tokens: call.tokens) == 1)
        var output = blockSparseAttention(call, full, values: .f32)
        try planner.finish(&output, of: call, by: full, &state) { blockSparseAttention(call, $0, values: .f32) }
        let next = SpecificationGolden.call(grid, heads: heads, step: 1)
        return (try planner.plan(next, &state), output.masses)
    }

    @Test func keptBlocksAreThoseOfTheSpecification() throws {
        let golden = try SpecificationGolden.entry("adaspa")
        let grid = try #require(try SpecificationGolden.entry("probe")["grid"] as? [Int])
        let found = try searched(grid, heads: 2, options: ["block": "16", "sparsity": "0.5"])
        let kept = found.plan.heads.map { head in (0..<head.queryBlocks).map { Array(head.kept($0)).map(Int.init) } }
        #expect(kept == golden["kept"] as? [[[Int]]])
        let mass = try #require(golden["mass00"] as? [Double])
        for (found, right) in zip(found.masses[0].floats(), mass) { #expect(abs(Double(found) * 16 - right) < 1e-4) }
    }

    @Test func headsTradeSparsityAsTheSpecificationSays() throws {
        let golden = try SpecificationGolden.entry("adaspa6")
        let grid = try #require(golden["grid"] as? [Int])
        let sparsities = try #require(golden["headSparsity"] as? [Double])
        let blocks = grid.reduce(1, *) / 4
        for (bar, expected) in [("0.75", sparsities), ("1", sparsities.map { _ in 0.5 })] {
            let found = try searched(grid, heads: 6, options: ["block": "4", "sparsity": "0.5", "recall-bar": bar])
            for (head, sparsity) in zip(found.plan.heads, expected) {
                for row in 0..<blocks { #expect(head.kept(row).count == blocks - Int(sparsity * Double(blocks))) }
            }
        }
    }

    @Test func aSearchComesWhenItIsDueAndTheMaskStaysBetween() throws {
        let context = try AttentionContext(
            MethodExample("adaspa", ["block": "16", "refresh-every": "3"]).configured(),
            layout: TokenLayout(frames: 3, height: 5, width: 8))
        for step in 2..<9 {
            var random = SeededRandom(seed: UInt64(step))
            _ = try context.attend(MethodCase.call(TokenLayout(frames: 3, height: 5, width: 8), step: step, &random))
        }
        #expect(context.statistics.rows.map(\.fullCalls) == [1, 0, 0, 1, 0, 0, 1])
    }
}
