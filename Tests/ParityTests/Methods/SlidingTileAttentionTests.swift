import TestSupport
import Testing
import VDiT

@Suite struct SlidingTileAttentionParity {
    private func head(_ layout: TokenLayout, tile: [Int], window: [Int]) throws -> AttentionPlan.Head {
        var options: [String: String] = [:]
        for (axis, name) in ["frames", "height", "width"].enumerated() {
            options["tile-\(name)"] = "\(tile[axis])"
            options["window-\(name)"] = "\(window[axis])"
        }
        return try #require(MethodExample("sta", options).configured().planner(for: layout).layoutPlan).heads[0]
    }

    /// Order, kept tiles and output of the example.
    @Test func theExampleIsThatOfTheSpecification() throws {
        let golden = try SpecificationGolden.entry("sta")
        let example = try #require(golden["example"] as? [String: Any])
        #expect(example["tile"] as? [Int] == [2, 2, 4] && example["window"] as? [Int] == [1, 3, 1])
        let options = [
            "tile-frames": "2", "tile-height": "2", "tile-width": "4", "window-frames": "1", "window-height": "3",
            "window-width": "1",
        ]
        #expect(try SpecificationGolden.kept("sta", options) == [try #require(example["kept"] as? [[Int]])])
        let grid = try #require(try SpecificationGolden.entry("probe")["grid"] as? [Int])
        let call = SpecificationGolden.call(grid)
        let order = try head(call.layout, tile: [2, 2, 4], window: [1, 3, 1]).queryOrder?.map(Int.init)
        #expect(order == golden["tileOrder"] as? [Int])
        let context = try AttentionContext(MethodExample("sta", options).configured(), layout: call.layout)
        try SpecificationGolden.expect(context.attend(call), example["output"])
    }

    /// Of every published window on the published grids, how many tiles each tile keeps, interior and border alike.
    @Test func everyTileKeepsAsManyAsTheSpecificationSays() throws {
        let golden = try #require(
            try SpecificationGolden.entry("sta")["keptTilesMinMaxDensity"] as? [String: [Double]])
        for (name, expected) in golden {
            let numbers = name.split { !$0.isNumber }.compactMap { Int($0) }
            let layout = TokenLayout(frames: numbers[0], height: numbers[1], width: numbers[2])
            let head = try head(layout, tile: [1, 1, 1], window: Array(numbers[3...]))
            let counts = (0..<head.queryBlocks).map { head.kept($0).count }
            let least = try #require(counts.min()), most = try #require(counts.max())
            #expect([Double(least), Double(most)] == Array(expected.prefix(2)), "\(name)")
            #expect(abs(Double(least) / Double(layout.tokens) - expected[2]) < 1e-12, "\(name)")
        }
    }

    /// An even window is one tile wider than it says where that fits; one as wide as the grid keeps all.
    @Test func evenWindowsAreOneTileWider() throws {
        func kept(_ tiles: Int, _ window: Int) throws -> [[Int]] {
            let head = try head(
                TokenLayout(frames: 1, height: 1, width: tiles), tile: [1, 1, 1], window: [1, 1, window])
            return (0..<tiles).map { head.kept($0).map(Int.init) }
        }
        #expect(try kept(6, 2) == [[0, 1, 2], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [3, 4, 5]])
        #expect(try kept(6, 2) == kept(6, 3))
        for (tiles, window) in [(4, 4), (4, 3), (5, 5), (2, 3), (3, 10)] where window != 3 || tiles == 2 {
            #expect(try kept(tiles, window).allSatisfy { $0 == Array(0..<tiles) }, "\(tiles) \(window)")
        }
    }

    /// On a grid that no tile divides every tile sees itself, and text sees and is seen by all.
    @Test func gridsThatNothingDividesAreServed() throws {
        let layout = TokenLayout(frames: 5, height: 7, width: 11, textBefore: 3, textAfter: 4)
        let mask = MethodCase.tokenMask(try head(layout, tile: [2, 3, 4], window: [1, 2, 3]))
        for token in 0..<layout.tokens {
            #expect(mask[token][token] && mask[token][0] && mask[0][token] && mask[token][layout.tokens - 1])
        }
    }
}
