import Foundation
import Testing
import TestSupport
import VDiT
import VditAttention

/// SVG2 computes what svg-project/Sparse-VideoGen computes.
@Suite struct SVG2Parity {
    @Test(arguments: ["init10", "two_iters", "dup_init", "converge"], InstructionSet.supported)
    func clusteringFollowsTheReference(name: String, set: InstructionSet) throws {
        let golden = try MethodGolden("svg2_kmeans_a")
        let parameters = try #require(golden.cases().first { $0.name == name }).parameters
        let x = try golden.tensor("\(name).x")
        for threads in [1, 2] {
            let found = try KMeans(
                pool: WorkPool(threads: threads), instructionSet: set
            ).cluster(
                x, rows: 0..<x.shape[1], from: try golden.tensor("\(name).init"),
                iterations: try #require(parameters["max_iters"] as? Int))
            #expect(found.labels.integers().map(Int.init) == (try golden.integers("\(name).labels")))
            #expect(found.sizes.integers().map(Int.init) == (try golden.integers("\(name).sizes")))
            #expect(found.iterations == parameters["n_iters"] as? Int)
            let centroids = try golden.floats("\(name).centroids")
            #expect(MethodCase.distance(found.centroids.floats(), centroids) < 1e-5)
        }
    }

    @Test(arguments: InstructionSet.supported, [DType.f32, .bf16])
    func ofEqualCentroidsTheLowestIsNearest(set: InstructionSet, dtype: DType) throws {
        var random = SeededRandom.fresh()
        let x = AttentionCase.normal([2, 300, 24], dtype, &random)
        for clusters in [2, 17, 40, 100] {
            // Twice the same ones, so that equals lie in different columns of a product's tiles.
            let once = AttentionCase.normal([2, clusters, 24], .f32, &random).floats()
            let twice = (0..<2).flatMap { head in
                let own = once[head * clusters * 24..<(head + 1) * clusters * 24]
                return Array(own) + Array(own)
            }
            let found = try KMeans(pool: WorkPool(threads: 1), instructionSet: set).cluster(
                x, rows: 0..<300, from: Tensor(twice, shape: [2, 2 * clusters, 24]), iterations: 1)
            #expect(found.labels.integers().allSatisfy { $0 < clusters }, "\(clusters) seed \(random.seed)")
        }
    }

    @Test(arguments: ["small", "p50", "empty", "paper", "peaky"], InstructionSet.supported)
    func selectionFollowsTheReference(name: String, set: InstructionSet) throws {
        let golden = try MethodGolden("svg2_topp_a")
        let parameters = try #require(golden.cases().first { $0.name == name }).parameters
        let p = try #require(parameters["p"] as? Double)
        let least = try #require(parameters["min_kc_ratio"] as? Double)
        let queries = try golden.tensor("\(name).q_centroids")
        let keys = try golden.tensor("\(name).k_centroids")
        let sizes = try golden.integers("\(name).k_sizes")
        let map = try golden.bytes("\(name).map")
        let probabilities = try golden.floats("\(name).probs")
        let count = keys.shape[1]
        WorkPool(threads: 1).run(1) { _, scratch in
            for head in 0..<queries.shape[0] {
                let headSizes = sizes[head * count..<(head + 1) * count].map(Int32.init)
                guard let scores = try? pairwiseScores(queries[head], keys[head], on: set, scratch) else {
                    Issue.record("no scores")
                    return
                }
                PlanningKernels(set).softmax(
                    scores, scale: 1 / Float(queries.columns).squareRoot(),
                    weights: headSizes.map(Float.init))
                let all = scores.floats()
                for row in 0..<queries.shape[1] {
                    let start = (head * queries.shape[1] + row) * count
                    let mass = Array(all[row * count..<(row + 1) * count])
                    #expect(
                        MethodCase.distance(mass, Array(probabilities[start..<start + count])) < 1e-6)
                    let kept = SVG2.selected(
                        mass, headSizes, .mass(p, least: least), TokenLayout(frames: 1, height: 1, width: 1))
                    #expect(
                        kept.sorted().map(Int.init) == (0..<count).filter { map[start + $0] == 1 },
                        "head \(head) row \(row)")
                }
            }
        }
    }

    /// Several denoising steps: labels, orders, maps and outputs, centroids carried from step to step.
    @Test(arguments: ["svg2_e2e_wan", "svg2_e2e_hunyuan"], InstructionSet.supported)
    func stepsFollowTheReference(name: String, set: InstructionSet) throws {
        let golden = try MethodGolden(name)
        let (heads, dim) = (golden.integer("heads"), golden.integer("D"))
        let video = golden.integer("video_tokens")
        let text = golden.integer("text_prompt_len")
        let tokens = video + text
        let layout = TokenLayout(frames: 1, height: 1, width: video, textAfter: text)

        func planner(iterations: Int) throws -> any AttentionPlanner {
            try MethodChoice(
                "svg2",
                options: [
                    "query-clusters": "\(golden.integer("QC"))", "key-clusters": "\(golden.integer("KC"))",
                    "top-p": "\(golden.number("p"))", "least-keys": "\(golden.number("min_kc_ratio"))",
                    "step-iterations": "\(iterations)",
                ]
            ).configured().planner(for: layout)
        }
        func operand(_ array: String) throws -> Tensor {
            let all = try golden.tensor(array)
            let result = Tensor(.f32, [heads, tokens, dim])
            for head in 0..<heads { result[head].assign(all[head].slice(0..<tokens)) }
            return result
        }
        /// The tokens the reference seeds from, as the state of a step before the first.
        func seeds(_ x: Tensor, _ indices: String) throws -> Tensor {
            let index = try golden.integers(indices)
            let count = index.count / heads
            let result = Tensor(.f32, [heads, count, dim])
            for head in 0..<heads {
                for cluster in 0..<count {
                    let token = index[head * count + cluster]
                    result[head].slice(cluster..<cluster + 1).assign(x[head].slice(token..<token + 1))
                }
            }
            return result
        }

        var state = MethodState([
            "query-centroids": try seeds(operand("step0.q"), "q_init_index"),
            "key-centroids": try seeds(operand("step0.k"), "k_init_index"),
        ])
        for step in 0..<golden.integer("steps") {
            let planner = try planner(
                iterations: golden.integer(step == 0 ? "kmeans_iter_init" : "kmeans_iter_step"))
            let call = MethodCase.call(
                q: try operand("step\(step).q"), k: try operand("step\(step).k"),
                v: try operand("step\(step).v"), layout: layout, step: step, instructionSet: set)
            let plan = try planner.plan(call, &state)

            for (name, array) in [("query-centroids", "q_centroids"), ("key-centroids", "k_centroids")] {
                #expect(
                    MethodCase.distance(
                        try #require(state[name]).floats(), try golden.floats("step\(step).\(array)"))
                        < 1e-5)
            }
            let queryOrder = try golden.integers("step\(step).q_order")
            let keyOrder = try golden.integers("step\(step).k_order")
            let querySizes = try golden.integers("step\(step).q_sizes")
            let keySizes = try golden.integers("step\(step).k_sizes")
            let map = try golden.bytes("step\(step).map")
            let (rows, columns) = (querySizes.count / heads, keySizes.count / heads)
            for head in 0..<heads {
                let found = plan.heads[head]
                let order = queryOrder[head * queryOrder.count / heads..<(head + 1) * queryOrder.count / heads]
                #expect(found.queryOrder?.prefix(video).map(Int.init) == Array(order.prefix(video)))
                #expect(
                    found.keyOrder?.prefix(video).map(Int.init)
                        == Array(keyOrder[head * video..<(head + 1) * video]))
                // Clusters with tokens, the two of the text apart: the prompt is a block of ours, the
                // padding is not there.
                let texts = rows - golden.integer("QC")
                let queries = (0..<rows - texts).filter { querySizes[head * rows + $0] > 0 }
                let keys = (0..<columns - texts).filter { keySizes[head * columns + $0] > 0 }
                let mask = MethodCase.blockMask(found)
                for (block, row) in queries.enumerated() {
                    #expect(
                        Array(mask[block].prefix(keys.count))
                            == keys.map { map[(head * rows + row) * columns + $0] == 1 },
                        "step \(step) head \(head) cluster \(row)")
                }
            }
            let out = blockSparseAttention(call, plan, values: .f32).values.floats()
            let expected = try golden.tensor("step\(step).out")
            for head in 0..<heads {
                let right = expected[head].slice(0..<tokens).floats()
                var ours: [Float] = []
                for token in 0..<tokens {
                    let start = (token * heads + head) * dim
                    ours += out[start..<start + dim]
                }
                #expect(MethodCase.distance(ours, right) < 1e-5, "step \(step) head \(head)")
            }
        }
    }

    /// Counts of the specification's table for scores (.5 .25 .125 .0625 .0625).
    @Test func selectionRulesCountAsSpecified() throws {
        let json = try Data(contentsOf: URL(fileURLWithPath: Golden.path("methods/specs-golden.json")))
        let all = try #require(try JSONSerialization.jsonObject(with: json) as? [String: Any])
        let rules = try #require(all["rules"] as? [String: Any])
        let scores = try #require(rules["scores"] as? [Double]).map(Float.init)
        for row in try #require(rules["rows"] as? [[String: Any]]) {
            let target = try #require(row["target"] as? Double)
            let found: [String: SelectionRule] = [
                "before": .before(target), "upto": .upTo(target), "uptoPlus1": .upToPlusOne(target),
                "reach": .reach(target), "reachMinus1": .reachMinusOne(target, least: 0.2, most: 1),
            ]
            for (name, rule) in found { #expect(rule.count(scores) == row[name] as? Int, "\(name) \(target)") }
        }
        #expect(SelectionRule.top(0.5).count(scores) == 2)
        #expect(SelectionRule.top(0.1).count(scores) == 1)
        #expect(SelectionRule.complement(0.5).count(scores) == 3)
        #expect(SelectionRule.upToPlusOne(1).count(scores) == 5)
    }
}
