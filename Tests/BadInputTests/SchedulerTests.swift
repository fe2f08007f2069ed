import Foundation
import TestSupport
import Testing
import VDiT

/// Scheduler settings we cannot honour are named, never ignored.
struct SchedulerBadInput {
    static func read(_ json: String) throws -> SchedulerConfiguration {
        let path = NSTemporaryDirectory() + "vdit-\(UUID().uuidString).json"
        try Data(json.utf8).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try SchedulerConfiguration(ConfigFile(path: path))
    }

    static func unipc(_ extra: String) -> String {
        """
        {"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction",
         "use_flow_sigmas": true, "flow_shift": 3.0, "some_future_key": [1, {"a": null}]\(extra)}
        """
    }

    @Test func unknownKeysAreTolerated() throws {
        #expect(try Self.read(Self.unipc("")).flowShift == 3)
    }

    /// Of a UniPC scheduler made from a DPM-Solver one, as diffusers saves it: keys that are not its own stay.
    static let saved = """
        {
          "_class_name": "UniPCMultistepScheduler",
          "_diffusers_version": "0.33.0.dev0",
          "algorithm_type": "dpmsolver++",
          "beta_end": 0.02,
          "beta_schedule": "linear",
          "beta_start": 0.0001,
          "disable_corrector": [],
          "dynamic_thresholding_ratio": 0.995,
          "euler_at_final": false,
          "final_sigmas_type": "zero",
          "flow_shift": 3.0,
          "lambda_min_clipped": -Infinity,
          "lower_order_final": true,
          "num_train_timesteps": 1000,
          "predict_x0": true,
          "prediction_type": "flow_prediction",
          "rescale_betas_zero_snr": false,
          "sample_max_value": 1.0,
          "solver_order": 2,
          "solver_p": null,
          "solver_type": "bh2",
          "steps_offset": 0,
          "thresholding": false,
          "timestep_spacing": "linspace",
          "trained_betas": null,
          "use_beta_sigmas": false,
          "use_exponential_sigmas": false,
          "use_flow_sigmas": true,
          "use_karras_sigmas": false,
          "variance_type": null
        }
        """

    @Test func aBareInfinityIsToleratedWhereItDoesNotMatterAndNamedWhereItDoes() throws {
        #expect(try Self.read(Self.saved) == Self.read(Self.unipc("")))
        for (key, value) in [("flow_shift", "3.0"), ("solver_order", "2"), ("num_train_timesteps", "1000")] {
            let wrong = Self.saved.replacingOccurrences(of: "\"\(key)\": \(value)", with: "\"\(key)\": -Infinity")
            let error = try #require(throws: FileError.self) { try Self.read(wrong) }
            #expect(error.kind == .badData && error.description.contains("\(key): found -Infinity"))
        }
    }

    @Test(arguments: [
        ("thresholding", "true"), ("use_karras_sigmas", "true"), ("use_exponential_sigmas", "true"),
        ("use_beta_sigmas", "true"), ("use_dynamic_shifting", "true"), ("predict_x0", "false"),
        ("final_sigmas_type", "\"sigma_min\""), ("solver_type", "\"bh3\""), ("solver_p", "{}"),
    ])
    func unsupportedSettingsAreNamed(key: String, value: String) throws {
        let error = try #require(throws: PipelineError.self) {
            try Self.read(Self.unipc(", \"\(key)\": \(value)"))
        }
        #expect(error.kind == .unsupported)
        #expect(error.description.contains(key) && !error.description.contains("\n"))
    }

    @Test(arguments: [
        ("flow_shift", "0"), ("flow_shift", "\"3\""), ("flow_shift", "-1"), ("solver_order", "4"),
        ("solver_order", "1.5"), ("lower_order_final", "1"), ("num_train_timesteps", "0"),
        ("num_train_timesteps", "1e300"), ("disable_corrector", "true"),
    ])
    func wrongTypesAndRangesAreNamed(key: String, value: String) throws {
        let json = """
            {"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction",
             "use_flow_sigmas": true, "\(key)": \(value)}
            """
        let error = try #require(throws: FileError.self) { try Self.read(json) }
        #expect(error.kind == .badData && error.description.contains(key))
    }

    @Test func modelsThatAreNoFlowAreRefused() throws {
        let error = try #require(throws: PipelineError.self) {
            try Self.read(#"{"_class_name": "UniPCMultistepScheduler", "prediction_type": "epsilon"}"#)
        }
        #expect(error.kind == .unsupported && error.description.contains("prediction_type"))
    }

    @Test func aMisspeltNameGetsTheNearestOne() throws {
        let named = try #require(throws: PipelineError.self) {
            try SchedulerConfiguration.Kind(named: "unipcc")
        }
        #expect(named.kind == .usage && named.description.contains("did you mean unipc?"))
        let inFile = try #require(throws: PipelineError.self) {
            try Self.read(#"{"_class_name": "UniPCMultistepSchedular"}"#)
        }
        #expect(inFile.description.contains("did you mean UniPCMultistepScheduler?"))
        #expect(throws: FileError.self) { try Self.read("{}") }
        #expect(throws: FileError.self) { try Self.read("[1]") }
    }

    @Test(arguments: [0, -1, 1001, 1_000_000, Int.max, Int.min])
    func stepsOutOfRangeAreUsageErrors(steps: Int) throws {
        let error = try #require(throws: PipelineError.self) {
            try SchedulerConfiguration(.unipc, flowShift: 3).scheduler(steps: steps)
        }
        #expect(error.kind == .usage)
    }

    @Test(arguments: [0, -3, Double.nan, .infinity, 1e9])
    func shiftsOutOfRangeAreUsageErrors(shift: Double) throws {
        for kind in SchedulerConfiguration.Kind.allCases {
            let error = try #require(throws: PipelineError.self) {
                try SchedulerConfiguration(kind, flowShift: shift).scheduler(steps: 5)
            }
            #expect(error.kind == .usage)
        }
    }

    @Test func aHistoryOfAnotherRunIsRefused() throws {
        let latents = Tensor(.f32, [1, 1, 2, 2])
        var history = SchedulerHistory()
        history.numbers = ["outputs": 2, "last_order": 1]
        history.tensors = ["output.0": Tensor(.f32, [1, 1, 2, 3])]
        for kind in [SchedulerConfiguration.Kind.unipc, .dpmpp2m] {
            var scheduler = try SchedulerConfiguration(kind, flowShift: 3).scheduler(steps: 5)
            #expect(throws: PipelineError.self) { try scheduler.restore(history, like: latents) }
            history.numbers["outputs"] = Int.max
            #expect(throws: PipelineError.self) { try scheduler.restore(history, like: latents) }
        }
    }
}

/// Lists of steps that no loop can follow.
struct StepListBadInput {
    @Test(arguments: [
        [], [0], [1, 0], [1, 1], [0.5, 0.6], [1.0001], [-1], [.nan], [1, .nan], [.infinity], [1, 0.5, 0.5],
        Array(repeating: 1, count: 1001), (0...1000).map { 1 - Double($0) / 2000 },
    ] as [[Double]])
    func wrongLevelsAreNamed(sigmas: [Double]) throws {
        let error = try #require(throws: PipelineError.self) { try StepList(sigmas: sigmas) }
        #expect(error.kind == .badData && error.description.hasPrefix("sigmas: found"))
        let steps = sigmas.map { 1000 * $0 }
        let other = try #require(throws: PipelineError.self) { try StepList(trainingSteps: steps, shift: 5) }
        #expect(other.kind == .badData && other.description.hasPrefix("step list: found"))
        #expect(throws: PipelineError.self) { try StepList(timesteps: steps, sigmas: sigmas) }
    }

    @Test func listsOfDifferentLengthAreRefused() throws {
        #expect(throws: PipelineError.self) { try StepList(timesteps: [1000, 500], sigmas: [1]) }
    }

    @Test(arguments: [0, -1, 1001, .nan, .infinity])
    func wrongShiftsAreRefused(shift: Double) throws {
        let error = try #require(throws: PipelineError.self) { try StepList(trainingSteps: [1000], shift: shift) }
        #expect(error.kind == .usage)
    }

    @Test(arguments: SchedulerConfiguration.Kind.allCases)
    func onlyTheRulesForListsTakeOneAndOnlyOfTheRightLength(kind: SchedulerConfiguration.Kind) throws {
        var configuration = SchedulerConfiguration(kind, flowShift: 3)
        configuration.list = try StepList(sigmas: [1, 0.5])
        if kind.takesList {
            #expect(try configuration.scheduler(steps: 2).steps.map(\.sigma) == [1, 0.5])
        } else {
            #expect(throws: PipelineError.self) { try configuration.scheduler(steps: 2) }
        }
        #expect(throws: PipelineError.self) { try configuration.scheduler(steps: 3) }
    }

    @Test func anUnknownNameComesWithTheNearest() throws {
        let error = try #require(throws: PipelineError.self) { try FewStep(named: "fastwan3") }
        #expect(error.kind == .usage && error.description.contains("did you mean fastwan-3"))
    }

    @Test func aLatentConsistencySchedulerOfGrowingSizeIsRefused() throws {
        let plain = #"{"_class_name": "FlowMatchLCMScheduler", "shift": 3.0, "scale_factors": null}"#
        #expect(try SchedulerBadInput.read(plain) == SchedulerConfiguration(.renoise, flowShift: 3))
        for extra in [#""scale_factors": [1, 2]"#, #""invert_sigmas": true"#] {
            let error = try #require(throws: PipelineError.self) {
                try SchedulerBadInput.read(#"{"_class_name": "FlowMatchLCMScheduler", \#(extra)}"#)
            }
            #expect(error.kind == .unsupported)
        }
    }
}
