import Foundation
import TestSupport
import Testing
import VDiT

/// Few-step samplers of Tests/Golden/few-step: lists and trajectories of the projects that published the models.
struct FewStepParity {
    static let golden = Result {
        try SafetensorsReader(Golden.path("few-step/samplers.safetensors"))
    }

    /// Golden case, and the name or the list that must give it.
    struct Case: CustomTestStringConvertible {
        let name: String
        var rule: SchedulerConfiguration.Kind = .euler
        var preset: String?
        var steps: [Double]?
        var sigmas: [Double]?
        var shift = 1.0
        var count = 4
        var testDescription: String { preset.map { "\(name): \($0)" } ?? name }

        func scheduler(_ noise: StepNoise) throws -> any Scheduler {
            var configuration = SchedulerConfiguration(rule, flowShift: shift)
            var length = count
            if let preset {
                let row = try FewStep(named: preset)
                configuration = SchedulerConfiguration(row.rule, flowShift: shift)
                configuration.list = try row.list()
                length = row.steps
            } else if let steps {
                configuration.list = try StepList(trainingSteps: steps, shift: shift)
            } else if let sigmas {
                configuration.list = try StepList(sigmas: sigmas)
            }
            return try configuration.scheduler(
                steps: configuration.list?.sigmas.count ?? length, noise: noise)
        }
    }

    static let cases = [
        Case(name: "lightx2v_shift5_4steps", preset: "lightx2v-4"),
        Case(name: "lightx2v_shift5_2steps", preset: "lightx2v-2"),
        Case(name: "lightx2v_shift3_6steps", steps: [1000, 900, 700, 500, 300, 100], shift: 3),
        Case(name: "lightning_t2v_shift5_4steps", preset: "lightning-4"),
        Case(name: "lightning_i2v_shift5_4steps", preset: "lightning-4"),
        Case(name: "fastwan_3steps", preset: "fastwan-3"),
        Case(name: "causvid_bidirectional_3steps", preset: "fastwan-3"),
        Case(name: "selfforcing_warp_4steps", preset: "selfforcing-4"),
        Case(name: "rcm_1steps", preset: "rcm-1"),
        Case(name: "rcm_2steps", preset: "rcm-2"),
        Case(name: "rcm_4steps", preset: "rcm-4"),
        Case(name: "ltx_098_first_pass", preset: "ltx-0.9.8"),
        Case(name: "ltx_098_second_pass", sigmas: [0.9094, 0.725, 0.4219]),
        Case(name: "ltx_096_8steps_stochastic", preset: "ltx-0.9.6"),
        Case(name: "diffusers_ltx_097_distilled", preset: "ltx-0.9.7"),
        Case(name: "lcm_shift1_4steps", preset: "lcm"),
        Case(name: "lcm_shift5_4steps_given_sigmas", rule: .renoise, steps: [1000, 750, 500, 250], shift: 5),
    ]

    @Test func everyGoldenCaseIsRun() throws {
        let stored = Set(try Self.golden.get().names.filter { $0.hasSuffix(".trajectory") })
        #expect(stored == Set(Self.cases.map { $0.name + ".trajectory" }))
    }

    /// The stored draws, without the one that references multiply by 0.
    static func noise(_ entry: Case, steps: Int) throws -> StepNoise {
        let golden = try golden.get()
        guard golden.info("\(entry.name).noise") != nil else { return .given([]) }
        let draws = try golden.tensor("\(entry.name).noise")
        return .given((0..<min(draws.shape[0], steps - 1)).map { draws[$0][0].copy() })
    }

    @Test(arguments: cases)
    func timesAndLevelsAreTheReferences(entry: Case) throws {
        let golden = try Self.golden.get()
        let sigmas = try golden.tensor("\(entry.name).sigmas").converted(to: .f64)
        let timesteps = Golden.numbers(try golden.tensor("\(entry.name).timesteps"))
        let steps = try entry.scheduler(.given([])).steps
        #expect(steps.map(\.count) == Array(repeating: timesteps.count, count: timesteps.count))
        let bound = entry.name.hasPrefix("rcm") ? 1e-12 : 1e-7
        let expected = sigmas.withBytes { Array($0.bindMemory(to: Double.self)) }
        let levels = steps.map(\.sigma) + [steps[steps.count - 1].nextSigma]
        for (ours, theirs) in zip(levels, expected) { #expect(abs(ours - theirs) <= bound) }
        for (step, time) in zip(steps, timesteps) {
            let isWhole = entry.preset == "fastwan-3"
            #expect(abs(step.timestep - time) <= (isWhole ? 0 : 2e-4), "step \(step.index)")
        }
    }

    @Test(arguments: cases)
    func trajectoryIsTheReferences(entry: Case) throws {
        let golden = try Self.golden.get()
        let trajectory = try golden.tensor("\(entry.name).trajectory")
        var scheduler = try entry.scheduler(
            Self.noise(entry, steps: trajectory.shape[0] - 1))
        // The second pass starts from a mixture with the upsampled first one.
        let isSecond = entry.name.hasSuffix("second_pass")
        let start = isSecond ? trajectory[0][0] : try golden.tensor("start")[0]
        var latents = scheduler.start(start.copy())
        #expect(Golden.difference(latents, trajectory[0][0].converted(to: .f32)).maximum <= 1e-6)
        for step in scheduler.steps {
            let (a, b): (Float, Float) =
                entry.name.hasPrefix("lightning") && step.timestep < 875 ? (0.2, -0.15) : (0.3, 0.1)
            let prediction = Tensor(
                latents.floats().map { a * $0 + b * sin(step.timestep / 1000 + $0) }, shape: latents.shape)
            latents = scheduler.advance(latents, prediction: prediction, at: step)
            let error = Golden.difference(latents, trajectory[step.index + 1][0].converted(to: .f32))
            #expect(error.maximum <= 1e-5, "step \(step.index)")
        }
    }

    @Test(arguments: ["lightx2v-4", "fastwan-3"])
    func theTinyTransformerTakesTheReferencesSteps(preset: String) throws {
        let row = try FewStep(named: preset)
        let name = "wan-tiny-\(preset)steps"
        let golden = try SafetensorsReader(Golden.path("few-step/\(name)/io.safetensors"))
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let model = try WanTransformerTests.model("t2v-2heads-dim64", compute)
        let noise = try golden.tensor("initial_noise")[0].copy()
        var configuration = SchedulerConfiguration(row.rule, flowShift: 1)
        configuration.list = try row.list()
        let draws = golden.info("renoise") == nil
            ? [] : try (0..<row.steps - 1).map { try golden.tensor("renoise")[$0].copy() }
        let layout = try model.config.tokenLayout(LatentShape(noise.shape), textTokens: 0)
        let prompt = Conditioning(prompt: try golden.tensor("prompt_embeds")[0])
        var generation = try Generation(
            experts: [
                Expert(
                    model: model, guidance: try Guidance(scale: 1),
                    attention: try AttentionContext(MethodChoice.dense.configured(), layout: layout))
            ],
            scheduler: configuration.scheduler(steps: row.steps, noise: .given(draws)), noise: noise,
            conditional: prompt, unconditional: prompt)
        while !generation.isFinished {
            let result = try generation.advance()
            #expect(result.unconditional == nil)
            for (found, name) in [(result.conditional, "velocity.step"), (result.latents, "latents_after_step")] {
                let error = Golden.difference(found, try golden.tensor("\(name)\(result.step.index)")[0])
                #expect(error.relative < 2e-5 && error.maximum < 2e-4, "\(name)\(result.step.index): \(error)")
            }
        }
    }
}
