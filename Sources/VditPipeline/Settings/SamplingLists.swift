import VditFiles
import VditModels

/// Numbers in an order, `1,0.75,0.5` in writing.
public struct NumberList: WrittenValue, CustomStringConvertible {
    public var values: [Double]

    public init(_ values: [Double]) { self.values = values }

    public init?(written text: String) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false).map {
            Double($0.filter { $0 != " " })
        }
        let numbers = parts.compactMap { $0 }
        guard numbers.count == parts.count else { return nil }
        values = numbers
    }
    public var written: String { values.map { "\($0)" }.joined(separator: ",") }
    public var description: String { written }
    public var recorded: RecordedValue { .numbers(values) }
    public init?(recorded: RecordedValue) {
        guard case .numbers(let values) = recorded else { return nil }
        self.values = values
    }
    public static var kind: SettingKind { .numbers }
}

/// Adapters of one target, `a.safetensors=0.8,b.safetensors` in writing.
public struct AdapterList: WrittenValue {
    public var choices: [AdapterChoice]

    public init(_ choices: [AdapterChoice]) { self.choices = choices }

    /// A comma ends a file only where its name ends: paths may have commas too.
    public init?(written text: String) {
        choices = []
        var open = ""
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            open += (open.isEmpty ? "" : ",") + part
            let choice = AdapterChoice(written: open)
            guard choice.path.hasSuffix(".safetensors") else { continue }
            choices.append(choice)
            open = ""
        }
        if !open.isEmpty { choices.append(AdapterChoice(written: open)) }
    }
    public var written: String { choices.map(\.written).joined(separator: ",") }
    public static var kind: SettingKind { .adapters }
}

extension FewStep: WrittenValue, CustomStringConvertible {
    public init?(written text: String) {
        guard let row = Self.table.first(where: { $0.name == text }) else { return nil }
        self = row
    }
    public var written: String { name }
    public var description: String { name }
    public static var kind: SettingKind { .choice(table.map(\.name)) }
}

extension Decision {
    /// Whether levels were asked for, and not, from a stronger origin, a step list.
    private var usesLevels: Bool {
        guard let levels = request.asked[SettingTable.rows.sigmas.name] else { return false }
        guard let steps = request.asked[SettingTable.rows.stepList.name] else { return true }
        return levels.origin.strength >= steps.origin.strength
    }

    /// Whether a list was asked for.
    var hasList: Bool { request.sigmas != nil || request.stepList != nil }

    /// Steps of the list or the few-step sampling that was asked for.
    var listedSteps: Int? {
        (usesLevels ? request.sigmas : request.stepList)?.values.count ?? values.fewStep?.steps
    }

    /// The explicit loop of a run; nil where the scheduler spaces its steps.
    ///
    /// - Throws: an error whose setting is the list at fault.
    func stepList() throws -> StepList? {
        let (levels, steps) = (SettingTable.rows.sigmas.name, SettingTable.rows.stepList.name)
        if let origin = request.asked[levels]?.origin, origin == request.asked[steps]?.origin {
            throw PipelineError.setting(steps, found: "a list", expected: "none beside \(levels); give one")
        }
        if usesLevels, let sigmas = request.sigmas {
            return try blaming(levels) {
                guard let times = request.timesteps else { return try StepList(sigmas: sigmas.values) }
                return try StepList(timesteps: times.values, sigmas: sigmas.values)
            }
        }
        if let list = request.stepList {
            return try blaming(steps) { try StepList(trainingSteps: list.values, shift: values.flowShift) }
        }
        guard let row = values.fewStep else { return nil }
        return try row.list(shift: row.flowShift == nil ? request.flowShift : values.flowShift)
    }
}

extension Rule<FewStep?> {
    static let fewStep = Rule(standard: { decision in
        // Another sampler that was asked for is no few-step sampling.
        if let asked = decision.request.scheduler, !asked.takesList { return (nil, .model, nil) }
        return (try decision.model.defaults.fewStep.map { try FewStep(named: $0) }, .model, nil)
    }).shown { $0 != nil }
}

extension Rule<Double?> {
    /// Of the second transformer.
    static let secondGuidance = Rule.model { decision in
        guard decision.model.transformers.count > 1 else { return nil }
        let recommended = decision.values.fewStep == nil ? decision.model.defaults.secondGuidanceScale : nil
        return decision.request.guidanceScale ?? recommended ?? decision.values.guidanceScale
    }.refused { $0.model.transformers.count > 1 ? nil : "none: this model has one transformer" }
}

extension Rule<NumberList?> {
    /// One column of the explicit loop, whatever it was made of.
    static func column(_ column: @escaping @Sendable (StepList) -> [Double]) -> Rule {
        Rule(standard: { (try $0.stepList().map { NumberList(column($0)) }, .model, nil) })
            .adjusted { value, decision in
                guard let list = try? decision.stepList() else { return value }
                return NumberList(column(list))
            }.checked { _ = try $1.stepList() }
    }
}

/// The explicit loop, in the ways it is given.
extension Setting<NumberList?> {
    // Not of the latents by itself: the levels it gives are.
    static let stepList = Setting(
        "step_list", .sampling, "training steps of euler or renoise, falling from 1000, moved by flow_shift",
        flag: SettingFlag("1000,750,…", "Training steps of euler or renoise, falling, moved by the flow shift."),
        effect: .none, isRecorded: false, rule: Rule<NumberList?>.builtIn(nil).shown { $0 != nil })
    static let sigmas = Setting(
        "sigmas", .sampling, "noise levels of euler or renoise as they are, falling from 1",
        flag: SettingFlag("1,0.75,…", "Noise levels of euler or renoise as they are, falling, without the 0 at the end."),
        belongsTo: "few_step", rule: .column { $0.sigmas })
    static let timesteps = Setting(
        "timesteps", .sampling, "what the model is told at the levels; 1000 times these when not given",
        flag: SettingFlag("1000,750,…", "What the model is told at the levels of --sigmas. Default: 1000 times these."),
        belongsTo: "sigmas", rule: .column { $0.timesteps.map { Double("\($0)") ?? Double($0) } })
}

extension Setting<UniPCMultistep.Spacing> {
    static let sigmaSpacing = Setting(
        "sigma_spacing", .sampling, "noise levels of unipc",
        flag: SettingFlag(
            "current|original",
            "Noise levels of unipc: as diffusers has them since 2026, or as the original Wan sampler."),
        belongsTo: "scheduler",
        rule: Rule<UniPCMultistep.Spacing>(
            standard: { ($0.sampler.switched(to: $0.values.scheduler).spacing, .builtIn, nil) }
        ).refused { $0.values.scheduler == .unipc ? nil : "none: only unipc has a choice" })
}

extension Setting<AdapterList?> {
    /// The files of one target.
    static func adapters(_ name: String, _ target: AdapterChoice.Target, _ summary: String, _ help: String) -> Setting {
        Setting(
            name, .inputs, summary, flag: SettingFlag("file[=strength]", help, style: .repeated), effect: .latents,
            at: .job(
                get: { job in
                    let own = job.adapters.filter { $0.target == target }
                    return own.isEmpty ? nil : AdapterList(own)
                },
                set: { list, job in
                    job.adapters.removeAll { $0.target == target }
                    job.adapters += (list?.choices ?? []).map {
                        AdapterChoice(path: $0.path, strength: $0.strength, target: target)
                    }
                }))
    }
}

extension Setting<String?> {
    /// A part that takes the place of one of the model's.
    static func part(
        _ name: String, _ what: String, _ path: WritableKeyPath<RenderJob, String?> & Sendable
    ) -> Setting {
        let (summary, help) = ("\(what): a folder or a file", what.prefix(1).uppercased() + what.dropFirst())
        return Setting(
            name, .inputs, summary, kind: .input, flag: SettingFlag("path", "\(help): a folder or a file."),
            isVariable: false, effect: .latents, at: .at(path))
    }
}

extension Setting<Double?> {
    /// What a decoder goes by that takes part in the sampling.
    static func decoding(
        _ name: String, _ summary: String, _ help: String, _ value: @escaping @Sendable (DecodeConditions) -> Double
    ) -> Setting {
        let usual = value(DecodeConditions())
        return Setting(
            name, .sampling, summary, flag: SettingFlag("x", "\(help) Default: \(usual)."),
            rule: Rule<Double?>.model { $0.model.decoder.takesConditions ? usual : nil }
                .refused { $0.model.decoder.takesConditions ? nil : "none: this model's VAE is told no time" }
                .checked { asked, _ in
                    if let asked, !(0...1).contains(asked) {
                        throw PipelineError.setting(name, found: "\(asked)", expected: "0 to 1")
                    }
                }.shown { $0 != nil })
    }
}

extension Setting<SchedulerConfiguration.Kind> {
    static let sampler = Setting(
        "scheduler", .sampling, "sampler", flag: SettingFlag("name", "Default: the model's."),
        rule: Rule<SchedulerConfiguration.Kind>.model { decision in
            if let row = decision.values.fewStep { return row.rule }
            return decision.hasList && !decision.sampler.kind.takesList ? .euler : decision.sampler.kind
        }.checked { kind, decision in
            let prediction = decision.model.prediction
            guard kind.prediction != prediction else { return }
            let fitting = SchedulerConfiguration.Kind.allCases.filter { $0.prediction == prediction }
            throw PipelineError.setting(
                "scheduler", found: kind.rawValue,
                expected: fitting.map(\.rawValue).joined(separator: " or ") + ", which sample what this model predicts")
        })
}

extension Setting<GuidanceSchedule?> {
    /// With another sampler than the model's own, guidance is constant.
    static let guidanceSchedule = Setting(
        "guidance_schedule", .sampling, "how guidance changes along the loop: cosine is CogVideoX's dynamic guidance",
        flag: SettingFlag(
            "constant|cosine", "How guidance changes along the loop. Default: constant; CogVideoX 5B: cosine."),
        rule: Rule<GuidanceSchedule?>.model { decision in
            let isOwn = (decision.request.scheduler ?? decision.sampler.kind) == decision.sampler.kind
            let schedule = decision.model.defaults.guidanceSchedule
            return isOwn && decision.sampler.kind.drawsNoise && schedule != .constant ? schedule : nil
        }.shown { $0 != nil })
}

extension Setting<Double?> {
    /// Told to the model in place of a second call.
    static let embeddedGuidance = Setting(
        "embedded_guidance", .sampling, "guidance that is built into the model (HunyuanVideo)",
        flag: SettingFlag("x", "Guidance that is built into the model, where it has some. Default: the model's."),
        rule: Rule<Double?>.model {
            $0.model.transformer.conditioning.takesGuidance ? $0.model.defaults.embeddedGuidance ?? 6 : nil
        }.refused {
            $0.model.transformer.conditioning.takesGuidance ? nil : "none: this model is told no guidance"
        }.checked { guidance, _ in
            if let guidance, !(0...1000).contains(guidance) {
                throw PipelineError.setting("embedded_guidance", found: "\(guidance)", expected: "0 to 1000")
            }
        }.shown { $0 != nil })
}
