import Foundation
import TestSupport
import Testing
import VDiT

/// Sparse-linear attention computes what our statement of its formulas gives, and what they say in plain sums.
@Suite struct SparseLinearAttentionParity {
    private let options = ["block": "16", "kept": "0.25"]

    /// `factor` times what it gets, and a bias.
    private static func projection(_ factor: Float, bias: [Float] = []) throws -> Linear {
        var weights = [Float](repeating: 0, count: 256)
        for index in 0..<16 { weights[index * 17] = factor }
        return try MethodCase.projection(Tensor(weights, shape: [16, 16]), bias: bias)
    }

    private func values(_ options: [String: String], _ call: AttentionCall) throws -> Tensor {
        try AttentionContext(MethodExample("sla", options).configured(), layout: call.layout).attend(call).values
    }

    private static func difference(_ a: Tensor, _ b: Tensor) -> Tensor {
        Tensor(zip(a.floats(), b.floats()).map { $0 - $1 }, shape: a.shape)
    }

    @Test func goldenBlocksAndBothPartsAreReproduced() throws {
        let golden = try SpecificationGolden.entry("sla")
        let grid = try #require(try SpecificationGolden.entry("probe")["grid"] as? [Int])
        let bare = SpecificationGolden.call(grid, projection: try Self.projection(0))
        var state = MethodState()
        let plan = try MethodExample("sla", options).configured().planner(for: bare.layout).plan(bare, &state)
        let kept = plan.heads.map { head in (0..<head.queryBlocks).map { head.kept($0).map(Int.init) } }
        #expect(kept == golden["kept"] as? [[[Int]]])
        let sparse = try values(options, bare)
        var output = AttentionOutput(values: sparse, logSumExp: Tensor([0]))
        try SpecificationGolden.expect(output, golden["sparse"])
        let whole = SpecificationGolden.call(grid, projection: try Self.projection(1))
        for (keys, part) in [("all", "linearMain"), ("unkept", "linearMarginal")] {
            output.values = Self.difference(try values(options.merging(["linear": keys]) { $1 }, whole), sparse)
            try SpecificationGolden.expect(output, golden[part])
        }
    }

    private static func features(_ x: ArraySlice<Float>, _ name: String) -> [Double] {
        let x = x.map(Double.init)
        if name == "relu" { return x.map { max(0, $0) } }
        if name == "elu" { return x.map { $0 > 0 ? $0 + 1 : exp($0) } }
        let sum = x.reduce(0) { $0 + exp($1) }
        return x.map { exp($0) / sum }
    }

    /// Token by token, in Double, over a ragged layout in an order of boxes with text around it; the projection is the
    /// one of all heads.
    @Test(arguments: ["all", "unkept"], ["softmax", "elu", "relu"])
    func theLinearPartIsTheSumOfTheDefinition(keys: String, features: String) throws {
        let layout = TokenLayout(frames: 3, height: 6, width: 7, textBefore: 3, textAfter: 5)
        var random = SeededRandom.fresh()
        let operands = MethodCase.call(layout, &random)
        let weights = AttentionCase.normal([16, 16], .f32, &random)
        let bias = (0..<16).map { Float($0) / 8 - 1 }
        let call = MethodCase.call(
            q: operands.q, k: operands.k, v: operands.v,
            projection: try MethodCase.projection(weights, bias: bias), layout: layout)
        let options = [
            "order": "tiles", "key-block": "9", "kept": "0.3", "linear": keys, "features": features,
        ]
        let method = try MethodExample("sla", options).configured()
        var state = MethodState()
        let plan = try method.planner(for: layout).plan(call, &state)
        let sparse = blockSparseAttention(call, plan, values: .f32).values.floats()
        let found = try values(options, call).floats()
        let (q, k, v) = (call.q.floats(), call.k.floats(), call.v.floats())
        let w = weights.floats()
        var worst = 0.0
        for head in 0..<2 {
            func row(_ x: [Float], _ token: Int) -> ArraySlice<Float> {
                x[(head * layout.tokens + token) * 16..<(head * layout.tokens + token + 1) * 16]
            }
            let mask = MethodCase.tokenMask(plan.heads[head])
            let keyFeatures = (0..<layout.tokens).map { Self.features(row(k, $0), features) }
            for token in 0..<layout.tokens {
                let own = Self.features(row(q, token), features)
                var (sum, mean) = (keys == "all" ? 1e-5 : 0, [Double](repeating: 0, count: 16))
                for key in 0..<layout.tokens where keys == "all" || !mask[token][key] {
                    let weight = zip(own, keyFeatures[key]).reduce(0) { $0 + $1.0 * $1.1 }
                    sum += weight
                    for (column, value) in row(v, key).enumerated() { mean[column] += weight * Double(value) }
                }
                let place = (token * 2 + head) * 16
                for column in 0..<16 {
                    var expected = 0.0
                    if layout.video.contains(token) {
                        expected = Double(bias[column])
                        for i in 0..<16 where sum > 0 { expected += Double(w[column * 16 + i]) * mean[i] / sum }
                    }
                    worst = max(worst, abs(Double(found[place + column] - sparse[place + column]) - expected))
                }
            }
        }
        #expect(worst < 2e-5, "seed \(random.seed)")
    }

    @Test func withoutWeightsAndWithAllBlocksItIsDense() throws {
        var random = SeededRandom.fresh()
        let operands = MethodCase.call(TokenLayout(frames: 3, height: 5, width: 7), &random)
        func call(_ projection: Linear) -> AttentionCall {
            MethodCase.call(q: operands.q, k: operands.k, v: operands.v, projection: projection, layout: operands.layout)
        }
        let all = ["kept": "1", "block": "16"]
        let dense = blockSparseAttention(operands, .dense(tokens: operands.tokens), values: .f32).values.floats()
        let found = try values(all, call(Self.projection(0))).floats()
        #expect(MethodCase.distance(found, dense) < 1e-5, "seed \(random.seed)")
        // Where no key is left for the linear part, the layer's bias is what remains of it.
        let biased = try values(all.merging(["linear": "unkept"]) { $1 }, call(Self.projection(1, bias: .init(repeating: 2, count: 16))))
        #expect(MethodCase.distance(biased.floats(), dense.map { $0 + 2 }) < 1e-5, "seed \(random.seed)")
    }

    /// Features of a softmax are positive, so the linear part is a mean of values.
    @Test(arguments: ["all", "unkept"])
    func theLinearPartLiesAmongTheValues(keys: String) throws {
        var random = SeededRandom.fresh()
        let operands = MethodCase.call(TokenLayout(frames: 4, height: 6, width: 9), &random)
        let options = options.merging(["linear": keys]) { $1 }
        func part(_ projection: Linear) throws -> Tensor {
            try values(
                options,
                MethodCase.call(
                    q: operands.q, k: operands.k, v: operands.v, projection: projection, layout: operands.layout))
        }
        let linear = Self.difference(try part(Self.projection(1)), try part(Self.projection(0))).floats()
        let v = operands.v.floats()
        for column in 0..<32 {
            let all = (0..<operands.tokens).map { v[(column / 16 * operands.tokens + $0) * 16 + column % 16] }
            let mean = (0..<operands.tokens).map { linear[$0 * 32 + column] }
            #expect(mean.min()! > all.min()! - 1e-4 && mean.max()! < all.max()! + 1e-4, "seed \(random.seed)")
        }
    }

    @Test func whatACallTakesAndComputesIsKnown() throws {
        let layout = TokenLayout(frames: 4, height: 8, width: 8)
        for (kept, blocks) in [("0.05", 1), ("0.25", 4), ("1", 16)] {
            let method = try MethodExample("sla", ["block": "16", "kept": kept]).configured()
            var (random, state) = (SeededRandom.fresh(), MethodState())
            let planner = try method.planner(for: layout)
            let plan = try planner.plan(MethodCase.call(layout, &random), &state)
            #expect(plan.heads.allSatisfy { head in (0..<16).allSatisfy { head.kept($0).count == blocks } })
            #expect(planner.predictedWork(step: 3, first: 0) == plan.density(tokens: layout.tokens))
        }
        func bytes(_ keys: String) throws -> Int {
            try MethodExample("sla", ["block": "16", "linear": keys]).configured().method
                .workingBytes(layout: layout, headDim: 16)
        }
        #expect(try bytes("all") == 17 * 16 * 4 && bytes("unkept") >= 16 * 17 * 16 * 4)
    }

    @Test func callsWithoutProjectionsAreRefused() throws {
        var random = SeededRandom.fresh()
        let operands = MethodCase.call(TokenLayout(frames: 3, height: 5, width: 7), &random)
        let bare = MethodCase.call(q: operands.q, k: operands.k, v: operands.v, layout: operands.layout)
        let error = #expect(throws: AttentionError.self) { try values(options, bare) }
        #expect(error?.kind == .unsupported)
    }
}
