import VditTensor

/// One self-attention layer of one guidance branch: the place whose state a method may carry across steps.
public struct AttentionSite: Sendable, Hashable, Codable {
    public enum Branch: String, Sendable, CaseIterable, Codable {
        case conditional
        case unconditional
    }

    /// Index of the transformer block.
    public let layer: Int
    public let branch: Branch

    public init(layer: Int, branch: Branch) {
        self.layer = layer
        self.branch = branch
    }
}

/// Everything one attention is asked to compute.
public struct AttentionCall: Sendable {
    /// `[heads, tokens, headDim]`, f32 or bf16, after normalisation and rotary embedding.
    public let q: Tensor
    public let k: Tensor
    public let v: Tensor
    /// `[tokens, heads, headDim]` of the same type: what a trained sparse attention weighs its coarse part by. Nil
    /// where the model has none or nobody asked.
    public let gate: Tensor?
    /// From a head's values to values, f32: what a trained sparse attention puts its linear part through; nil as above.
    public let projection: Linear?
    /// Factor of the scores, `1 / sqrt(headDim)`.
    public let scale: Float
    public let layout: TokenLayout
    public let site: AttentionSite
    /// 0-based index in the sampler loop, and the loop's length.
    public let step: Int
    public let steps: Int
    public let pool: WorkPool
    /// The instruction set to compute with.
    public let instructionSet: InstructionSet

    /// Runs of tokens, for threads to take one at a time.
    var tokenParts: [Range<Int>] { (0..<tokens).parts(atMost: 256) }

    public init(
        q: Tensor, k: Tensor, v: Tensor, gate: Tensor? = nil, projection: Linear? = nil, scale: Float? = nil,
        layout: TokenLayout, site: AttentionSite, step: Int, steps: Int, pool: WorkPool,
        instructionSet: InstructionSet
    ) {
        precondition(q.rank == 3 && q.shape == k.shape && k.shape == v.shape)
        precondition(q.shape[1] == layout.tokens)
        precondition(gate.map { $0.shape == [q.shape[1], q.shape[0], q.shape[2]] } ?? true)
        precondition(projection.map { $0.inputs == q.shape[2] && $0.outputs == q.shape[2] } ?? true)
        self.q = q
        self.k = k
        self.v = v
        self.gate = gate
        self.projection = projection
        self.scale = scale ?? 1 / Float(q.shape[2]).squareRoot()
        self.layout = layout
        self.site = site
        self.step = step
        self.steps = steps
        self.pool = pool
        self.instructionSet = instructionSet
    }

    /// The same of one head, without what a trained sparse attention brings.
    func of(head: Int) -> AttentionCall {
        AttentionCall(
            q: q.slice(head..<head + 1), k: k.slice(head..<head + 1), v: v.slice(head..<head + 1), scale: scale,
            layout: layout, site: site, step: step, steps: steps, pool: pool, instructionSet: instructionSet)
    }

    public var heads: Int { q.shape[0] }
    public var tokens: Int { q.shape[1] }
    public var headDim: Int { q.shape[2] }
}

/// What the kernel computes.
public struct AttentionOutput: Sendable {
    /// `[tokens, heads, headDim]`, f32 or bf16: token-major, ready for the output projection.
    public var values: Tensor
    /// `[heads, tokens]` f32, natural log of the softmax denominator of the scaled scores; −∞ where a
    /// query kept no key.
    public var logSumExp: Tensor
    /// Where the plan measures it: of each head, `[kept blocks]` f32, the softmax mass on each kept block, mean over
    /// the query block's tokens, as the plan's `keyBlocks` lists them.
    public var masses: [Tensor]

    public init(values: Tensor, logSumExp: Tensor, masses: [Tensor] = []) {
        self.values = values
        self.logSumExp = logSumExp
        self.masses = masses
    }
}
