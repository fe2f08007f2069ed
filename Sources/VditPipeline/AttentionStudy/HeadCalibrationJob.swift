import VditAttention
import VditFiles
import VditModels
import VditTensor

/// Renders the latents of some prompts with dense attention and finds for every head, at every step, which pattern of a
/// sparse method comes nearest to it on the same operands.
public struct HeadCalibrationJob: Sendable {
    /// What to render, but for the prompt; its destination is not used.
    public var render: RenderJob
    public var prompts: [PromptSource]
    /// Whose options all patterns share.
    public var method: MethodChoice
    public var search: PatternSearch

    public init(_ render: RenderJob, prompts: [PromptSource], method: MethodChoice, search: PatternSearch) {
        (self.render, self.prompts, self.method, self.search) = (render, prompts, method, search)
    }

    public struct Result: Sendable {
        public let file: HeadTableFile
        /// Of all heads at all steps, the share that is dense, then that of each pattern.
        public let shares: [Double]
        public let notices: [String]
    }

    /// - Parameter onStep: called after each step with the number done and how many there are over all prompts.
    /// - Throws: an error that conforms to `Failure`; `PipelineError.cancelled` when `stop` was raised.
    public func run(
        stop: StopFlag = StopFlag(), onStep: (Int, Int) throws -> Void = { _, _ in }
    ) throws -> Result {
        let model = try ModelDirectory(render.model).adapted(by: render.adapters)
        let book = PromptBook()
        let runs = try prompts.map { prompt in
            var job = render
            job.prompt = prompt
            return (job, try Renderer.plan(job, model, book))
        }
        guard let plan = runs.first?.1.0 else { throw PipelineError.setting("prompt", found: "none", expected: "one") }
        try plan.settings.requireOneSize()
        let patterns = try patterns(of: model.specification, layouts: plan.allLayouts)
        let loaded = try LoadedModel(model, plan.fitted(to: .current()))
        var trials: [[PatternSearch.Trial]] = []
        var notices: [String] = []
        for (number, (job, (plan, inputs))) in runs.enumerated() {
            let seen = try HeadTrials(patterns, search.measure, plan)
            let contexts = try plan.attentionContexts()
            for context in contexts { context.observer = { (call) throws(AttentionError) in try seen.add(call) } }
            var generation = try plan.generation(loaded, inputs, contexts)
            while !generation.isFinished {
                _ = try generation.advance { try stop.throwIfStopping() }
                try onStep(number * plan.steps.count + generation.completed, runs.count * plan.steps.count)
            }
            trials.append(seen.means)
            notices += inputs.notices(job, plan).filter { !notices.contains($0) }
        }
        let heads = try table(trials, patterns, steps: plan.steps.count, of: model.specification)
        let numbers = heads.joined().joined()
        var search = search
        search.candidates = patterns.map(\.pattern)
        return Result(
            file: HeadTableFile(
                method: method.name, model: model.specification.defaults.name,
                measured: MeasuredOn(size: plan.settings.videoSize, weights: try model.weightsDigest()),
                prompts: prompts.map(\.name).sorted(), search: search, heads: heads),
            shares: (0...patterns.count).map { pattern in
                Double(numbers.count { $0 == pattern }) / Double(numbers.count)
            },
            notices: notices)
    }

    /// The method as each pattern has it; of densities that nobody named, as many as can be had.
    private func patterns(
        of model: ModelSpecification, layouts: Set<TokenLayout>
    ) throws -> [ConfiguredMethod] {
        if let density = method.density {
            throw PipelineError.setting("density", found: "\(density)", expected: "none: patterns have their own")
        }
        func pattern(_ options: [String: String]) throws -> ConfiguredMethod {
            let pattern = try method.with(pattern: options).configured(forModel: model.defaults.name)
            for layout in layouts { _ = try pattern.headPlanner(for: layout) }
            return pattern
        }
        if !search.candidates.isEmpty { return try search.candidates.map(pattern) }
        guard let density = search.density else {
            throw PipelineError.setting(
                "patterns", found: "none",
                expected: "at least one, or a density: nobody published any of \(method.name)")
        }
        var unreachable: AttentionError?
        let patterns = try PatternSearch.densities(around: density).compactMap { options in
            do {
                return try pattern(options)
            } catch let error as AttentionError {
                guard case .unreachableDensity = error else { throw error }
                unreachable = error
                return nil
            }
        }
        if let unreachable, patterns.isEmpty { throw unreachable }
        return patterns
    }

    /// `[steps][layers][heads]`, by the mean of the prompts' trials, whatever their order.
    ///
    /// - Throws: `PipelineError.setting` (64) where the sparsest patterns keep more than they should together.
    private func table(
        _ trials: [[PatternSearch.Trial]], _ patterns: [ConfiguredMethod], steps: Int, of model: ModelSpecification
    ) throws -> [[[Int]]] {
        let (layers, heads) = (model.transformer.layers, model.transformer.heads)
        func mean(_ numbers: [Double]) -> Double { numbers.sorted().reduce(0, +) / Double(numbers.count) }
        let means = trials[0].indices.map { place in
            PatternSearch.Trial(
                loss: mean(trials.map { $0[place].loss }), density: mean(trials.map { $0[place].density }))
        }
        // Layers that are dense anyway have no part in what the others may keep.
        let dense = min(patterns[0].schedule.layers, layers)
        let ofStep = (layers - dense) * heads
        return try (0..<steps).map { step in
            let trials = (0..<ofStep).map { head in
                let first = ((step * layers + dense) * heads + head) * patterns.count
                return Array(means[first..<first + patterns.count])
            }
            if let wanted = search.density, ofStep > 0 {
                let least = trials.reduce(0) { $0 + ($1.map(\.density).min() ?? 1) } / Double(ofStep)
                if least > wanted + ConfiguredMethod.densityTolerance {
                    throw PipelineError.setting(
                        "density", found: "\(wanted)",
                        expected: "at least \((least * 1000).rounded(.up) / 1000), which the sparsest patterns keep of "
                            + "step \(step)")
                }
            }
            let numbers = [Int](repeating: 0, count: dense * heads) + search.choices(trials)
            return (0..<layers).map { layer in Array(numbers[layer * heads..<(layer + 1) * heads]) }
        }
    }
}

extension RenderPlan {
    fileprivate var allLayouts: Set<TokenLayout> { Set(parts.flatMap(\.layouts.values)) }
}

/// What each pattern does to every head of one run.
private final class HeadTrials {
    private let measure: PatternSearch.Measure
    private let planners: [TokenLayout: [any AttentionPlanner]]
    private let layers: Int
    private let precision: AttentionPrecision?
    private let buffers = TensorPool()
    /// Sums over branches, `[steps][layers][heads][patterns]`, and how many branches each layer of a step had.
    private var sums: [PatternSearch.Trial]
    private var calls: [Int]

    /// - Throws: what the method throws for a layout, see `ConfiguredMethod.headPlanner`.
    init(
        _ patterns: [ConfiguredMethod], _ measure: PatternSearch.Measure, _ plan: RenderPlan
    ) throws(AttentionError) {
        self.measure = measure
        var planners: [TokenLayout: [any AttentionPlanner]] = [:]
        for layout in plan.allLayouts {
            planners[layout] = try patterns.map { (pattern) throws(AttentionError) in
                try pattern.headPlanner(for: layout)
            }
        }
        self.planners = planners
        layers = plan.model.transformer.layers
        precision = plan.settings.attentionPrecision
        calls = [Int](repeating: 0, count: plan.steps.count * layers)
        sums = Array(
            repeating: PatternSearch.Trial(loss: 0, density: 0),
            count: calls.count * plan.model.transformer.heads * patterns.count)
    }

    func add(_ seen: AttentionContext.Observation) throws(AttentionError) {
        let call = seen.call
        let place = call.step * layers + call.site.layer
        calls[place] += 1
        let kernel = AttentionKernel(call.instructionSet, operands: call.q.dtype, precision: precision)
        let planners = planners[call.layout] ?? []
        let pairs = Double(call.tokens) * Double(call.tokens)
        for (pattern, planner) in planners.enumerated() {
            var nothing = MethodState()
            let plan = try planner.plan(call, &nothing)
            let found = blockSparseAttention(call, plan, values: call.q.dtype, kernel: kernel, buffers: buffers)
            for (head, loss) in losses(of: found, beside: seen.output, call.pool).enumerated() {
                let trial = (place * call.heads + head) * planners.count + pattern
                sums[trial].loss += loss
                sums[trial].density += Double(plan.head(head).pairs) / pairs
            }
        }
    }

    /// Means over branches.
    var means: [PatternSearch.Trial] {
        let perCall = sums.count / max(1, calls.count)
        return sums.enumerated().map { place, sum in
            let calls = Double(max(1, calls[place / perCall]))
            return PatternSearch.Trial(loss: sum.loss / calls, density: sum.density / calls)
        }
    }

    /// Of each head.
    private func losses(of found: AttentionOutput, beside right: AttentionOutput, _ pool: WorkPool) -> [Double] {
        switch measure {
        case .error:
            return meanSquaredErrors(found.values.converted(to: .f32), right.values.converted(to: .f32), pool)
        case .recall:
            return found.recalls(of: right).map { 1 - $0 }
        }
    }

    /// Of each head; tensors are `[tokens, heads, headDim]` f32.
    private func meanSquaredErrors(_ a: Tensor, _ b: Tensor, _ pool: WorkPool) -> [Double] {
        let (tokens, heads, dim) = (a.shape[0], a.shape[1], a.shape[2])
        return pool.map(heads) { head, _ in
            a.withFloats { a in
                b.withFloats { b in
                    var sum = 0.0
                    for token in 0..<tokens {
                        let start = (token * heads + head) * dim
                        for i in start..<start + dim {
                            let apart = Double(a[i]) - Double(b[i])
                            sum += apart * apart
                        }
                    }
                    return sum / Double(tokens * dim)
                }
            }
        }
    }
}
