import TestSupport
import Testing
import VDiT

@Suite struct SparseVDiTParity {
    private func mask(_ layout: TokenLayout, _ options: [String: String]) throws -> [[Bool]] {
        let options = ["block": "8"].merging(options) { $1 }
        let plan = try #require(MethodExample("sparse-vdit", options).configured().planner(for: layout).layoutPlan)
        return MethodCase.tokenMask(plan.heads[0])
    }

    /// Positions near each other are what frames near each other are once the two are exchanged.
    @Test func positionsAreTheDiagonalOfTheTransposedVideo() throws {
        let layout = TokenLayout(frames: 6, height: 4, width: 8)
        let transposed = TokenLayout(frames: 32, height: 1, width: 6)
        let found = try mask(layout, ["mode": "positions", "kept": "0.2"])
        let expected = try mask(transposed, ["kept": "0.2"])
        func place(_ token: Int) -> Int { token % 32 * 6 + token / 32 }
        for query in 0..<192 {
            for key in 0..<192 where found[query][key] != expected[place(query)][place(key)] {
                Issue.record("\(query) \(key)")
            }
        }
    }

    /// Every query keeps as many blocks, those nearest to its own.
    @Test func theDiagonalIsABandOfOneWidth() throws {
        let layout = TokenLayout(frames: 8, height: 4, width: 4)
        let mask = try mask(layout, ["kept": "0.2"])
        for (query, row) in mask.enumerated() {
            let keys = row.indices.filter { row[$0] }
            #expect(keys.count == 24 && keys == Array(keys[0]...keys[23]) && row[query])
        }
        #expect(try self.mask(layout, ["kept": "1"]).allSatisfy { $0.allSatisfy { $0 } })
    }

    @Test func aStripeIsTheFirstKeysForAllQueries() throws {
        let layout = TokenLayout(frames: 8, height: 4, width: 4, textAfter: 2)
        let mask = try mask(layout, ["mode": "stripe", "kept": "0.25"])
        for row in mask[..<128] { #expect(row.indices.filter { row[$0] } == Array(0..<32) + [128, 129]) }
        for row in mask[128...] { #expect(row.allSatisfy { $0 }) }
    }

    @Test func aHeadThatIsSkippedGivesNothing() throws {
        var random = SeededRandom.fresh()
        let layout = TokenLayout(frames: 3, height: 4, width: 5, textAfter: 3)
        let context = try AttentionContext(MethodExample("sparse-vdit", ["mode": "skip"]).configured(), layout: layout)
        let output = try context.attend(MethodCase.call(layout, &random))
        #expect(output.values.floats().allSatisfy { $0 == 0 })
        #expect(output.logSumExp.floats().allSatisfy { $0 == -.infinity })
        #expect(context.statistics.total.computedPairs == 0)
    }
}
