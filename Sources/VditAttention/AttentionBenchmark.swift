import VditTensor

/// Times the attention kernel on random operands and measures its error against the float64 kernel.
public struct AttentionBenchmark: Sendable {
    public var heads: Int
    public var tokens: Int
    public var headDim: Int
    public var precision: Precision
    /// Tokens of a query block and of a key block.
    public var block: Int
    /// Fraction of key blocks each query block keeps, drawn at random; its own block is always kept.
    public var blockDensity: Double
    public var seed: UInt64
    /// Of the scores; as `precision` if nil.
    public var scores: AttentionPrecision?

    public init(
        heads: Int, tokens: Int, headDim: Int, precision: Precision, block: Int = 128,
        blockDensity: Double = 1, seed: UInt64 = 0, scores: AttentionPrecision? = nil
    ) {
        self.heads = heads
        self.tokens = tokens
        self.headDim = headDim
        self.precision = precision
        self.block = block
        self.blockDensity = blockDensity
        self.seed = seed
        self.scores = scores
    }

    public struct Result: Sendable, Codable {
        /// The kernel that ran, which may be of an earlier instruction set than asked for.
        public let kernel: String
        public let threads: Int
        /// Kept token pairs over all.
        public let density: Double
        public let timing: Timing
        /// Multiplications and additions of both products over the kept pairs.
        public let flops: Double
        public let teraflopsPerSecond: Double
        /// Relative RMS error of sampled rows against float64 sums over the same operands.
        public let relativeError: Double
    }

    /// Operands and plan, made once and run as often as wanted.
    public func prepare(pool: WorkPool, instructionSet: InstructionSet) -> (AttentionCall, AttentionPlan) {
        var random = SplitMix64(seed: seed)
        let shape = [heads, tokens, headDim]
        let operands = (0..<3).map { _ in
            let tensor = Tensor(.f32, shape)
            tensor.withMutableFloats { for i in $0.indices { $0[i] = random.normal() } }
            return tensor.converted(to: precision.dtype)
        }
        let call = AttentionCall(
            q: operands[0], k: operands[1], v: operands[2],
            layout: TokenLayout(frames: 1, height: 1, width: tokens),
            site: AttentionSite(layer: 0, branch: .conditional), step: 0, steps: 1, pool: pool,
            instructionSet: instructionSet)
        return (call, plan(&random))
    }

    /// Its kept blocks, drawn where not all are.
    func plan(_ random: inout SplitMix64) -> AttentionPlan {
        var plan = AttentionPlan.dense(tokens: tokens, block: block)
        if blockDensity < 1 {
            let offsets = plan.heads[0].queryOffsets
            plan.heads = (0..<heads).map { _ in
                var rowStart: [Int32] = [0], kept: [Int32] = []
                for row in 0..<Int32(offsets.count - 1) {
                    kept += (0..<Int32(offsets.count - 1)).filter {
                        $0 == row || Double(random.uniform()) < blockDensity
                    }
                    rowStart.append(Int32(kept.count))
                }
                return AttentionPlan.Head(
                    queryOffsets: offsets, keyOffsets: offsets, rowStart: rowStart, keyBlocks: kept)
            }
        }
        return plan
    }

    /// Runs once untimed, then `repeats` times.
    public func run(repeats: Int, pool: WorkPool, instructionSet: InstructionSet) -> Result {
        let (call, plan) = prepare(pool: pool, instructionSet: instructionSet)
        let kernel = AttentionKernel(instructionSet, operands: precision.dtype, precision: scores)
        let output = blockSparseAttention(call, plan, values: precision.dtype, kernel: kernel)
        let buffers = TensorPool()
        let timing = Timing(repeats: repeats) {
            _ = blockSparseAttention(call, plan, values: precision.dtype, kernel: kernel, buffers: buffers)
        }
        let density = plan.density(tokens: tokens)
        let flops = 4 * density * Double(heads) * Double(tokens) * Double(tokens) * Double(headDim)
        return Result(
            kernel: kernel.description,
            threads: pool.threads, density: density, timing: timing, flops: flops,
            teraflopsPerSecond: flops / timing.medianSeconds / 1e12, relativeError: error(of: output, call, plan))
    }

    /// Some sixteen rows of every head against the scalar kernel.
    private func error(of output: AttentionOutput, _ call: AttentionCall, _ plan: AttentionPlan) -> Double {
        let kernel = AttentionKernel(.scalar, operands: precision.dtype)
        let packed = PackedKeys(
            k: call.k, v: call.v,
            blocks: plan.heads.map { KeyBlocks(offsets: $0.keyOffsets, kernel: kernel) },
            kernel: kernel, pool: call.pool)
        let right = Tensor(.f32, [tokens, heads, headDim])
        let rows = stride(from: 0, to: tokens, by: max(1, tokens / 16)).map { $0 }
        call.pool.run(heads) { head, scratch in
            for row in rows {
                packed.attend(
                    head: head, q: HeadView(headMajor: call.q, head: head),
                    blocks: [QueryBlock(positions: row..<row + 1, kept: plan.head(head).kept(row / block))],
                    scale: call.scale,
                    out: HeadView(tokenMajor: right, head: head), scratch: scratch)
            }
        }
        var difference = 0.0, size = 0.0
        for row in rows {
            for (a, b) in zip(output.values[row].floats(), right[row].floats()) {
                difference += Double(a - b) * Double(a - b)
                size += Double(b) * Double(b)
            }
        }
        return (difference / size).squareRoot()
    }
}

/// What benchmarks are made of.
extension SplitMix64 {
    mutating func uniform() -> Float { Float(next() >> 40) * 0x1p-24 }

    /// A sum of four uniforms with mean 0 and variance 1: near enough to normal for timing.
    mutating func normal() -> Float {
        (uniform() + uniform() + uniform() + uniform() - 2) * 1.7320508
    }
}
