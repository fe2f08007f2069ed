import VditFiles
import VditModels
import VditTensor

/// What a `scheduler_config.json` decides, for any of the schedulers.
public struct SchedulerConfiguration: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable, Codable {
        case unipc
        case euler
        case dpmpp2m = "dpmpp-2m"
        case renoise
        case ddim
        case dpmpp2mSDE = "dpmpp-2m-sde"

        /// The diffusers class that a configuration file names.
        var className: String {
            switch self {
            case .unipc: "UniPCMultistepScheduler"
            case .euler: "FlowMatchEulerDiscreteScheduler"
            case .dpmpp2m: "DPMSolverMultistepScheduler"
            case .renoise: "FlowMatchLCMScheduler"
            case .ddim: "CogVideoXDDIMScheduler"
            case .dpmpp2mSDE: "CogVideoXDPMScheduler"
            }
        }

        /// What a model must predict to be sampled by it.
        public var prediction: ModelSpecification.Prediction {
            self == .ddim || self == .dpmpp2mSDE ? .velocity : .flow
        }

        /// Whether it can follow a list of noise levels: multistep solvers weigh steps by a spacing of their own.
        public var takesList: Bool { self == .euler || self == .renoise }

        /// Whether the result depends on a seed even where the noise to start from is given.
        public var drawsNoise: Bool { self == .renoise || self == .dpmpp2mSDE }

        /// - Throws: `PipelineError.invalid` (64) with the nearest name.
        public init(named name: String) throws(PipelineError) {
            guard let kind = Kind(rawValue: name) else {
                throw .invalid(
                    "scheduler", found: name,
                    expected: expectedNames(Kind.allCases.map(\.rawValue), insteadOf: name),
                    kind: .usage)
            }
            self = kind
        }
    }

    public enum SolverType: String, Sendable { case bh1, bh2, midpoint, heun }

    public var kind: Kind
    /// Static shift of the noise levels, above 0; 1 is none. What divides the signal-to-noise ratio of a diffusion.
    public var flowShift: Double
    public var trainTimesteps = 1000
    public var solverOrder = 2
    public var solverType: SolverType
    public var lowerOrderFinal = true
    /// Steps after which UniPC does not correct.
    public var disableCorrector: [Int] = []
    public var spacing: UniPCMultistep.Spacing = .current
    public var shiftTerminal: Double?
    public var dynamicShift: DynamicShift?
    public var invertSigmas = false
    /// The steps, where they are not spaced by the scheduler.
    public var list: StepList?
    /// Of a diffusion.
    var levels = DiffusionLevels()

    public init(_ kind: Kind, flowShift: Double) {
        self.kind = kind
        self.flowShift = flowShift
        solverType = kind == .dpmpp2m ? .midpoint : .bh2
    }

    /// The same noise for another scheduler: shift and training length stay, the rest is that scheduler's default.
    public func switched(to kind: Kind) -> SchedulerConfiguration {
        if kind == self.kind { return self }
        var other = SchedulerConfiguration(kind, flowShift: flowShift)
        other.trainTimesteps = trainTimesteps
        other.levels = levels
        return other
    }

    /// The scheduler for a run.
    ///
    /// - Parameters:
    ///   - steps: length of the loop.
    ///   - tokens: video tokens, which a dynamic shift depends on.
    ///   - start: the unshifted noise levels of `FlowMatchEuler`, which the model family decides.
    ///   - noise: what some schedulers add from step to step; of no account to a loop that is only planned.
    /// - Throws: `PipelineError.setting` for steps or shifts out of range, and for a list that the scheduler
    ///   cannot follow or that has another length.
    public func scheduler(
        steps: Int, tokens: Int = 0, start: NoiseSpacing = .interpolated,
        noise: StepNoise = .seed(0)
    ) throws(PipelineError) -> any Scheduler {
        guard (1...trainTimesteps).contains(steps) else {
            throw .setting("steps", found: "\(steps)", expected: "1 to \(trainTimesteps)")
        }
        try Self.check(flowShift: flowShift)
        if let list {
            guard kind.takesList else {
                throw .setting(
                    "scheduler", found: "\(kind.rawValue) with a list of steps", expected: "euler or renoise")
            }
            guard steps == list.sigmas.count else {
                throw .setting(
                    "steps", found: "\(steps)", expected: "\(list.sigmas.count), as many as are listed")
            }
            return kind == .euler ? FlowMatchEuler(list) : Renoise(list, noise: noise)
        }
        switch kind {
        case .unipc: return UniPCMultistep(self, steps: steps)
        case .euler: return FlowMatchEuler(self, steps: steps, start: start, tokens: tokens)
        case .dpmpp2m: return DPMSolverMultistep(self, steps: steps)
        case .renoise:
            let spaced = FlowMatchEuler(self, steps: steps, start: start, tokens: tokens)
            return Renoise(StepList(spaced.steps), noise: noise)
        case .ddim: return DDIM(self, steps: steps)
        case .dpmpp2mSDE: return StochasticDPM(self, steps: steps, noise: noise)
        }
    }

    static let flowShifts = 0.001...1000

    /// - Throws: `PipelineError.setting`.
    static func check(flowShift: Double) throws(PipelineError) {
        guard flowShifts.contains(flowShift) else {
            throw .setting("flow_shift", found: "\(flowShift)", expected: "a number from 0.001 to 1000")
        }
    }
}

extension SchedulerConfiguration {
    /// Reads diffusers' `scheduler_config.json`; keys that do not matter to a flow are ignored.
    ///
    /// - Throws: `FileError.malformed` (65) for a wrong type or range, `PipelineError.unsupported` (69)
    ///   for a setting that would change the result and that we do not have; both name file and key.
    public init(_ file: ConfigFile) throws {
        guard let className = try file.stringIfPresent("_class_name") else {
            throw FileError.malformed(
                path: file.path, field: "_class_name", found: "nothing",
                expected: expectedNames(Kind.allCases.map(\.className), insteadOf: ""))
        }
        guard let kind = Kind.allCases.first(where: { $0.className == className }) else {
            throw PipelineError.unsupported(
                "\(file.path): _class_name", found: className,
                expected: expectedNames(Kind.allCases.map(\.className), insteadOf: className))
        }
        if kind.prediction == .velocity {
            self.init(kind, flowShift: try file.numberIfPresent("snr_shift_scale", 1e-6...1000) ?? 3)
            trainTimesteps = try file.integerIfPresent("num_train_timesteps", 2...1_000_000) ?? 1000
            levels = try DiffusionLevels(file)
            return
        }
        try Self.refuseUnsupported(file, kind)
        let shiftKey = kind.takesList ? "shift" : "flow_shift"
        self.init(kind, flowShift: try file.numberIfPresent(shiftKey, 1e-6...1000) ?? 1)
        trainTimesteps = try file.integerIfPresent("num_train_timesteps", 1...1_000_000) ?? 1000
        shiftTerminal = try file.numberIfPresent("shift_terminal", 0...0.999)
        if shiftTerminal == 0 { shiftTerminal = nil }
        if kind.takesList {
            invertSigmas = try file.boolIfPresent("invert_sigmas") ?? false
            if try file.boolIfPresent("use_dynamic_shifting") == true {
                dynamicShift = try DynamicShift(file)
            }
            return
        }
        solverOrder = try file.integerIfPresent("solver_order", 1...3) ?? 2
        lowerOrderFinal = try file.boolIfPresent("lower_order_final") ?? true
        disableCorrector = try (file.numbersIfPresent("disable_corrector") ?? [])
            .compactMap { Int(exactly: $0) }
        let types: [SolverType] = kind == .unipc ? [.bh1, .bh2] : [.midpoint, .heun]
        if let name = try file.stringIfPresent("solver_type") {
            guard let type = types.first(where: { $0.rawValue == name }) else {
                throw PipelineError.unsupported(
                    "\(file.path): solver_type", found: name,
                    expected: expectedNames(types.map(\.rawValue), insteadOf: name))
            }
            solverType = type
        }
    }

    private static func refuseUnsupported(_ file: ConfigFile, _ kind: Kind) throws {
        var switches = [
            "thresholding", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas",
            "use_lu_lambdas", "stochastic_sampling",
        ]
        if !kind.takesList { switches.append("use_dynamic_shifting") }
        if kind == .renoise { switches.append("invert_sigmas") }
        for key in switches where try file.boolIfPresent(key) == true {
            throw PipelineError.unsupported("\(file.path): \(key)", found: "true", expected: "false")
        }
        for (key, found) in [("solver_p", "another solver"), ("scale_factors", "latents that grow")]
        where file.keys.contains(key) {
            throw PipelineError.unsupported("\(file.path): \(key)", found: found, expected: "null")
        }
        if kind.takesList { return }
        // Diffusers' own defaults, when the key is absent, are those of another kind of model.
        for (key, absent, expected) in [
            ("prediction_type", "epsilon", "flow_prediction"), ("final_sigmas_type", "zero", "zero"),
            ("algorithm_type", "dpmsolver++", "dpmsolver++"),
        ] {
            let found = try file.stringIfPresent(key) ?? absent
            if found != expected {
                throw PipelineError.unsupported(
                    "\(file.path): \(key)", found: found, expected: expected)
            }
        }
        for (key, absent) in [("use_flow_sigmas", false), ("predict_x0", true)]
        where try file.boolIfPresent(key) ?? absent == false {
            throw PipelineError.unsupported("\(file.path): \(key)", found: "false", expected: "true")
        }
    }
}
