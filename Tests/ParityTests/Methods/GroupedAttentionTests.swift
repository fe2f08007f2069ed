import TestSupport
import Testing
import VDiT

@Suite struct GroupedAttentionParity {
    private static let groups = ["group-frames": "2", "group-height": "2", "group-width": "4"]

    private func head(_ layout: TokenLayout, _ options: [String: String]) throws -> AttentionPlan.Head {
        try #require(MethodExample("grat", options).configured().planner(for: layout).layoutPlan).heads[0]
    }

    @Test func theCrossAndItsOutputAreThoseOfTheSpecification() throws {
        let golden = try #require(try SpecificationGolden.entry("grat")["example"] as? [String: Any])
        #expect(golden["group"] as? [Int] == [2, 2, 4])
        let kept = try SpecificationGolden.kept("grat", Self.groups)
        #expect(kept == [try #require(golden["kept"] as? [[Int]])])
        let grid = try #require(try SpecificationGolden.entry("probe")["grid"] as? [Int])
        let call = SpecificationGolden.call(grid)
        let context = try AttentionContext(MethodExample("grat", Self.groups).configured(), layout: call.layout)
        try SpecificationGolden.expect(context.attend(call), golden["output"])
    }

    /// HunyuanVideo's boxes in the authors' video: the kept ones of each row, and the share of the box of 3×3×3.
    @Test func publishedGridKeepsWhatTheSpecificationSays() throws {
        let golden = try SpecificationGolden.entry("grat")
        let layout = TokenLayout(frames: 32, height: 48, width: 80)
        let cross = try head(layout, ["preset": "hunyuan-video"])
        #expect(cross.queryBlocks == 480)
        let rows = Set((0..<480).map { cross.kept($0).count })
        #expect(rows == [try #require(golden["crossKeptOf480"] as? Int)])
        let box = try head(layout, ["keys": "box"])
        let kept = Set((0..<480).map { Double(box.kept($0).count) / 480 })
        #expect(kept == [try #require(golden["surrounding333"] as? Double)])
    }

    /// On a grid that nothing divides, and with text: who sees whom is mutual, and follows from the boxes alone.
    @Test func theCrossIsMutualAndFollowsTheBoxes() throws {
        let layout = TokenLayout(frames: 5, height: 7, width: 11, textBefore: 2, textAfter: 3)
        let mask = MethodCase.tokenMask(try head(layout, Self.groups))
        func box(_ token: Int) -> [Int] {
            let place = token - layout.textBefore
            return [place / 77 / 2, place / 11 % 7 / 2, place % 11 / 4]
        }
        for query in 0..<layout.tokens {
            for key in 0..<layout.tokens {
                #expect(mask[query][key] == mask[key][query])
                let isText = !layout.video.contains(query) || !layout.video.contains(key)
                let expected = isText || zip(box(query), box(key)).contains { $0 == $1 }
                if mask[query][key] != expected { Issue.record("\(query) \(key)") }
            }
        }
    }
}
