import TestSupport
import Testing
import VDiT
import VditAttention

@Suite struct SparseVideoGenParity {
    /// How far each head is from full attention in both bands, for the queries the reference drew.
    @Test(arguments: [("svg1_wan", 2.0, 10, 10), ("svg1_hunyuan", 1.5, 12, 16)])
    func headsAreJudgedAsInTheReference(name: String, frames: Double, height: Int, width: Int) throws {
        let golden = try MethodGolden(name)
        let (heads, video) = (golden.integer("heads"), golden.integer("num_frames") * height * width)
        let q = try golden.tensor("q")
        // Text lies behind the video, its padding with it; the probe sees both.
        let layout = TokenLayout(
            frames: golden.integer("num_frames"), height: height, width: width, textAfter: q.shape[1] - video)
        let call = MethodCase.call(q: q, k: try golden.tensor("k"), v: try golden.tensor("v"), layout: layout)
        let probe = HeadProbe(layout, frames: frames, sink: name == "svg1_wan")
        let (errors, best) = (try golden.floats("mse"), try golden.integers("best_mask"))
        let queries = try golden.integers("sampled_rows")
        let scratch = Scratch()
        for head in 0..<heads {
            let found = try probe.errors(call, head: head, queries: queries, scratch)
            for (found, right) in [(found.spatial, errors[head]), (found.temporal, errors[heads + head])] {
                #expect(abs(found - right) < 1e-5 * max(right, 0.01), "\(found), \(right)")
            }
            #expect((found.temporal < found.spatial ? 1 : 0) == best[head])
        }
    }

    /// A head of frames sees near frames, a head of positions the same positions in all frames.
    @Test func headsAreLaidOutAsTheirKindIs() throws {
        let layout = TokenLayout(frames: 8, height: 8, width: 8, textAfter: 5)
        var random = SeededRandom.fresh()
        // Two codes that tell frames apart, or positions.
        func codes(_ number: (Int) -> Int) -> [Float] {
            var codes: [Float] = []
            for token in 0..<layout.tokens {
                var code = SeededRandom(seed: UInt64(token < layout.videoTokens ? number(token) : 999))
                for _ in 0..<16 { codes.append(3 * code.normal()) }
            }
            return codes
        }
        let k = Tensor(codes { $0 / 64 } + codes { $0 % 64 }, shape: [2, layout.tokens, 16])
        let call = MethodCase.call(
            q: k, k: k, v: AttentionCase.normal(k.shape, .f32, &random), layout: layout)
        var state = MethodState()
        let plan = try MethodExample("svg1", ["block": "64", "kept": "0.125", "sink": "off", "probe-frames": "0"])
            .configured().planner(for: layout).plan(call, &state)
        let masks = plan.heads.map(MethodCase.tokenMask)
        for token in 0..<layout.videoTokens {
            #expect(masks[0][token][token / 64 * 64] && masks[0][token][token / 64 * 64 + 63])
            for frame in 0..<8 { #expect(masks[1][token][frame * 64 + token % 64]) }
        }
        #expect(plan.heads[0].queryOrder == nil)
        let places = try #require(plan.heads[1].queryOrder).prefix(layout.videoTokens).map(Int.init)
        #expect(places == (0..<layout.videoTokens).map { $0 % 8 * 64 + $0 / 8 })
    }
}
