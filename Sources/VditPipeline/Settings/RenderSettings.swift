import VditAttention
import VditMedia
import VditModels
import VditTensor

/// What a rule may look at: what was asked, the model, and what was decided before.
public struct Decision {
    let request: RenderRequest
    let model: ModelSpecification
    /// What the model's scheduler configuration says.
    let sampler: SchedulerConfiguration
    var values = DecidedValues()
    var table: [RenderSettings.Row] = []
}

extension Decision {
    /// Every row decided and in its range.
    ///
    /// - Throws: an error whose `setting` is the one at fault.
    fileprivate init(deciding request: RenderRequest, model: ModelSpecification, sampler: SchedulerConfiguration) throws {
        self.init(request: request, model: model, sampler: sampler)
        for row in SettingTable.all { try row.decide(&self) }
        for row in SettingTable.all { try row.check(self) }
    }
}

/// Values by setting name, read by the row's property: `values.steps`.
@dynamicMemberLookup
struct DecidedValues: Sendable {
    private var values: [String: any WrittenValue] = [:]

    subscript(name: String) -> (any WrittenValue)? {
        get { values[name] }
        set { values[name] = newValue }
    }

    subscript<Value>(dynamicMember row: KeyPath<SettingTable, Setting<Value>>) -> Value {
        let name = SettingTable.rows[keyPath: row].name
        guard let value = values[name] as? Value else { preconditionFailure("\(name) is not decided yet") }
        return value
    }

    subscript<Value>(dynamicMember row: KeyPath<SettingTable, Setting<Value?>>) -> Value? {
        values[SettingTable.rows[keyPath: row].name] as? Value
    }
}

/// Every value a run depends on, decided. Each setting of `SettingTable` is a property: `settings.steps`.
@dynamicMemberLookup
public struct RenderSettings: Sendable, Equatable {
    /// One line of the table of settings.
    public struct Row: Sendable, Equatable {
        /// snake_case, as in files and environment variables.
        public let name: String
        public let value: String
        public let origin: Origin
    }

    let values: DecidedValues
    /// All settings with where each came from, in a fixed order.
    public let table: [Row]
    /// The sampler: the model's, with what was asked of it.
    public let scheduler: SchedulerConfiguration
    /// Of each transformer.
    public let guidance: [Guidance]
    /// The sparse method, its options and its density.
    public let method: MethodChoice
    /// The step cache, its options and its budget; nil for none.
    public let cache: CacheChoice?
    /// Where the method was left to what a comparison measured: what that chose.
    public let automatic: AutomaticChoice?
    /// The number of frames that was asked for, where it was rounded.
    public let unroundedFrames: Int?

    public subscript<Value>(dynamicMember row: KeyPath<SettingTable, Setting<Value>>) -> Value {
        values[dynamicMember: row]
    }

    public subscript<Value>(dynamicMember row: KeyPath<SettingTable, Setting<Value?>>) -> Value? {
        values[dynamicMember: row]
    }

    /// Decides every setting and checks its range.
    ///
    /// - Parameters:
    ///   - sampler: what the model's scheduler configuration says.
    ///   - known: files of jobs before.
    /// - Throws: an error whose `setting` is the one at fault, with what was asked and what is possible.
    public init(
        _ request: RenderRequest, model: ModelSpecification, sampler: SchedulerConfiguration, known: KnownFiles? = nil
    ) throws {
        let rows = SettingTable.rows
        var decision = try Decision(deciding: request, model: model, sampler: sampler)
        if decision.values.sparse == AutomaticChoice.name {
            let others = [
                rows.sparseOptions.name, rows.density.name, rows.cache.name, rows.cacheOptions.name, rows.cacheBudget.name,
            ]
            if let other = others.first(where: request.asks) {
                throw PipelineError.setting(other, found: "a value", expected: "none beside sparse auto, which chooses it")
            }
            let choice = try AutomaticChoice(decision.values, model: model, known: known)
            var chosen = request
            chosen.choose(choice.variant.method, from: .file)
            chosen.choose(choice.variant.cache, from: .file)
            decision = try Decision(deciding: chosen, model: model, sampler: sampler)
            automatic = choice
        } else {
            let needed = [rows.sparseResults.name, rows.sparseQuality.name, rows.sparseSeconds.name]
            if let lonely = needed.first(where: request.asks) {
                throw PipelineError.setting(lonely, found: "a value", expected: "none without sparse auto")
            }
            automatic = nil
        }
        let values = decision.values
        self.values = values
        table = decision.table
        var scheduler = sampler.switched(to: values.scheduler)
        scheduler.flowShift = values.flowShift
        scheduler.spacing = values.sigmaSpacing
        if request.flowShift != nil { scheduler.dynamicShift = nil }
        if let sigmas = values.sigmas, let timesteps = values.timesteps {
            scheduler.list = try StepList(timesteps: timesteps.values, sigmas: sigmas.values)
        }
        self.scheduler = scheduler
        guidance = try [values.guidanceScale, values.secondGuidanceScale].compactMap { $0 }.map {
            try Guidance(scale: $0, start: values.guidanceInterval.start, end: values.guidanceInterval.end,
                rescale: values.guidanceRescale ?? 0, schedule: values.guidanceSchedule ?? .constant)
        }
        method = try MethodChoice(values.sparse, options: values.sparseOptions, density: values.density)
        if let name = values.cache {
            cache = try CacheChoice(cache: name, options: values.cacheOptions ?? [:], budget: values.cacheBudget)
        } else if let lonely = [rows.cacheOptions.name, rows.cacheBudget.name]
            .first(where: { values[$0] != nil })
        {
            throw PipelineError.setting(lonely, found: "a value", expected: "none without a step cache")
        } else {
            cache = nil
        }
        unroundedFrames = request.numFrames.flatMap { $0 == values.numFrames ? nil : $0 }
    }

    /// What the latents depend on, by name: see `Checkpoint`. Threads and frame rate are not among it.
    var identity: [String: String] {
        var identity = ["solver": "\(scheduler.solverType.rawValue), order \(scheduler.solverOrder)"]
        // Takes the place of flow_shift.
        if let dynamic = scheduler.dynamicShift { identity["dynamic_shift"] = "\(dynamic)" }
        for row in SettingTable.all where row.effect == .latents { identity[row.name] = values[row.name]?.written }
        // Packed or as stored, weights have the same values: who runs out of memory goes on with less.
        if self.weights?.type == nil { identity[SettingTable.rows.weights.name] = nil }
        return identity
    }

    public static func == (a: RenderSettings, b: RenderSettings) -> Bool {
        a.table == b.table && a.identity == b.identity && a.scheduler == b.scheduler && a.method == b.method
            && a.cache == b.cache
    }
}
