import Foundation
import VditTensor

/// What a `scheduler_config.json` decides, for any of the schedulers.
public struct SchedulerConfiguration: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable, Codable {
        case unipc
        case euler
        case dpmpp2m = "dpmpp-2m"

        /// The diffusers class that a configuration file names.
        var className: String {
            switch self {
            case .unipc: "UniPCMultistepScheduler"
            case .euler: "FlowMatchEulerDiscreteScheduler"
            case .dpmpp2m: "DPMSolverMultistepScheduler"
            }
        }

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
    /// Static shift of the noise levels, above 0; 1 is none.
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

    public init(_ kind: Kind, flowShift: Double) {
        self.kind = kind
        self.flowShift = flowShift
        solverType = kind == .dpmpp2m ? .midpoint : .bh2
    }

    /// The same flow for another scheduler: shift and training length stay, the rest is that scheduler's default.
    public func switched(to kind: Kind) -> SchedulerConfiguration {
        if kind == self.kind { return self }
        var other = SchedulerConfiguration(kind, flowShift: flowShift)
        other.trainTimesteps = trainTimesteps
        return other
    }

    /// The scheduler for a run.
    ///
    /// - Parameters:
    ///   - steps: length of the loop.
    ///   - tokens: video tokens, which a dynamic shift depends on.
    ///   - start: the unshifted noise levels of `FlowMatchEuler`, which the model family decides.
    /// - Throws: `PipelineError.invalid` (64) for steps or shifts out of range.
    public func scheduler(
        steps: Int, tokens: Int = 0, start: FlowMatchEuler.Start = .interpolated
    ) throws(PipelineError) -> any Scheduler {
        guard (1...trainTimesteps).contains(steps) else {
            throw .invalid(
                "steps", found: "\(steps)", expected: "1 to \(trainTimesteps)", kind: .usage)
        }
        guard flowShift.isFinite, flowShift > 0, flowShift <= 1000 else {
            throw .invalid(
                "flow shift", found: "\(flowShift)", expected: "a number above 0, at most 1000",
                kind: .usage)
        }
        return switch kind {
        case .unipc: UniPCMultistep(self, steps: steps)
        case .euler: FlowMatchEuler(self, steps: steps, start: start, tokens: tokens)
        case .dpmpp2m: DPMSolverMultistep(self, steps: steps)
        }
    }
}

extension SchedulerConfiguration {
    /// Reads diffusers' `scheduler_config.json`; keys that do not matter to a flow are ignored.
    ///
    /// - Throws: `PipelineError` naming the field: 65 for a wrong type or range, 69 for a setting that
    ///   would change the result and is not supported.
    public init(json data: Data, path: String) throws(PipelineError) {
        let file = try decodeJSON(File.self, from: data, path: path, dialect: .python)
        guard let kind = Kind.allCases.first(where: { $0.className == file.className }) else {
            throw .unsupported(
                "\(path): _class_name", found: file.className,
                expected: expectedNames(
                    Kind.allCases.map(\.className), insteadOf: file.className))
        }
        try file.refuseUnsupported(kind, path: path)

        func check(_ name: String, _ value: Double?, _ range: ClosedRange<Double>)
            throws(PipelineError)
        {
            guard let value, !range.contains(value) else { return }
            throw .invalid(
                "\(path): \(name)", found: "\(value)",
                expected: "\(range.lowerBound) to \(range.upperBound)", kind: .badData)
        }
        let shift = kind == .euler ? file.shift : file.flowShift
        try check(kind == .euler ? "shift" : "flow_shift", shift, 1e-6...1000)
        try check("num_train_timesteps", file.trainTimesteps.map(Double.init), 1...1_000_000)
        try check("solver_order", file.solverOrder.map(Double.init), 1...3)
        try check("shift_terminal", file.shiftTerminal, 0...0.999)

        self.init(kind, flowShift: shift ?? 1)
        trainTimesteps = file.trainTimesteps ?? 1000
        if kind == .euler {
            shiftTerminal = file.shiftTerminal == 0 ? nil : file.shiftTerminal
            invertSigmas = file.invertSigmas ?? false
            if file.useDynamicShifting == true { dynamicShift = try file.dynamicShift(path: path) }
            return
        }
        solverOrder = file.solverOrder ?? 2
        lowerOrderFinal = file.lowerOrderFinal ?? true
        disableCorrector = file.disableCorrector ?? []
        shiftTerminal = file.shiftTerminal == 0 ? nil : file.shiftTerminal
        let types: [SolverType] = kind == .unipc ? [.bh1, .bh2] : [.midpoint, .heun]
        if let name = file.solverType {
            guard let type = types.first(where: { $0.rawValue == name }) else {
                throw .unsupported(
                    "\(path): solver_type", found: name,
                    expected: expectedNames(types.map(\.rawValue), insteadOf: name))
            }
            solverType = type
        }
    }

    /// Reads the file at `path`.
    public init(path: String) throws {
        self = try SchedulerConfiguration(json: try readSmallFile(path), path: path)
    }

    /// The keys of diffusers that we read.
    private struct File: Decodable {
        var className: String
        var trainTimesteps: Int?
        var flowShift: Double?
        var shift: Double?
        var solverOrder: Int?
        var solverType: String?
        var algorithmType: String?
        var lowerOrderFinal: Bool?
        var disableCorrector: [Int]?
        var predictionType: String?
        var finalSigmasType: String?
        var useFlowSigmas: Bool?
        var predictX0: Bool?
        var shiftTerminal: Double?
        var invertSigmas: Bool?
        var useDynamicShifting: Bool?
        var timeShiftType: String?
        var baseShift: Double?
        var maxShift: Double?
        var baseTokens: Int?
        var maxTokens: Int?
        var thresholding: Bool?
        var useKarrasSigmas: Bool?
        var useExponentialSigmas: Bool?
        var useBetaSigmas: Bool?
        var useLuLambdas: Bool?
        var eulerAtFinal: Bool?
        var stochasticSampling: Bool?
        var solverP: AnyValue?

        enum CodingKeys: String, CodingKey {
            case className = "_class_name"
            case trainTimesteps = "num_train_timesteps"
            case flowShift = "flow_shift"
            case shift
            case solverOrder = "solver_order"
            case solverType = "solver_type"
            case algorithmType = "algorithm_type"
            case lowerOrderFinal = "lower_order_final"
            case disableCorrector = "disable_corrector"
            case predictionType = "prediction_type"
            case finalSigmasType = "final_sigmas_type"
            case useFlowSigmas = "use_flow_sigmas"
            case predictX0 = "predict_x0"
            case shiftTerminal = "shift_terminal"
            case invertSigmas = "invert_sigmas"
            case useDynamicShifting = "use_dynamic_shifting"
            case timeShiftType = "time_shift_type"
            case baseShift = "base_shift"
            case maxShift = "max_shift"
            case baseTokens = "base_image_seq_len"
            case maxTokens = "max_image_seq_len"
            case thresholding
            case useKarrasSigmas = "use_karras_sigmas"
            case useExponentialSigmas = "use_exponential_sigmas"
            case useBetaSigmas = "use_beta_sigmas"
            case useLuLambdas = "use_lu_lambdas"
            case eulerAtFinal = "euler_at_final"
            case stochasticSampling = "stochastic_sampling"
            case solverP = "solver_p"
        }

        func refuseUnsupported(_ kind: Kind, path: String) throws(PipelineError) {
            let switches: [(String, Bool?)] = [
                ("thresholding", thresholding), ("use_karras_sigmas", useKarrasSigmas),
                ("use_exponential_sigmas", useExponentialSigmas),
                ("use_beta_sigmas", useBetaSigmas), ("use_lu_lambdas", useLuLambdas),
                ("stochastic_sampling", stochasticSampling),
                ("solver_p", solverP.map { _ in true }),
                ("use_dynamic_shifting", kind == .euler ? false : useDynamicShifting),
            ]
            for (name, value) in switches where value == true {
                throw .unsupported("\(path): \(name)", found: "this setting", expected: "false")
            }
            if kind == .euler { return }
            let words: [(String, String?, String)] = [
                ("prediction_type", predictionType ?? "epsilon", "flow_prediction"),
                ("final_sigmas_type", finalSigmasType ?? "zero", "zero"),
                ("algorithm_type", algorithmType ?? "dpmsolver++", "dpmsolver++"),
                ("use_flow_sigmas", "\(useFlowSigmas ?? false)", "true"),
                ("predict_x0", "\(predictX0 ?? true)", "true"),
            ]
            for (name, value, expected) in words where value != expected {
                throw .unsupported(
                    "\(path): \(name)", found: value ?? "nothing", expected: expected)
            }
        }

        func dynamicShift(path: String) throws(PipelineError) -> DynamicShift {
            var result = DynamicShift()
            result.baseShift = baseShift ?? result.baseShift
            result.maxShift = maxShift ?? result.maxShift
            result.baseTokens = baseTokens ?? result.baseTokens
            result.maxTokens = maxTokens ?? result.maxTokens
            result.isExponential = (timeShiftType ?? "exponential") == "exponential"
            guard result.maxTokens > result.baseTokens, result.baseTokens >= 0,
                result.maxTokens <= 1 << 40
            else {
                throw .invalid(
                    "\(path): max_image_seq_len", found: "\(result.maxTokens)",
                    expected: "more than base_image_seq_len (\(result.baseTokens))",
                    kind: .badData)
            }
            return result
        }
    }

    /// A value whose content does not matter, only that it is there.
    private struct AnyValue: Decodable {
        init(from decoder: any Decoder) throws {}
    }
}
