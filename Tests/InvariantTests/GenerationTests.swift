import Foundation
import Synchronization
import TestSupport
import Testing
import VDiT

/// A model without layers worth the name: cheap, deterministic, and it writes down who called.
final class PseudoModel: VideoModel {
    let layers = 3
    let layerByteCount = 0
    let calls = Mutex<[AttentionSite.Branch]>([])

    struct Prepared: PreparedConditioning {
        let shift: Float
        let byteCount = 0
    }

    func prepare(_ conditioning: Conditioning) throws -> any PreparedConditioning {
        Prepared(shift: conditioning.prompt.floats().reduce(0, +))
    }

    func predict(
        _ latents: Tensor, conditioning: any PreparedConditioning, _ pass: ForwardPass
    ) throws -> Tensor {
        calls.withLock { $0.append(pass.branch) }
        for layer in 0..<layers { try pass.onLayer?(layer) }
        let shift = (conditioning as? Prepared)?.shift ?? 0
        let time = pass.timesteps[0] / 1000
        return Tensor(
            latents.floats().map { 0.3 * $0 + 0.1 * sin(time + shift + $0) }, shape: latents.shape)
    }

    /// A run of this model over seeded noise.
    func generation(
        _ kind: SchedulerConfiguration.Kind, steps: Int = 7, guidance: Guidance
    ) throws -> Generation {
        var random = TorchRandom(seed: 5)
        let layout = TokenLayout(frames: 2, height: 3, width: 5)
        return try Generation(
            experts: [
                Expert(
                    model: self, guidance: guidance,
                    attention: try AttentionContext(MethodChoice.dense.configured(), layout: layout))
            ],
            scheduler: SchedulerConfiguration(kind, flowShift: 3).scheduler(steps: steps),
            noise: random.normal([4, 2, 3, 5]),
            conditional: Conditioning(prompt: Tensor([0.5], shape: [1, 1])),
            unconditional: Conditioning(prompt: Tensor([0], shape: [1, 1])))
    }
}

/// What a run promises whatever the model.
struct GenerationTests {
    static let kinds = SchedulerConfiguration.Kind.allCases

    @Test func ofTwoTransformersOneIsInMemoryAtATime() throws {
        /// Makes models and remembers them without keeping them.
        final class Shelf {
            weak var last: PseudoModel?
            var made = 0

            func make() -> PseudoModel {
                #expect(last == nil, "the model before is still there")
                let model = PseudoModel()
                (last, made) = (model, made + 1)
                return model
            }
        }
        let shelf = Shelf()
        let layout = TokenLayout(frames: 2, height: 3, width: 5)
        var random = TorchRandom(seed: 5)
        let parts = [0..<3, 3..<7]
        var generation = try Generation(
            experts: try parts.map { steps in
                Expert(
                    model: shelf.make(), guidance: try Guidance(scale: 1), steps: steps,
                    attention: try AttentionContext(MethodChoice.dense.configured(), layout: layout))
            },
            scheduler: SchedulerConfiguration(.unipc, flowShift: 3).scheduler(steps: 7),
            noise: random.normal([4, 2, 3, 5]), conditional: Conditioning(prompt: Tensor([0.5], shape: [1, 1])),
            unconditional: Conditioning(prompt: Tensor([0], shape: [1, 1])))
        #expect(shelf.made == 0)
        var toLoad: [Int?] = []
        while !generation.isFinished {
            toLoad.append(generation.partToLoad)
            _ = try generation.advance()
        }
        #expect(toLoad == [0, nil, nil, 1, nil, nil, nil] && shelf.made == 2)
    }

    @Test func aTransformerThatCannotBeLoadedLeavesWhatWasComputed() throws {
        struct Missing: Error {}
        func second() throws -> any VideoModel { throw Missing() }
        let layout = TokenLayout(frames: 2, height: 3, width: 5)
        let attention = try AttentionContext(MethodChoice.dense.configured(), layout: layout)
        let guidance = try Guidance(scale: 1)
        var random = TorchRandom(seed: 5)
        var generation = try Generation(
            experts: [
                Expert(model: PseudoModel(), guidance: guidance, steps: 0..<3, attention: attention),
                Expert(model: try second(), guidance: guidance, steps: 3..<7, attention: attention),
            ],
            scheduler: SchedulerConfiguration(.unipc, flowShift: 3).scheduler(steps: 7),
            noise: random.normal([4, 2, 3, 5]), conditional: Conditioning(prompt: Tensor([0.5], shape: [1, 1])),
            unconditional: Conditioning(prompt: Tensor([0], shape: [1, 1])))
        for _ in 0..<3 { _ = try generation.advance() }
        let latents = generation.latents.floats()
        #expect(throws: Missing.self) { try generation.load() }
        #expect(throws: Missing.self) { _ = try generation.advance() }
        #expect(generation.completed == 3 && generation.latents.floats() == latents && generation.partToLoad == 1)
    }

    @Test func guidanceOfOneNeverRunsTheSecondPass() throws {
        let model = PseudoModel()
        var generation = try model.generation(.unipc, guidance: Guidance(scale: 1))
        while !generation.isFinished { #expect(try generation.advance().unconditional == nil) }
        #expect(model.calls.withLock { $0 } == Array(repeating: .conditional, count: 7))
    }

    @Test func conditionalRunsFirstAndOnlyInsideTheInterval() throws {
        let model = PseudoModel()
        var generation = try model.generation(
            .euler, steps: 4, guidance: Guidance(scale: 5, start: 0.25, end: 0.75))
        while !generation.isFinished { _ = try generation.advance() }
        #expect(
            model.calls.withLock { $0 } == [
                .conditional, .conditional, .unconditional, .conditional, .unconditional, .conditional,
            ])
    }

    @Test(arguments: kinds)
    func aRunResumedFromAFileAfterAnyStepGivesTheSameBits(kind: SchedulerConfiguration.Kind) throws {
        let model = PseudoModel()
        let guidance = try Guidance(scale: 4)
        var whole = try model.generation(kind, guidance: guidance)
        while !whole.isFinished { _ = try whole.advance() }
        let path = NSTemporaryDirectory() + "vdit-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        for stop in 0...7 {
            var first = try model.generation(kind, guidance: guidance)
            for _ in 0..<stop { _ = try first.advance() }
            try first.checkpoint(identity: ["steps": "7"]).write(to: path)
            var second = try model.generation(kind, guidance: guidance)
            try second.restore(Checkpoint(path: path))
            #expect(second.completed == stop)
            while !second.isFinished { _ = try second.advance() }
            #expect(second.latents.floats() == whole.latents.floats(), "stopped after \(stop)")
        }
    }

    @Test func aStepThatIsStoppedLeavesTheRunAsItWas() throws {
        let model = PseudoModel()
        let guidance = try Guidance(scale: 4)
        var whole = try model.generation(.unipc, guidance: guidance)
        while !whole.isFinished { _ = try whole.advance() }
        var stopped = try model.generation(.unipc, guidance: guidance)
        for _ in 0..<3 { _ = try stopped.advance() }
        let reason = PipelineError.cancelled(step: 3, steps: 7, checkpoint: nil)
        #expect(throws: reason) { _ = try stopped.advance { throw reason } }
        #expect(stopped.completed == 3)
        while !stopped.isFinished { _ = try stopped.advance() }
        #expect(stopped.latents.floats() == whole.latents.floats())
    }

    @Test func copiesOfASchedulerAreIndependentRuns() throws {
        let configuration = SchedulerConfiguration(.unipc, flowShift: 5)
        var one = try configuration.scheduler(steps: 4)
        let start = Tensor([1, -2, 0.5])
        let first = one.advance(start, prediction: Tensor([0.1, 0.2, 0.3]), at: one.steps[0])
        var two = one
        let a = one.advance(first, prediction: Tensor([1, 1, 1]), at: one.steps[1]).floats()
        let b = two.advance(first, prediction: Tensor([1, 1, 1]), at: two.steps[1]).floats()
        #expect(a == b)
    }

    @Test(arguments: kinds)
    func aFinishedScheduleEndsAtSigmaZeroAndOnlyFalls(kind: SchedulerConfiguration.Kind) throws {
        for steps in [1, 2, 3, 25, 1000] {
            let loop = try SchedulerConfiguration(kind, flowShift: 5).scheduler(steps: steps).steps
            #expect(loop.count == steps && loop[steps - 1].nextSigma == 0)
            for step in loop { #expect(step.nextSigma < step.sigma && step.sigma <= 1) }
        }
    }
}

/// What a run promises with a real transformer.
struct GenerationModelTests {
    static func tiny(_ threads: Int, weights: (WeightStore) -> any WeightSource = { $0 }) throws
        -> (CrossTransformer, ComputeContext)
    {
        let folder = Golden.path("wan-transformer/t2v-2heads-dim64")
        let config = try WanTransformerConfig(ConfigFile(path: folder + "/config.json"))
        let compute = ComputeContext(
            pool: WorkPool(threads: threads), instructionSet: try .chosen(), precision: .bf16)
        let source = weights(try WeightStore(folder))
        return (try CrossTransformer(config: config, weights: source, compute: compute), compute)
    }

    static func generation(_ model: CrossTransformer, method: String = "dense") throws -> Generation {
        var random = TorchRandom(seed: 9)
        let layout = try model.config.tokenLayout(
            LatentShape(channels: 16, frames: 4, height: 16, width: 16), textTokens: 0)
        return try Generation(
            experts: [
                Expert(
                    model: model, guidance: try Guidance(scale: 4),
                    attention: try AttentionContext(
                        MethodChoice(method).configured(), layout: layout, fallback: .dense))
            ],
            scheduler: SchedulerConfiguration(.unipc, flowShift: 3).scheduler(steps: 4),
            noise: random.normal([16, 4, 16, 16]),
            conditional: Conditioning(prompt: random.normal([8, 48])),
            unconditional: Conditioning(prompt: Tensor(.f32, [8, 48])))
    }

    static func latents(_ generation: consuming Generation) throws -> [Float] {
        var generation = generation
        while !generation.isFinished { _ = try generation.advance() }
        return generation.latents.floats()
    }

    @Test func threadsDoNotChangeTheLatents() throws {
        let one = try Self.latents(Self.generation(Self.tiny(1).0))
        let two = try Self.latents(Self.generation(Self.tiny(2).0))
        #expect(one == two)
    }

    @Test func aSecondVideoOfOneProcessEqualsTheFirst() throws {
        let (model, _) = try Self.tiny(2)
        let first = try Self.latents(Self.generation(model))
        #expect(try Self.latents(Self.generation(model)) == first)
    }

    @Test(arguments: MethodCatalogue.methods.filter { $0.trained == nil }.map(\.name))
    func everyMethodResumesBitForBit(method: String) throws {
        let (model, _) = try Self.tiny(2)
        let whole = try Self.latents(Self.generation(model, method: method))
        var first = try Self.generation(model, method: method)
        for _ in 0..<2 { _ = try first.advance() }
        let path = NSTemporaryDirectory() + "vdit-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try first.checkpoint(identity: [:]).write(to: path)
        var second = try Self.generation(model, method: method)
        try second.restore(Checkpoint(path: path))
        #expect(try Self.latents(second) == whole)
    }

    @Test func aStepThatIsGivenUpIsNotCounted() throws {
        let (model, _) = try Self.tiny(2)
        var generation = try Self.generation(model, method: "rettention")
        _ = try generation.advance()
        let before = generation.checkpoint(identity: [:]).statistics
        #expect(before.count == 1 && before[0].rows.count == model.config.layers)
        var layers = 0
        #expect(throws: PipelineError.self) {
            _ = try generation.advance {
                layers += 1
                if layers == 3 { throw PipelineError.cancelled(step: 1, steps: 4, checkpoint: nil) }
            }
        }
        #expect(generation.checkpoint(identity: [:]).statistics == before)
    }

    /// A weight source with one NaN in one tensor.
    struct Poisoned: WeightSource {
        let store: WeightStore
        let name: String
        func contains(_ name: String) -> Bool { store.info(name) != nil }
        func tensor(_ name: String) throws(TensorError) -> Tensor {
            let tensor = try store.tensor(name)
            guard name == self.name else { return tensor }
            let poisoned = tensor.converted(to: .f32)
            poisoned.withMutableFloats { $0[0] = .nan }
            return poisoned
        }
        func release(_ name: String) {}
    }

    @Test func nanNamesTheStepAndTheLayerWhereItBegan() throws {
        let (model, _) = try Self.tiny(2) {
            Poisoned(store: $0, name: "blocks.1.ffn.net.2.bias")
        }
        var generation = try Self.generation(model)
        var error: PipelineError?
        do { _ = try generation.advance() } catch let thrown as PipelineError { error = thrown }
        guard case .notFinite(_, 0, 4, 1) = error else {
            Issue.record("found \(String(describing: error))")
            return
        }
        #expect(error?.description.contains("step 1 of 4") == true)
    }
}
