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
        let patterns = try patterns(of: model.specification)
        let book = PromptBook()
        let runs = try prompts.map { prompt in
            var job = render
            job.prompt = prompt
            return (job, try Renderer.plan(job, model, book))
        }
        guard let plan = runs.first?.1.0 else { throw PipelineError.setting("prompt", found: "none", expected: "one") }
        try plan.settings.requireOneSize()
        let loaded = try LoadedModel(model, plan.fitted(to: .current()))
        var losses: [[Double]] = []
        var notices: [String] = []
        for (number, (job, (plan, inputs))) in runs.enumerated() {
            let seen = try HeadLosses(patterns, search, plan)
            let contexts = try plan.attentionContexts()
            for context in contexts { context.observer = { seen.add($0) } }
            var generation = try plan.generation(loaded, inputs, contexts)
            while !generation.isFinished {
                _ = try generation.advance { try stop.throwIfStopping() }
                try onStep(number * plan.steps.count + generation.completed, runs.count * plan.steps.count)
            }
            losses.append(seen.means)
            notices += inputs.notices(job, plan).filter { !notices.contains($0) }
        }
        let heads = table(losses, steps: plan.steps.count, of: model.specification)
        let numbers = heads.joined().joined()
        var search = search
        search.candidates = patterns.map(\.ownOptions)
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

    /// The method as each pattern has it.
    private func patterns(of model: ModelSpecification) throws -> [ConfiguredMethod] {
        if let density = method.density {
            throw PipelineError.setting("density", found: "\(density)", expected: "none: patterns have their own")
        }
        guard !search.candidates.isEmpty else {
            throw PipelineError.setting(
                "patterns", found: "none", expected: "at least one: nobody published any of \(method.name)")
        }
        return try search.candidates.map {
            try MethodChoice(method.name, options: method.options.merging($0) { $1 })
                .configured(forModel: model.defaults.name)
        }
    }

    /// `[steps][layers][heads]`, by the mean of the prompts' losses, whatever their order.
    private func table(_ losses: [[Double]], steps: Int, of model: ModelSpecification) -> [[[Int]]] {
        let (layers, heads) = (model.transformer.layers, model.transformer.heads)
        let count = search.candidates.count
        return (0..<steps).map { step in
            (0..<layers).map { layer in
                (0..<heads).map { head in
                    let first = ((step * layers + layer) * heads + head) * count
                    return search.choice(
                        (first..<first + count).map { place in
                            losses.map { $0[place] }.sorted().reduce(0, +) / Double(losses.count)
                        })
                }
            }
        }
    }
}

/// What each pattern costs every head of one run.
private final class HeadLosses {
    private let search: PatternSearch
    private let plans: [TokenLayout: [AttentionPlan]]
    private let layers: Int
    private let precision: AttentionPrecision?
    private let buffers = TensorPool()
    /// Sums over branches, `[steps][layers][heads][patterns]`, and how many branches each layer of a step had.
    private var sums: [Double]
    private var calls: [Int]

    /// - Throws: what the method throws for a layout, see `ConfiguredMethod.layoutPlan`.
    init(_ patterns: [ConfiguredMethod], _ search: PatternSearch, _ plan: RenderPlan) throws(AttentionError) {
        self.search = search
        var plans: [TokenLayout: [AttentionPlan]] = [:]
        for layout in Set(plan.parts.flatMap(\.layouts.values)) {
            plans[layout] = try patterns.map { (pattern) throws(AttentionError) in
                try pattern.layoutPlan(for: layout)
            }
        }
        self.plans = plans
        layers = plan.model.transformer.layers
        precision = plan.settings.attentionPrecision
        calls = [Int](repeating: 0, count: plan.steps.count * layers)
        sums = [Double](repeating: 0, count: calls.count * plan.model.transformer.heads * patterns.count)
    }

    func add(_ seen: AttentionContext.Observation) {
        let call = seen.call
        let place = call.step * layers + call.site.layer
        calls[place] += 1
        let kernel = AttentionKernel(call.instructionSet, operands: call.q.dtype, precision: precision)
        let right = seen.output.values.converted(to: .f32)
        let plans = plans[call.layout] ?? []
        for (pattern, plan) in plans.enumerated() {
            let found = blockSparseAttention(call, plan, values: call.q.dtype, kernel: kernel, buffers: buffers).values
                .converted(to: .f32)
            let density = plan.density(tokens: call.tokens)
            for (head, error) in meanSquaredErrors(found, right, call.pool).enumerated() {
                sums[(place * call.heads + head) * plans.count + pattern]
                    += search.loss(meanSquaredError: error, density: density)
            }
        }
    }

    /// Means over branches.
    var means: [Double] {
        let perCall = sums.count / max(1, calls.count)
        return sums.indices.map { sums[$0] / Double(max(1, calls[$0 / perCall])) }
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
