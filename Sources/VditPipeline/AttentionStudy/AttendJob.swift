import VditAttention
import VditFiles
import VditTensor

/// A sparse method on given queries, keys and values: what an `attend` command says.
///
/// Input: `q`, `k`, `v` `[heads, tokens, headDim]` (a batch axis of 1 may precede), after normalisation and
/// rotary embedding, or a sequence `q.0`, `k.0`, `v.0`, `q.1`, … with the method's state carried from one to
/// the next as in a render. What the method learned before them may stand beside: `learned.<name>`, all of a method's.
///
/// Output, each name followed by `.<step>` where the input had one: `values` f32 `[heads, tokens, headDim]`,
/// `log_sum_exp` f32 `[heads, tokens]`, `density` f32 `[heads]`, and for every head the plan as
/// `AttentionPlan.Head.tensors`, `query_order.<step>.<head>` and so on. The plans of a correction (the window
/// of a Re-ttention refresh) follow under names that begin with `finish.`. What the method knows after the step, if it
/// learns, is `learned.<name>`.
public struct AttendJob: Sendable {
    public var method: MethodChoice
    public var layout: TokenLayout
    public var inputs: String
    public var output: String
    /// 0-based step of the first tensors, and the loop's length; nil ends it with the last tensors.
    public var step = 0
    public var steps: Int?
    public var layer = 0
    public var branch = AttentionSite.Branch.conditional
    /// Nil takes the type of the tensors: fp32 unless they are BF16.
    public var precision: Precision?
    public var threads = 1
    public var existing = ExistingFile.refuse
    public var fallback = AttentionContext.Fallback.refuse
    /// Of the scores; that of the tensors if nil.
    public var attentionPrecision: AttentionPrecision?

    public init(method: MethodChoice, layout: TokenLayout, inputs: String, output: String) {
        self.method = method
        self.layout = layout
        self.inputs = inputs
        self.output = output
    }

    /// What one call did.
    public struct Step: Sendable, Codable {
        public let step: Int
        /// Kept token pairs over all.
        public let density: Double
        /// Computed pairs over all: more than the density where a correction ran another plan.
        public let work: Double
        public let planningSeconds: Double
        public let attentionSeconds: Double
    }

    /// - Parameter onStep: called after each call.
    /// - Throws: an error that conforms to `Failure`: everything about files, shapes and options before
    ///   anything is computed.
    public func run(onStep: (Step) throws -> Void = { _ in }) throws -> [Step] {
        try FileRoles(reads: ["inputs": inputs], makes: ["output": output]).check()
        try AtomicFile.checkStream(output, existing: existing)
        // The method runs unless dense steps or layers were asked for.
        let configured = method.withoutWarmUp().configured(forModel: MethodCatalogue.modelOfBareGrids)
        let file = try SafetensorsReader(inputs)
        let suffixes = try suffixes(file)
        try check("step", step, 0...100_000)
        let steps = self.steps ?? step + suffixes.count
        try check("steps", steps, step + suffixes.count...200_000)
        try check("layer", layer, 0...10_000)
        let context = try AttentionContext(
            configured, layout: layout, fallback: fallback, precision: attentionPrecision)
        try restore(context, file)
        var shape: [Int]?
        for suffix in suffixes { _ = try operands(file, suffix, &shape) }

        let compute = try ComputeContext(threads: threads, precision: precision ?? .fp32)
        var seen: AttentionContext.Observation?
        context.observer = { seen = $0 }
        var results: [Step] = []
        var tensors: [String: Tensor] = [:]
        for (index, suffix) in suffixes.enumerated() {
            let qkv = try operands(file, suffix, &shape)
            let type = precision?.dtype ?? (qkv[0].dtype == .bf16 ? .bf16 : .f32)
            let operands = qkv.map { $0.converted(to: type) }
            let before = context.statistics.total
            let output = try context.attend(
                AttentionCall(
                    q: operands[0], k: operands[1], v: operands[2], layout: layout,
                    site: AttentionSite(layer: layer, branch: branch), step: step + index, steps: steps,
                    pool: compute.pool, instructionSet: compute.instructionSet))
            let plans = seen?.plans ?? []
            record(output, plans, suffix, into: &tensors)
            for (name, tensor) in context.learnedState().below(place(in: context)) {
                tensors["\(Self.learned)\(name)\(suffix)"] = tensor
            }
            let after = context.statistics.total
            let pairs = Double(after.pairs - before.pairs)
            let result = Step(
                step: step + index,
                density: plans.first?.density(tokens: layout.tokens) ?? 1,
                work: Double(after.computedPairs - before.computedPairs) / pairs,
                planningSeconds: after.planningSeconds - before.planningSeconds,
                attentionSeconds: after.attentionSeconds - before.attentionSeconds)
            results.append(result)
            try onStep(result)
        }
        try file.verifyUnchanged()
        try SafetensorsWriter.write(
            tensors,
            metadata: [
                "format": "vdit-attend-1", "vdit_version": vditVersion, "method": configured.name,
                "options": configured.options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
                    .joined(separator: ","),
                "density": configured.density.map { "\($0)" } ?? "",
                "layout": "\(layout.frames)x\(layout.height)x\(layout.width), text \(layout.textBefore) before, "
                    + "\(layout.textAfter) after",
            ], to: output, existing: existing)
        return results
    }

    private func record(
        _ output: AttentionOutput, _ plans: [AttentionPlan], _ suffix: String,
        into tensors: inout [String: Tensor]
    ) {
        let heads = output.logSumExp.shape[0]
        tensors["values\(suffix)"] = headMajor(output.values)
        tensors["log_sum_exp\(suffix)"] = output.logSumExp
        for (number, plan) in plans.enumerated() {
            let prefix = number == 0 ? "" : number == 1 ? "finish." : "finish\(number)."
            for head in 0..<heads {
                for (name, tensor) in plan.head(head).tensors {
                    tensors["\(prefix)\(name)\(suffix).\(head)"] = tensor
                }
            }
            let pairs = Double(layout.tokens) * Double(layout.tokens)
            tensors["\(prefix)density\(suffix)"] = Tensor(
                (0..<heads).map { Float(Double(plan.head($0).pairs) / pairs) })
        }
    }

    // MARK: Input

    private static let learned = "learned."

    /// What a context's names of the state at the one place where the method runs begin with.
    private func place(in context: AttentionContext) -> String {
        "\(context.configuration.method.learningBranch(of: branch).rawValue).\(layer)."
    }

    /// Gives the method what it learned before.
    ///
    /// - Throws: `PipelineError.invalid` (65) for values that are no numbers; `AttentionError.state` (65) for names the
    ///   method does not have, or only some of those it has.
    private func restore(_ context: AttentionContext, _ file: SafetensorsReader) throws {
        let names = file.names.filter { $0.hasPrefix(Self.learned) }
        guard !names.isEmpty else { return }
        let place = place(in: context)
        var state: [String: Tensor] = [:]
        for name in names {
            let tensor = try file.tensor(name)
            guard !tensor.dtype.isFloatingPoint || tensor.isFinite else {
                throw refuse(name, "NaN or infinity", "finite numbers")
            }
            state["\(place)\(name.dropFirst(Self.learned.count))"] = tensor
        }
        try context.restore(state)
        for name in context.configuration.method.learns where state["\(place)\(name)"] == nil {
            throw AttentionError.state(name, found: "nothing", expected: "\(Self.learned)\(name) beside \(names[0])")
        }
    }

    /// `""` for q, k, v alone; `.0`, `.1`, … for a sequence.
    private func suffixes(_ file: SafetensorsReader) throws(PipelineError) -> [String] {
        let numbers = file.names.compactMap { name -> Int? in
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 2, ["q", "k", "v"].contains(parts[0]), let number = Int(parts[1]) else { return nil }
            return (0..<100_000).contains(number) && String(number) == parts[1] ? number : nil
        }
        let isSingle = file.info("q") != nil
        guard isSingle || !numbers.isEmpty else {
            throw refuse(
                "tensors", "only " + file.names.prefix(5).joined(separator: ", "), "q, k, v or q.0, k.0, v.0, q.1, …")
        }
        if isSingle, !numbers.isEmpty { throw refuse("tensors", "both q and numbered ones", "one of them") }
        if isSingle { return [""] }
        let count = (numbers.max() ?? 0) + 1
        let present = Set(numbers)
        if let gap = (0..<count).first(where: { !present.contains($0) }) {
            throw refuse("tensors", "none of step \(gap)", "every step up to \(count - 1)")
        }
        return (0..<count).map { ".\($0)" }
    }

    /// q, k and v, f32 or bf16, of one shape that is the same for all steps.
    private func operands(
        _ file: SafetensorsReader, _ suffix: String, _ shape: inout [Int]?
    ) throws -> [Tensor] {
        try ["q", "k", "v"].map { letter in
            let name = letter + suffix
            var stored = try file.tensor(name)
            if stored.rank == 4, stored.shape[0] == 1 { stored = stored[0] }
            guard stored.dtype.isFloatingPoint else {
                throw refuse(name, stored.dtype.rawValue, "F32, F16 or BF16")
            }
            guard stored.rank == 3, stored.count > 0 else {
                throw refuse(name, "shape \(stored.shape)", "[heads, tokens, head_dim]")
            }
            guard stored.shape[1] == layout.tokens else {
                let text = layout.textTokens > 0 ? " and \(layout.textTokens) of text" : ""
                throw refuse(
                    name, "\(stored.shape[1]) tokens",
                    "\(layout.tokens): \(layout.frames)×\(layout.height)×\(layout.width) of video\(text)")
            }
            guard AttentionKernel.serves(headDim: stored.shape[2]) else {
                throw refuse(name, "head_dim \(stored.shape[2])", "a multiple of 8 from 8 to 256")
            }
            if let shape, stored.shape != shape { throw refuse(name, "\(stored.shape)", "\(shape), as q has") }
            shape = stored.shape
            let values = stored.dtype == .bf16 ? stored : stored.converted(to: .f32)
            guard values.isFinite else { throw refuse(name, "NaN or infinity", "finite numbers") }
            return values
        }
    }

    private func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws(PipelineError) {
        guard range.contains(value) else {
            throw .invalid(
                name, found: "\(value)", expected: "\(range.lowerBound) to \(range.upperBound)", kind: .usage)
        }
    }

    private func refuse(_ field: String, _ found: String, _ expected: String) -> PipelineError {
        .invalid("\(inputs): \(field)", found: found, expected: expected, kind: .badData)
    }
}

/// `[tokens, heads, headDim]` as f32 `[heads, tokens, headDim]`.
private func headMajor(_ values: Tensor) -> Tensor {
    let (tokens, heads, headDim) = (values.shape[0], values.shape[1], values.shape[2])
    let rows = values.converted(to: .f32).reshaped([tokens * heads, headDim])
    let result = Tensor(.f32, [heads * tokens, headDim])
    for token in 0..<tokens {
        for head in 0..<heads {
            let (from, to) = (token * heads + head, head * tokens + token)
            result.slice(to..<to + 1).assign(rows.slice(from..<from + 1))
        }
    }
    return result.reshaped([heads, tokens, headDim])
}
