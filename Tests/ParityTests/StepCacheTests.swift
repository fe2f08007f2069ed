import Foundation
import TestSupport
import Testing
import VDiT

/// What caches decide on scripted signals is what the published rules decide in float64 (`Tests/Golden/caches`).
struct StepCacheTests {
    struct Row: Decodable {
        let step: Int
        let branch: AttentionSite.Branch
        let computed: Bool
        let estimate: Double?
        /// Whether cross-attention is, where that is decided by itself.
        let cross: Bool?
    }

    struct Case: Decodable, CustomTestStringConvertible {
        let cache: String
        let model: String?
        let steps, streams: Int
        let threshold: Double?
        let mostSkips: Int?
        let firstSteps: Double?
        /// First step of the second of two transformers.
        let `switch`: Int?
        let first, last, interval, order, crossInterval: Int?
        let coefficients, distances: [Double]?
        let signals: [[[Float]]]?
        let values, given: [[Float]]?
        let rows: [Row]

        var testDescription: String { "\(cache) \(model ?? "") \(steps) steps" }

        func calls(_ served: Range<Int>? = nil) -> TransformerCalls {
            let served = served ?? 0..<steps
            return TransformerCalls(
                model: model ?? "scripted", steps: steps, served: served, guided: streams == 2 ? served : 0..<0)
        }
    }

    private struct Golden: Decodable {
        let tables: [String: CacheTable]
        let cases: [Case]
    }

    private static let golden = Result {
        try JSONDecoder().decode(
            Golden.self, from: Data(contentsOf: URL(fileURLWithPath: TestSupport.Golden.path("caches/decisions.json"))))
    }

    static func cases(_ cache: String) -> [Case] { ((try? golden.get())?.cases ?? []).filter { $0.cache == cache } }

    private func check(_ found: [(CacheCall, CacheVerdict)], _ golden: Case) {
        #expect(found.count == golden.rows.count)
        for ((call, verdict), row) in zip(found, golden.rows) {
            #expect(call == CacheCall(step: row.step, branch: row.branch))
            #expect(verdict.isComputed == row.computed, "\(golden.testDescription), step \(row.step)")
            #expect((verdict.estimate == nil) == (row.estimate == nil), "step \(row.step)")
            guard let own = verdict.estimate, let expected = row.estimate else { continue }
            // Both are float64; the script sums in another order.
            #expect(abs(own - expected) <= 1e-12 * max(1, abs(expected)), "step \(row.step)")
        }
    }

    /// A gate's verdicts, each branch with its own numbers.
    private func verdicts(
        _ gate: CacheGate, _ rows: [Row], change: (Row) -> Double = { _ in 0 }
    ) -> [(CacheCall, CacheVerdict)] {
        var numbers: [AttentionSite.Branch: CacheNumbers] = [:]
        return rows.map { row in
            var own = numbers[row.branch] ?? CacheNumbers()
            let call = CacheCall(step: row.step, branch: row.branch)
            let verdict = gate.judge(call, change: change(row), mayReuse: own.computed > 0, &own)
            numbers[row.branch] = own
            return (call, verdict)
        }
    }

    @Test func theGoldenHoldsEveryPublishedCache() {
        #expect(Self.cases("magcache").count == 8 && Self.cases("teacache").count == 2)
        #expect(Self.cases("fbcache").count == 2 && Self.cases("taylorseer").count == 3)
        #expect(Self.cases("pab").count == 2)
    }

    @Test(arguments: cases("magcache"))
    func magCacheComputesThePublishedSteps(_ golden: Case) throws {
        let tables = try CacheTables(Self.golden.get().tables)
        let model = try #require(golden.model)
        let configured = try CacheChoice(
            cache: "magcache",
            options: [
                "threshold": "\(golden.threshold ?? 0)", "most-skips": "\(golden.mostSkips ?? 0)",
                "first-steps": "\(golden.firstSteps ?? 0)",
            ]
        ).configured(tables: tables[model] == nil ? .published : tables)
        let parts = golden.switch.map { [0..<$0, $0..<golden.steps] } ?? [0..<golden.steps]
        let found = try parts.flatMap { part in
            verdicts(try configured.gate(for: golden.calls(part)), golden.rows.filter { part.contains($0.step) })
        }
        check(found, golden)
    }

    /// Calls that the published tables leave of 50 steps, at the authors' settings.
    ///
    /// - Source: arXiv 2506.09045, `Zehong-Ma/MagCache`: 25, 21 and 18 of 50 steps.
    @Test(
        arguments: ["wan2.1-t2v-14b", "wan2.1-t2v-1.3b"],
        [(threshold: 0.12, mostSkips: 2, computed: 25), (0.12, 4, 21), (0.24, 6, 18)])
    func magCacheComputesAsManyStepsAsPublished(
        _ model: String, _ setting: (threshold: Double, mostSkips: Int, computed: Int)
    ) throws {
        let calls = TransformerCalls(model: model, steps: 50, served: 0..<50, guided: 0..<50)
        let gate = try CacheChoice(
            cache: "magcache",
            options: [
                "threshold": "\(setting.threshold)", "most-skips": "\(setting.mostSkips)", "first-steps": "20%",
            ]
        ).configured().gate(for: calls)
        for branch in AttentionSite.Branch.allCases {
            var numbers = CacheNumbers()
            let computed = (0..<50).count { step in
                gate.judge(
                    CacheCall(step: step, branch: branch), change: 0, mayReuse: step > 0, &numbers
                ).isComputed
            }
            #expect(computed == setting.computed, "\(branch)")
        }
    }

    /// The same of HunyuanVideo, which has one branch: 19 of 50 steps.
    @Test func magCacheComputesAsManyStepsOfHunyuanVideoAsPublished() throws {
        let calls = TransformerCalls(model: "hunyuan-video", steps: 50, served: 0..<50, guided: 0..<0)
        let gate = try CacheChoice(cache: "magcache").configured(forModel: "hunyuan-video").gate(for: calls)
        var numbers = CacheNumbers()
        let computed = (0..<50).count { step in
            gate.judge(
                CacheCall(step: step, branch: .conditional), change: 0, mayReuse: step > 0, &numbers).isComputed
        }
        #expect(computed == 19)
    }

    /// A model's default preset is what its authors recommend.
    @Test func publishedModelsGetTheirAuthorsSettings() throws {
        func options(_ cache: String, _ model: String) throws -> [String: String] {
            try CacheChoice(cache: cache).configured(forModel: model).options
        }
        let names = ["threshold", "most-skips", "first-steps"]
        let large = try options("magcache", "wan2.1-t2v-14b")
        #expect(names.map { large[$0] } == ["0.24", "6", "20%"])
        let experts = try options("magcache", "wan2.2-t2v-a14b")
        #expect(names.map { experts[$0] } == ["0.06", "2", "40%"])
        #expect(try options("teacache", "wan2.1-t2v-14b")["threshold"] == "0.14")
    }

    /// Stretches get longer as less depends on a step, and shorter again at the end.
    @Test func theWeightedStepsOfTwentyAreThese() throws {
        func computed(_ steps: Int, budget: Double?) throws -> [Int] {
            let calls = TransformerCalls(model: "any", steps: steps, served: 0..<steps, guided: 0..<steps)
            let gate = try CacheChoice(cache: "weighted", budget: budget).configured().gate(for: calls)
            var numbers = CacheNumbers()
            return (0..<steps).filter { step in
                gate.judge(
                    CacheCall(step: step, branch: .conditional), change: 0, mayReuse: step > 0, &numbers
                ).isComputed
            }
        }
        #expect(try computed(20, budget: nil) == [0, 1, 2, 3, 4, 5, 6, 8, 11, 14, 17, 19])
        #expect(try computed(20, budget: 0.6).count == 12)
        #expect(try computed(50, budget: 0.5).count <= 25)
        #expect(try computed(50, budget: 0.5).count >= 23)
    }

    /// A fit of points on a polynomial is that polynomial.
    @Test func coefficientsAreFoundAgain() throws {
        let known = [220.0, -37.5, 4.25, 0.6, 0.01]
        let points = (0..<19).map { index in
            let x = 0.004 + 0.013 * Double(index)
            return (x: x, y: known.reduce(0) { $0 * x + $1 })
        }
        let found = try #require(CacheTable.fittedCoefficients(points))
        for (own, expected) in zip(found, known) { #expect(abs(own - expected) < 1e-6 * abs(expected)) }
        #expect(CacheTable.fittedCoefficients(Array(points.prefix(5))) == nil)
        #expect(CacheTable.fittedCoefficients(Array(repeating: (x: 0.1, y: 1), count: 9)) == nil)
    }

    @Test(arguments: cases("teacache"))
    func teaCacheSumsThePolynomialOfEveryChange(_ golden: Case) throws {
        let distances = try #require(golden.distances)
        let gate = try CacheGate(
            TeaCache.Rule(coefficients: #require(golden.coefficients)), golden.calls(),
            window: CacheWindow(first: .count(golden.first ?? 0), last: golden.last ?? 0),
            threshold: golden.threshold ?? 0)
        check(verdicts(gate, golden.rows) { distances[$0.step] }, golden)
    }

    /// The same polynomial that the published tables hold for a model.
    @Test func coefficientsArePublishedUnderTheModelsName() throws {
        let golden = try #require(Self.cases("teacache").last)
        #expect(CacheTables.published["wan2.1-t2v-1.3b"]?.coefficients == golden.coefficients)
    }

    private static let scripted = CacheTables([:])

    private func context(_ golden: Case, _ options: [String: String]) throws -> CacheContext {
        try CacheContext(
            CacheChoice(cache: golden.cache, options: options).configured(tables: Self.scripted), golden.calls(),
            pool: WorkPool(threads: 2))
    }

    @Test(arguments: cases("fbcache"))
    func theFirstBlockIsComparedWithTheLastComputedCalls(_ golden: Case) throws {
        let signals = try #require(golden.signals)
        let context = try context(
            golden, ["threshold": "\(golden.threshold ?? 0)", "first-steps": "\(golden.first ?? 0)"])
        for row in golden.rows {
            let opened = Tensor(signals[row.step][row.branch == .conditional ? 0 : 1], shape: [1, 8])
            let call = CacheCall(step: row.step, branch: row.branch)
            _ = try context.predict(call, scripted: { decide in
                guard let decide else { return opened }
                guard case .run(1, let first?) = try decide(BlockState(next: 0, count: 3, streams: [opened])) else {
                    Issue.record("the first block runs alone")
                    return opened
                }
                try first([opened])
                switch try decide(BlockState(next: 1, count: 3, streams: [opened])) {
                case .run(let end, let rest):
                    #expect(end == 3)
                    try rest?([opened])
                case .skip(let end, _): #expect(end == 3)
                }
                return opened
            })
        }
        let calls = context.state.statistics.calls
        check(
            calls.map {
                (
                    CacheCall(step: $0.step, branch: $0.branch),
                    CacheVerdict(isComputed: $0.outcome == .computed, estimate: $0.estimate)
                )
            }, golden)
    }

    @Test(arguments: cases("taylorseer"))
    func taylorSeerKeepsTheScheduleAndForecastsAsStated(_ golden: Case) throws {
        let (values, given) = (try #require(golden.values), try #require(golden.given))
        for standIn in ["blocks", "output"] {
            let context = try context(
                golden,
                [
                    "first-steps": "\(golden.first ?? 0)", "last-steps": "0", "interval": "\(golden.interval ?? 0)",
                    "order": "\(golden.order ?? 0)", "stand-in": standIn,
                ])
            for row in golden.rows {
                let value = Tensor(values[row.step], shape: [1, 8])
                var isComputed = true
                let call = CacheCall(step: row.step, branch: .conditional)
                let found = try context.predict(call, output: [1, 8], scripted: { decide in
                    guard let decide else { return value }
                    switch try decide(BlockState(next: 0, count: 3, streams: [value])) {
                    case .run(_, let residual):
                        try residual?([value])
                        return value
                    case .skip(_, let kept):
                        isComputed = false
                        return kept[0]
                    }
                })
                if standIn == "output" { isComputed = context.state.statistics.calls.last?.outcome == .computed }
                #expect(isComputed == row.computed, "\(standIn), step \(row.step)")
                let worst = zip(found.floats(), given[row.step]).map { abs($0 - $1) }.max() ?? 1
                #expect(worst < 1e-5, "\(standIn), step \(row.step)")
            }
        }
    }

    /// Both attentions of one block, each by its own range; what stands in is what the last computed call gave.
    @Test(arguments: cases("pab"))
    func selfAndCrossAttentionAreBroadcastByTheirOwnRanges(_ golden: Case) throws {
        let (values, given) = (try #require(golden.values), try #require(golden.given))
        let context = try context(
            golden,
            [
                "first-steps": "\(golden.first ?? 0)", "last-steps": "\(golden.last ?? 0)",
                "interval": "\(golden.interval ?? 0)", "cross-interval": "\(golden.crossInterval ?? 0)",
            ])
        let (pool, kernels) = (WorkPool(threads: 1), try InstructionSet.chosen())
        for row in golden.rows {
            let own = Tensor(values[row.step], shape: [1, 1, 8])
            let call = CacheCall(step: row.step, branch: .conditional)
            let found = try context.predict(call, output: [], conditional: nil) { prepare in
                var pass = ForwardPass(timesteps: [0]) { _ in
                    AttentionOutput(values: own, logSumExp: Tensor(.f32, [1, 1]))
                }
                prepare(&pass)
                let attended = try pass.attend(
                    AttentionCall(
                        q: own, k: own, v: own, layout: TokenLayout(frames: 1, height: 1, width: 1),
                        site: AttentionSite(layer: 0, branch: .conditional), step: row.step, steps: golden.steps,
                        pool: pool, instructionSet: kernels))
                var crossed = own.reshaped([1, 8])
                switch try #require(pass.crossAttention) {
                case .kept(let keep): keep([crossed])
                case .given(let kept): crossed = kept[0]
                }
                return Tensor(attended.values.floats() + crossed.floats(), shape: [1, 16])
            }
            #expect(found.floats() == given[row.step], "step \(row.step)")
            let decided = try #require(context.state.statistics.calls.last)
            #expect((decided.outcome == .computed) == row.computed && (decided.cross == .computed) == row.cross)
        }
    }

    @Test func linearTrendsAreForecastExactly() throws {
        let golden = try #require(Self.cases("taylorseer").first)
        let context = try context(golden, ["first-steps": "2", "last-steps": "0", "interval": "4", "order": "1"])
        for step in 0..<golden.steps {
            let value = Tensor((0..<8).map { Float(3 * step) - Float($0) }, shape: [1, 8])
            _ = try context.predict(CacheCall(step: step, branch: .conditional), scripted: { decide in
                guard let decide else { return value }
                switch try decide(BlockState(next: 0, count: 1, streams: [value])) {
                case .run(_, let residual): try residual?([value])
                case .skip(_, let kept): #expect(kept[0].floats() == value.floats(), "step \(step)")
                }
                return value
            })
        }
        #expect(context.state.statistics.count(.forecast) > 8)
    }
}
