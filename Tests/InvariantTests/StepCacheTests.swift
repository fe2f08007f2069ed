import Foundation
import TestSupport
import Testing
import VDiT

/// What every step cache promises, whatever it decides.
struct StepCacheTests {
    static let steps = 12
    static let caches = CacheCatalogue.caches.map(\.name)

    /// The tiny model's own: residuals that grow, and an output that changes a little whatever the embedding does.
    static let tables = CacheTables([
        "tiny": CacheTable(
            steps: steps, streams: 2, ratios: (0..<2 * (steps - 1)).map { 1.02 + 0.01 * Double($0 % 3) },
            coefficients: [0, 0, 0, 0.001, 0.15])
    ])

    static let calls = TransformerCalls(model: "tiny", steps: steps, served: 0..<steps, guided: 0..<steps)

    static func configured(
        _ cache: String, _ options: [String: String] = [:], budget: Double? = nil
    ) throws -> ConfiguredCache {
        var options = options
        // The tiny model has no third block.
        if cache == "deepcache" { options["last-blocks"] = "0" }
        return try CacheChoice(cache: cache, options: options, budget: budget).configured(tables: tables)
    }

    /// Settings at which a cache leaves out some calls and computes others in the middle of the tiny run.
    static func lively(_ cache: String, order: Int = 0) throws -> ConfiguredCache {
        var options = ["first-steps": "2", "order": "\(order)"]
        switch cache {
        case "magcache": options["threshold"] = "0.1"
        case "weighted": options["threshold"] = "0.06"
        case "fbcache", "teacache": options["threshold"] = "0.3"
        case "schedule": options["steps"] = "0-2+5+6+9"
        case "pab": options.merge(["interval": "3", "cross-interval": "4"]) { $1 }
        default: options["interval"] = "3"
        }
        return try configured(cache, options)
    }

    static func context(_ cache: ConfiguredCache, threads: Int = 2) throws -> CacheContext {
        try CacheContext(cache, calls, pool: WorkPool(threads: threads))
    }

    static func generation(
        _ model: CrossTransformer, _ context: CacheContext?, method: String = "dense"
    ) throws -> Generation {
        var random = TorchRandom(seed: 9)
        let layout = try model.config.tokenLayout(
            LatentShape(channels: 16, frames: 4, height: 16, width: 16), textTokens: 0)
        return try Generation(
            experts: [
                Expert(
                    model: model, guidance: try Guidance(scale: 4),
                    attention: try AttentionContext(
                        MethodChoice(method).configured(), layout: layout, fallback: .dense), cache: context)
            ],
            scheduler: SchedulerConfiguration(.unipc, flowShift: 3).scheduler(steps: steps),
            noise: random.normal([16, 4, 16, 16]), conditional: Conditioning(prompt: random.normal([8, 48])),
            unconditional: Conditioning(prompt: Tensor(.f32, [8, 48])))
    }

    static func latents(
        _ model: CrossTransformer, _ cache: ConfiguredCache?, method: String = "dense", threads: Int = 2
    ) throws -> (latents: [Float], statistics: CacheStatistics) {
        var context: CacheContext?
        if let cache { context = try Self.context(cache, threads: threads) }
        var generation = try Self.generation(model, context, method: method)
        while !generation.isFinished { _ = try generation.advance() }
        return (generation.latents.floats(), context?.state.statistics ?? CacheStatistics())
    }

    @Test(arguments: caches)
    func aThresholdThatLeavesNothingOutChangesNoBit(_ cache: String) throws {
        let (model, _) = try GenerationModelTests.tiny(2)
        let whole = try Self.latents(model, nil).latents
        let entry = try CacheCatalogue.all.entry(cache)
        let off = [("threshold", "0"), ("interval", "1"), ("steps", "all")].filter { option in
            entry.options.contains { $0.name == option.0 }
        }.prefix(1)
        for configured in [
            try Self.configured(cache, Dictionary(uniqueKeysWithValues: off)), try Self.configured(cache, budget: 1),
        ] {
            let (latents, statistics) = try Self.latents(model, configured)
            #expect(latents == whole)
            #expect(statistics.count(.computed) == 2 * Self.steps && statistics.calls.count == 2 * Self.steps)
        }
    }

    @Test(arguments: caches, [0, 2])
    func aRunThatStopsAnywhereResumesBitForBit(_ cache: String, order: Int) throws {
        let (model, _) = try GenerationModelTests.tiny(2)
        let configured = try Self.lively(cache, order: order)
        let (whole, statistics) = try Self.latents(model, configured)
        let left = Set(statistics.calls.filter { $0.outcome != .computed }.map(\.step))
        #expect(!left.isEmpty && statistics.count(.computed) > 6, "\(statistics.calls)")
        let path = NSTemporaryDirectory() + "vdit-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        // Before a call that is left out, and behind it.
        let first = try #require(left.min())
        for stop in [first, first + 1] {
            var begun = try Self.generation(model, Self.context(configured))
            for _ in 0..<stop { _ = try begun.advance() }
            try begun.checkpoint(identity: [:]).write(to: path)
            let context = try Self.context(configured)
            var resumed = try Self.generation(model, context)
            try resumed.restore(Checkpoint(path: path))
            while !resumed.isFinished { _ = try resumed.advance() }
            #expect(resumed.latents.floats() == whole, "stopped after \(stop)")
            #expect(context.state.statistics == statistics)
        }
    }

    @Test(arguments: caches)
    func aStepThatIsGivenUpIsUndone(_ cache: String) throws {
        let (model, _) = try GenerationModelTests.tiny(2)
        let configured = try Self.lively(cache)
        let whole = try Self.latents(model, configured)
        let context = try Self.context(configured)
        var generation = try Self.generation(model, context)
        while !generation.isFinished {
            var layers = 0
            let reason = PipelineError.cancelled(step: 1, steps: 4, checkpoint: nil)
            // The second call's blocks are the ones that are not reached.
            let given = try? generation.advance {
                layers += 1
                if layers == model.config.layers + 1 { throw reason }
            }
            if given == nil { _ = try generation.advance() }
        }
        #expect(generation.latents.floats() == whole.latents)
        #expect(context.state.statistics == whole.statistics)
    }

    @Test(arguments: caches)
    func threadsDecideNothing(_ cache: String) throws {
        let configured = try Self.lively(cache, order: 1)
        let one = try Self.latents(GenerationModelTests.tiny(1).0, configured, threads: 1)
        let two = try Self.latents(GenerationModelTests.tiny(2).0, configured)
        #expect(one.latents == two.latents && one.statistics == two.statistics)
    }

    @Test(arguments: caches.filter { $0 != "schedule" }, [0.5, 0.7, 0.9])
    func aBudgetIsKept(_ cache: String, budget: Double) throws {
        let (model, _) = try GenerationModelTests.tiny(2)
        // Half of the calls are conditional, which the guidance cache computes all.
        let budget = cache == "guidance" ? max(0.7, budget) : budget
        let configured = try Self.configured(cache, ["first-steps": "2"], budget: budget)
        let statistics = try Self.latents(model, configured).statistics
        let computed = statistics.count(.computed)
        #expect(Double(computed) <= budget * Double(2 * Self.steps) + 1e-9)
        // And spent, but for what comes in pairs.
        #expect(Double(computed) >= budget * Double(2 * Self.steps) - 4, "\(computed)")
    }

    @Test func aBudgetThatCannotBeKeptSaysWhatIsLeast() throws {
        let error = try #require(throws: PipelineError.self) {
            try Self.configured("magcache", ["most-skips": "2"], budget: 0.2).gate(for: Self.calls)
        }
        #expect(error.setting == "cache_budget" && error.description.contains("magcache computes at least"))
    }

    /// The list of a run's computed steps makes the run again, whatever decided there.
    @Test(arguments: ["teacache", "taylorseer", "pab"])
    func theScheduleOfARunMakesItAgain(_ cache: String) throws {
        let (model, _) = try GenerationModelTests.tiny(2)
        // A list says nothing of cross-attention.
        let own = cache == "pab"
            ? try Self.configured(cache, ["first-steps": "2", "order": "1", "interval": "3"])
            : try Self.lively(cache, order: 1)
        let (latents, statistics) = try Self.latents(model, own)
        let computed = Set(statistics.calls.filter { $0.outcome == .computed }.map(\.step)).sorted()
        // A list is of steps: both branches decide alike.
        #expect(computed.count * 2 == statistics.count(.computed) && computed.count < Self.steps)
        let list = computed.map(String.init).joined(separator: "+")
        let again = try Self.latents(
            model,
            Self.configured(
                "schedule", ["steps": list, "order": "1", "stand-in": cache == "pab" ? "attention" : "blocks"]))
        #expect(again.latents == latents)
    }

    /// Half of a line's slope goes half as far from where it was.
    @Test func aForecastLeansAsFarAsItIsTold() throws {
        let context = try Self.context(
            Self.configured("schedule", ["steps": "0+2", "order": "1", "lean": "0.5", "stand-in": "output"]))
        for step in 0..<5 {
            let value = Tensor([Float(10 * step), 1], shape: [1, 2])
            let call = CacheCall(step: step, branch: .conditional)
            let found = try context.predict(call, output: [1, 2], scripted: { _ in value })
            #expect(found.floats() == [[0, 1], [0, 1], [20, 1], [25, 1], [30, 1]][step])
        }
    }

    @Test(arguments: ["1-", "3-2", "x", "0+99", "0,1", ""])
    func aListThatIsNoneIsRefused(_ list: String) throws {
        let error = try #require(throws: PipelineError.self) {
            try Self.configured("schedule", ["steps": list]).gate(for: Self.calls)
        }
        #expect(error.description.contains("steps=\(list)") && error.description.contains("0 to 11"))
    }

    /// Interleaved or alone, a branch decides the same and keeps its own.
    @Test(arguments: ["magcache", "fbcache", "teacache", "taylorseer"])
    func branchesNeverShareAResidual(_ cache: String) throws {
        func run(_ branches: [AttentionSite.Branch]) throws -> [AttentionSite.Branch: [[Float]]] {
            let context = try CacheContext(Self.lively(cache, order: 1), Self.calls, pool: WorkPool(threads: 1))
            var given: [AttentionSite.Branch: [[Float]]] = [:]
            for step in 0..<Self.steps {
                for branch in branches {
                    let level = Float(branch == .conditional ? 1 : -3) + Float(step * step) / 50
                    let value = Tensor((0..<6).map { level + Float($0) / 8 }, shape: [2, 3])
                    let state = { (next: Int) in
                        BlockState(next: next, count: 4, streams: [value]) { _ in Tensor([level]) }
                    }
                    let call = CacheCall(step: step, branch: branch)
                    let output = try context.predict(call, scripted: { decide in
                        guard let decide else { return value }
                        var decision = try decide(state(0))
                        if case .run(1, let opened) = decision {
                            try opened?([value])
                            decision = try decide(state(1))
                        }
                        switch decision {
                        case .run(_, let residual):
                            try residual?([value])
                            return value
                        case .skip(_, let kept): return kept[0]
                        }
                    })
                    given[branch, default: []].append(output.floats())
                }
            }
            return given
        }
        let together = try run([.conditional, .unconditional])
        for branch in AttentionSite.Branch.allCases {
            #expect(try run([branch])[branch] == together[branch])
        }
    }

    @Test(arguments: MethodCatalogue.methods.map(\.name))
    func aCallThatIsLeftOutLeavesTheMethodAsItIs(_ method: String) throws {
        let (model, _) = try GenerationModelTests.tiny(2)
        let configured = try Self.configured("taylorseer", ["first-steps": "4", "last-steps": "1", "interval": "3"])
        let context = try Self.context(configured)
        var generation = try Self.generation(model, context, method: method)
        while !generation.isFinished {
            let before = generation.checkpoint(identity: [:])
            _ = try generation.advance()
            let after = generation.checkpoint(identity: [:])
            guard let call = context.state.statistics.calls.last, call.outcome != .computed else { continue }
            #expect(before.statistics == after.statistics)
            func bytes(_ learned: [String: Tensor]) -> [String: [UInt8]] {
                learned.mapValues { tensor in tensor.withBytes { Array($0) } }
            }
            #expect(bytes(before.learned) == bytes(after.learned))
        }
        #expect(context.state.statistics.count(.computed) == 2 * 7)
    }

    @Test(arguments: caches)
    func whatIsKeptIsWhatWasPredicted(_ cache: String) throws {
        let (model, _) = try GenerationModelTests.tiny(2)
        let configured = try Self.lively(cache, order: 1)
        let context = try Self.context(configured)
        var generation = try Self.generation(model, context)
        while !generation.isFinished { _ = try generation.advance() }
        let tokens = 4 * 8 * 8
        let predicted = configured.predictedStateBytes(
            streams: tokens * model.config.inner * 4, latents: generation.latents.byteCount,
            layers: model.config.layers, operand: .bf16, branches: 2)
        let broadcast = context.state.statistics.calls.contains { $0.cross == .forecast && $0.outcome == .computed }
        #expect(broadcast == (cache == "pab"))
        let kept = context.keptBytes
        // TeaCache keeps an embedding beside.
        let slack = cache == "teacache" ? 2 * model.config.inner * 4 : 0
        #expect(kept <= predicted + slack && kept >= predicted - slack)
    }

    /// What the first of two transformers keeps is nothing to the second, which computes its own first steps.
    @Test(arguments: caches)
    func twoTransformersKeepTheirOwn(_ cache: String) throws {
        let (model, compute) = try GenerationModelTests.tiny(2)
        let own = Set(try CacheCatalogue.all.entry(cache).options.map(\.name))
        let options = [
            "first-steps": "2", "order": "1", "threshold": "1000", "interval": "3", "steps": "0-2+8",
        ].filter { own.contains($0.key) }
        let configured = try Self.configured(cache, options)
        let half = Self.steps / 2
        let scheduler = try SchedulerConfiguration(.unipc, flowShift: 3).scheduler(steps: Self.steps)
        let contexts = try [0..<half, half..<Self.steps].map { served in
            try CacheContext(
                configured, TransformerCalls(model: "tiny", steps: Self.steps, served: served, guided: served),
                pool: compute.pool)
        }
        var random = TorchRandom(seed: 9)
        let layout = try model.config.tokenLayout(
            LatentShape(channels: 16, frames: 4, height: 16, width: 16), textTokens: 0)
        let experts = try contexts.enumerated().map { index, context in
            Expert(
                model: model, guidance: try Guidance(scale: 4),
                steps: index == 0 ? 0..<half : half..<Self.steps,
                attention: try AttentionContext(MethodChoice("dense").configured(), layout: layout), cache: context)
        }
        var generation = try Generation(
            experts: experts, scheduler: scheduler, noise: random.normal([16, 4, 16, 16]),
            conditional: Conditioning(prompt: random.normal([8, 48])),
            unconditional: Conditioning(prompt: Tensor(.f32, [8, 48])))
        for _ in 0..<half { _ = try generation.advance() }
        let first = contexts[0].state.statistics
        #expect(contexts[1].keptBytes == 0 && contexts[1].state.statistics.calls.isEmpty)
        #expect(first.calls.count == 2 * half && first.count(.computed) < 2 * half)
        while !generation.isFinished { _ = try generation.advance() }
        #expect(contexts[0].state.statistics == first)
        let second = contexts[1].state.statistics.calls
        #expect(second.map(\.step) == (half..<Self.steps).flatMap { [$0, $0] })
        // Two first steps, as the first transformer has.
        #expect(second.prefix(4).allSatisfy { $0.outcome == .computed && $0.estimate == nil })
        #expect(second.contains { $0.outcome != .computed })
    }

    @Test func aBenchmarkTimesEveryCache() throws {
        let (model, compute) = try GenerationModelTests.tiny(1)
        let config = model.config.withLayers(6)
        let latents = LatentShape(channels: 16, frames: 2, height: 8, width: 8)
        let result = try CacheBenchmark(LayerBenchmark(config, latents: latents, textTokens: 8))
            .run(Self.caches, repeats: 1, compute)
        #expect(result.rows.map(\.cache) == Self.caches && result.computedSeconds > 0)
        #expect(result.rows.allSatisfy { $0.seconds > 0 && $0.share > 0 && $0.stateBytes > 0 })
    }

    @Test func blocksThatAlwaysRunLeaveSomeOver() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        var job = RenderJob(
            model: folder.path("model"), promptEmbedding: folder.path("a.safetensors"),
            destination: VideoDestination(path: folder.path("a.y4m")))
        (job.request.width, job.request.height, job.request.numFrames, job.request.steps) = (64, 64, 5, 8)
        job.request.cache = "fbcache"
        job.request.cacheOptions = ["blocks": "99"]
        let error = try #require(throws: PipelineError.self) { try Renderer(job) }
        #expect(error.setting == "cache_options" && error.description.contains("99 blocks"))
    }

    @Test func fewStepsAreRefusedWithTheReason() throws {
        let error = try #require(throws: (any Error).self) {
            try SettingTableTests.settings {
                $0.cache = "fbcache"
                $0.steps = 7
            }
        }
        let failure = try #require(error as? any Failure)
        #expect(failure.setting == "cache" && failure.description.contains("at least 8 steps"))
        #expect(try SettingTableTests.settings { ($0.cache, $0.steps) = ("fbcache", 8) }.cache?.name == "fbcache")
        #expect(try SettingTableTests.settings { ($0.cache, $0.steps) = ("none", 4) }.cache == nil)
    }

    @Test func whatBelongsToACacheNeedsOne() throws {
        let budget = #expect(throws: (any Error).self) { try SettingTableTests.settings { $0.cacheBudget = 0.5 } }
        #expect((budget as? any Failure)?.setting == "cache_budget")
        let options = #expect(throws: (any Error).self) {
            try SettingTableTests.settings { $0.cacheOptions = ["order": "1"] }
        }
        #expect((options as? any Failure)?.setting == "cache_options")
    }
}
