import TestSupport
import Testing
import VDiT

/// Methods that judge pairs of blocks from queries and keys keep what our statement of their formulas keeps.
@Suite struct SelectorParity {
    private let block = ["block": "16", "own": "off"]

    private func golden(_ entry: String, _ list: String = "kept") throws -> [[[Int]]]? {
        try SpecificationGolden.entry(entry)[list] as? [[[Int]]]
    }

    @Test func xattentionKeepsTheBlocksOfTheSpecification() throws {
        let options = block.merging(["stride": "4", "mass": "0.6"]) { $1 }
        #expect(try SpecificationGolden.kept("xattention", options) == golden("xattention"))
        #expect(try SpecificationGolden.kept("xattention", options, probe: "oddProbe") == golden("xattentionOdd"))
        let without = options.merging(["first-block": "off"]) { $1 }
        #expect(try SpecificationGolden.kept("xattention", without) == golden("xattention", "keptWithoutBlock0"))
    }

    /// Antidiagonals of one token are scores, and their mass is the exact one.
    @Test func xattentionAtStrideOneKeepsTheMostExactMass() throws {
        let options = block.merging(["stride": "1", "mass": "0.6", "first-block": "off"]) { $1 }
        let grid = try #require(try SpecificationGolden.entry("probe")["grid"] as? [Int])
        let call = SpecificationGolden.call(grid)
        let kept = try SpecificationGolden.kept("xattention", options)
        let blocks = AttentionPlan.Head(
            queryOffsets: AttentionPlan.offsets(tokens: call.tokens, block: 16),
            keyOffsets: AttentionPlan.offsets(tokens: call.tokens, block: 16), rowStart: [], keyBlocks: [])
        for head in 0..<2 {
            let mass = try attentionMass(call, head: head, blocks: blocks).floats()
            for row in 0..<8 {
                let order = (0..<8).sorted { mass[row * 8 + $0] > mass[row * 8 + $1] }
                var before: Float = 0
                let expected = order.prefix { block in
                    defer { before += mass[row * 8 + block] }
                    return before < 0.6
                }
                #expect(kept[head][row] == expected.sorted())
            }
        }
    }

    @Test func spargeKeepsTheBlocksOfTheSpecification() throws {
        let options = block.merging(["key-block": "8", "similarity": "0.3", "mass": "0.6"]) { $1 }
        #expect(try SpecificationGolden.kept("sparge", options) == golden("sparge"))
        #expect(try SpecificationGolden.kept("sparge", options, probe: "oddProbe") == golden("spargeOdd"))
        let half = options.merging(["similarity": "-0.1", "mass": "0", "top": "0.5"]) { $1 }
        #expect(try SpecificationGolden.kept("sparge", half) == golden("sparge", "keptTopk50"))
    }

    /// Rectified SpaAttn selects as Jenga does.
    @Test func jengaKeepsTheBlocksOfTheSpecification() throws {
        let options = block.merging(
            ["order": "raster", "neighbours": "off", "first-frame": "off", "mass": "0.3", "sparsity": "0.8"]) { $1 }
        #expect(try SpecificationGolden.kept("jenga", options) == golden("rectified"))
    }

    @Test func asaKeepsTheBlocksOfTheSpecification() throws {
        let options = block.merging(["order": "raster", "least": "0.125", "most": "0.5"]) { $1 }
        #expect(try SpecificationGolden.kept("asa", options) == golden("blade"))
    }

    /// Levels by share of the blocks and by share of the mass, and the output of the former.
    @Test(arguments: ["blocks", "mass"])
    func psaSeesTheBlocksAsTheSpecificationDoes(unit: String) throws {
        let options = block.merging([
            "order": "raster", "key-block": "16", "ends-in": unit, "exact": "0.25", "halves": "0.4", "quarters": "0.6",
            "eighths": "0.8",
        ]) { $1 }
        let grid = try #require(try SpecificationGolden.entry("probe")["grid"] as? [Int])
        let call = SpecificationGolden.call(grid)
        var state = MethodState()
        let plan = try MethodExample("psa", options).configured().planner(for: call.layout).plan(call, &state)
        let found = plan.heads.map { head in
            (0..<head.queryBlocks).map { row -> [Int] in
                guard case .levels(let levels, let runs) = head.rest else { return [] }
                return (0..<head.keyBlockCount).map { block in
                    let level = Int(levels[row * head.keyBlockCount + block])
                    return head.kept(row).contains(Int32(block)) ? 1 : level > 0 ? runs[level - 1] : -1
                }
            }
        }
        let golden = try SpecificationGolden.entry("psa")
        #expect(found == golden[unit == "mass" ? "levelsMass" : "levelsTopk"] as? [[[Int]]])
        if unit == "blocks" { try SpecificationGolden.expectOutput("psa", options, of: "psa") }
    }

    /// With blocks of one query the union of their choices is each one's own.
    @Test func vmobaChoosesTheKeysOfTheSpecification() throws {
        let golden = try SpecificationGolden.entry("vmoba")
        let options = ["box-frames": "1", "box-height": "2", "box-width": "8", "query-block": "1"]
        // The third layer has boxes.
        try SpecificationGolden.expectOutput("vmoba", options, of: "vmoba", layer: 2)
        let grid = try #require(try SpecificationGolden.entry("probe")["grid"] as? [Int])
        let call = SpecificationGolden.call(grid, layer: 2)
        func masks(_ size: Int) throws -> [[[Bool]]] {
            var state = MethodState()
            let own = options.merging(["query-block": "\(size)"]) { $1 }
            return try MethodExample("vmoba", own).configured().planner(for: call.layout).plan(call, &state).heads
                .map(MethodCase.tokenMask)
        }
        let exact = try masks(1)
        let kept = exact.joined().joined().count { $0 }
        #expect(Double(kept) / Double(2 * call.tokens * call.tokens) == golden["density"] as? Double)
        for (one, union) in zip(exact.joined().joined(), try masks(8).joined().joined()) where one { #expect(union) }
    }

    /// Slices, columns and boxes follow each other, from the first layer that is not dense.
    @Test func vmobaTakesSlicesColumnsAndBoxesInTurn() throws {
        let layout = TokenLayout(frames: 4, height: 6, width: 8)
        let options = ["dense-layers": "1", "mass": "0", "box-height": "2"]
        let planner = try MethodExample("vmoba", options).configured().planner(for: layout)
        var random = SeededRandom.fresh()
        let sizes = try (1...4).map { layer in
            var state = MethodState()
            let offsets = try planner.plan(MethodCase.call(layout, layer: layer, &random), &state).heads[0].keyOffsets
            return zip(offsets, offsets.dropFirst()).map { $1 - $0 }
        }
        #expect(sizes == [[96, 96], [Int32](repeating: 48, count: 4), [Int32](repeating: 32, count: 6), [96, 96]])
    }

    /// What touches a query block is kept, and so is the first frame by its own queries.
    @Test func jengaKeepsNeighboursAndTheFirstFrame() throws {
        let layout = TokenLayout(frames: 4, height: 6, width: 8, textAfter: 3)
        var random = SeededRandom.fresh()
        let call = MethodCase.call(layout, &random)
        var state = MethodState()
        let planner = try MethodExample("jenga", ["block": "16", "mass": "0", "sparsity": "0.999"]).configured()
            .planner(for: layout)
        for head in try planner.plan(call, &state).heads {
            let mask = MethodCase.tokenMask(head)
            for query in 0..<layout.videoTokens {
                for key in 0..<layout.videoTokens {
                    let touches = [(48, 4), (8, 6), (1, 8)].allSatisfy { stride, extent in
                        abs(query / stride % extent - key / stride % extent) <= 1
                    }
                    if touches || max(query, key) < 48 { #expect(mask[query][key], "seed \(random.seed)") }
                }
            }
        }
    }

    @Test(arguments: ["2x2x2", "2x2x4", "3x2x5", "4x4x8"])
    func theCurveIsThatOfTheSpecification(grid: String) throws {
        let extents = grid.split(separator: "x").compactMap { Int($0) }
        #expect(try curve(extents) == (try SpecificationGolden.entry("gilbert")[grid] as? [Int]))
    }

    /// A checksum over 17,550 tokens; and a curve visits every token of any grid once.
    @Test func theCurveVisitsEveryTokenOnce() throws {
        let large = try curve([13, 30, 45])
        let sum = large.enumerated().reduce(0) { ($0 + $1.offset * $1.element) % (1 << 31) }
        #expect(sum == (try SpecificationGolden.entry("gilbert")["13x30x45 sum of i*order[i] mod 2^31"] as? Int))
        for grid in [[1, 1, 1], [1, 7, 5], [9, 1, 2], [5, 9, 13], [21, 12, 20], [2, 1, 1]] {
            #expect(try curve(grid).sorted() == Array(0..<grid.reduce(1, *)))
        }
    }

    private func curve(_ grid: [Int]) throws -> [Int] {
        let layout = TokenLayout(frames: grid[0], height: grid[1], width: grid[2])
        var random = SeededRandom(seed: 1)
        var state = MethodState()
        let plan = try MethodExample("jenga", ["neighbours": "off"]).configured().planner(for: layout)
            .plan(MethodCase.call(layout, heads: 1, headDim: 8, &random), &state)
        return try #require(plan.heads[0].queryOrder).map(Int.init)
    }
}
