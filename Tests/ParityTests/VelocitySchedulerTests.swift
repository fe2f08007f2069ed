import Foundation
import TestSupport
import Testing
import VDiT

/// CogVideoX's samplers: levels, timesteps and trajectories of diffusers 0.42.1.
struct VelocitySchedulerTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let file: String
        let name: String
        let steps: Int
        let shift: Double
        /// Of the reference's draws.
        var seed: UInt64 = 21
        var testDescription: String { name }

        static let all = [
            Case(file: "cogvideox-ddim", name: "ddim_snrshift3_steps50", steps: 50, shift: 3),
            Case(file: "cogvideox-ddim", name: "ddim_snrshift1_steps10", steps: 10, shift: 1),
            Case(file: "cogvideox-ddim", name: "ddim_snrshift3_steps7", steps: 7, shift: 3),
            Case(file: "cogvideox-dpm", name: "dpm_snrshift1_steps50", steps: 50, shift: 1),
            Case(file: "cogvideox-dpm", name: "dpm_snrshift1_steps8", steps: 8, shift: 1, seed: 22),
        ]

        var golden: SafetensorsReader {
            get throws { try SafetensorsReader(Golden.path("schedulers/\(file).safetensors")) }
        }

        func scheduler(_ shape: [Int]) throws -> any Scheduler {
            // The reference draws twice at all steps but the ends, and uses the second.
            var random = TorchRandom(seed: seed)
            let draws = (0..<steps).map { step in
                if step > 0, step < steps - 1 { _ = random.normal(shape) }
                return random.normal(shape)
            }
            let kind: SchedulerConfiguration.Kind = file == "cogvideox-ddim" ? .ddim : .dpmpp2mSDE
            return try SchedulerConfiguration(kind, flowShift: shift).scheduler(steps: steps, noise: .given(draws))
        }
    }

    @Test(arguments: Case.all)
    func trajectoryIsTheReferences(_ entry: Case) throws {
        let golden = try entry.golden
        let trajectory = try golden.tensor("\(entry.name).trajectory")
        var latents = trajectory[0].copy()
        var scheduler = try entry.scheduler(latents.shape)
        #expect(scheduler.steps.map(\.timestep) == Golden.numbers(try golden.tensor("\(entry.name).timesteps")))
        for step in scheduler.steps {
            let prediction = Tensor(
                latents.floats().map { 0.3 * $0 + 0.1 * sin(step.timestep / 1000 + $0) }, shape: latents.shape)
            latents = scheduler.advance(latents, prediction: prediction, at: step)
            let error = Golden.difference(latents, trajectory[step.index + 1].copy())
            #expect(error.maximum <= 2e-5, "step \(step.index)")
        }
    }

    @Test(arguments: [Case.all[0], Case.all[3]])
    func levelsAreTheReferences(_ entry: Case) throws {
        let signal = try entry.golden.tensor("\(entry.name).alphas_cumprod_f64")
        let values = signal.withBytes { bytes in
            (0..<1000).map { bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Double.self) }
        }
        for step in try entry.scheduler([1]).steps {
            #expect(abs(step.sigma * step.sigma - (1 - values[Int(step.timestep)])) < 1e-12)
        }
    }

    /// A configuration that would sample otherwise is refused by its key.
    @Test func configurationsAreRead() throws {
        let text = """
            {"_class_name": "CogVideoXDPMScheduler", "beta_schedule": "scaled_linear", "timestep_spacing": "trailing",
             "prediction_type": "v_prediction", "rescale_betas_zero_snr": true, "snr_shift_scale": 1.5}
            """
        let read = try SchedulerConfiguration(ConfigFile(temporary: Data(text.utf8)))
        #expect(read.kind == .dpmpp2mSDE && read.flowShift == 1.5)
        for (from, to, key) in [
            ("v_prediction", "epsilon", "prediction_type"), ("trailing", "leading", "timestep_spacing"),
            ("true", "false", "rescale_betas_zero_snr"), ("scaled_linear", "linear", "beta_schedule"),
            ("1.5", "0", "snr_shift_scale"),
        ] {
            let changed = text.replacingOccurrences(of: from, with: to)
            let error = try #require(throws: (any Error).self) {
                try SchedulerConfiguration(ConfigFile(temporary: Data(changed.utf8)))
            }
            #expect("\(error)".contains(key), "\(error)")
        }
    }

    /// A run that goes on after any step meets the noise it would have met, and ends in the same bits.
    @Test(arguments: [SchedulerConfiguration.Kind.ddim, .dpmpp2mSDE])
    func aRestoredRunIsTheSame(_ kind: SchedulerConfiguration.Kind) throws {
        let configuration = SchedulerConfiguration(kind, flowShift: 1)
        func scheduler() throws -> any Scheduler {
            try configuration.scheduler(steps: 6, noise: .seed(3, .framesFirst))
        }
        func next(_ scheduler: inout any Scheduler, _ latents: Tensor, _ step: Step) -> Tensor {
            let prediction = Tensor(latents.floats().map { 0.3 * $0 + 0.01 }, shape: latents.shape)
            return scheduler.advance(latents, prediction: prediction, at: step)
        }
        var random = TorchRandom(seed: 1)
        var (whole, latents) = (try scheduler(), random.normal([2, 3, 2, 2]))
        var states: [(SchedulerHistory, Tensor)] = []
        for step in whole.steps {
            states.append((whole.history, latents))
            latents = next(&whole, latents, step)
        }
        for (index, (history, start)) in states.enumerated() {
            var (again, state) = (try scheduler(), start)
            try again.restore(history, like: state)
            for step in again.steps.dropFirst(index) { state = next(&again, state, step) }
            #expect(state.floats() == latents.floats(), "after step \(index)")
        }
    }
}
