import TestSupport
import Testing
import VDiT

/// Few-step lists and the noise between their steps.
struct FewStepInvariants {
    @Test func everyNamePassesTheChecksOfAList() throws {
        #expect(Set(FewStep.table.map(\.name)).count == FewStep.table.count)
        for row in FewStep.table {
            #expect(row.rule.takesList && !row.summary.isEmpty)
            guard let list = try row.list() else { continue }
            let again = try StepList(
                timesteps: list.timesteps.map { Double($0) }, sigmas: list.sigmas)
            #expect(again == list && list.sigmas.count == row.steps, "\(row.name)")
        }
    }

    @Test func aShiftReplacesTheUsualOneWhereThereIsOne() throws {
        let usual = try #require(try FewStep(named: "lightx2v-4").list())
        #expect(try FewStep(named: "lightx2v-4").list(shift: 5) == usual)
        let other = try #require(try FewStep(named: "lightx2v-4").list(shift: 3))
        #expect(other == (try StepList(sigmas: [1, 0.9, 0.75, 0.5])))
        #expect(throws: PipelineError.self) { try FewStep(named: "fastwan-3").list(shift: 5) }
    }

    /// Latents of a size, walked down a list with a fixed pseudo-model.
    static func walk(
        _ scheduler: inout any Scheduler, _ latents: Tensor, from first: Int = 0
    ) -> [Tensor] {
        var latents = latents
        return scheduler.steps.dropFirst(first).map { step in
            latents = scheduler.advance(
                latents, prediction: Tensor(latents.floats().map { 0.3 * $0 }, shape: latents.shape), at: step)
            return latents
        }
    }

    static func renoise(seed: UInt64) throws -> any Scheduler {
        var configuration = SchedulerConfiguration(.renoise, flowShift: 1)
        configuration.list = try FewStep(named: "selfforcing-4").list()
        return try configuration.scheduler(steps: 4, noise: .seed(seed))
    }

    @Test(arguments: [[4, 2, 3, 5], [1, 1, 2, 3], [2, 3, 3, 1]])
    func everyDrawIsTheSeedsByNumber(shape: [Int]) throws {
        var random = TorchRandom(seed: 11)
        let draws = (0..<4).map { _ in random.normal(shape) }
        var scheduler = try Self.renoise(seed: 11)
        var other: any Scheduler = Renoise(
            try #require(try FewStep(named: "selfforcing-4").list()),
            noise: .given(Array(draws.dropFirst())))
        let ours = Self.walk(&scheduler, draws[0]).map { $0.floats() }
        #expect(ours == Self.walk(&other, draws[0]).map { $0.floats() })
    }

    @Test(arguments: [[4, 2, 3, 5], [1, 1, 2, 3]])
    func aRunContinuedAfterAnyStepMeetsTheSameNoise(shape: [Int]) throws {
        var random = TorchRandom(seed: 3)
        var whole = try Self.renoise(seed: 3)
        let noise = random.normal(shape)
        let states = Self.walk(&whole, noise)
        for done in 1..<4 {
            var continued = try Self.renoise(seed: 3)
            try continued.restore(whole.history, like: noise)
            let rest = Self.walk(&continued, states[done - 1], from: done)
            #expect(rest.map { $0.floats() } == states[done...].map { $0.floats() })
        }
        // A step that is taken again, as after one that was given up, meets its own noise.
        let last = Self.walk(&whole, states[0], from: 1)
        #expect(last.map { $0.floats() } == states[1...].map { $0.floats() })
    }
}
