import Glibc
import VditTensor

/// What sparse attention costs beside the pairs it keeps: the kernel's efficiency on random block masks, and
/// the planning of each method, all against dense attention of the same size.
public struct SparseBenchmark: Sendable {
    public var heads: Int
    public var headDim: Int
    public var layout: TokenLayout
    public var precision: Precision
    public var seed: UInt64

    public init(heads: Int, headDim: Int, layout: TokenLayout, precision: Precision, seed: UInt64 = 0) {
        self.heads = heads
        self.headDim = headDim
        self.layout = layout
        self.precision = precision
        self.seed = seed
    }

    public struct KernelRow: Sendable, Codable {
        /// Tokens of a query and of a key block.
        public let block: Int
        /// Whether the means of the blocks left out stand for them.
        public let isPooled: Bool
        /// Token pairs computed over all, means included.
        public let density: Double
        public let timing: Timing
        /// Its fastest time over `density ·` the fastest dense one: 1 is proportional to the work.
        public let overhead: Double
    }

    public struct MethodRow: Sendable, Codable {
        public let method: String
        public let density: Double
        /// Planning, and what `finish` does beside the kernel; after a first call, as in a run.
        public let planning: Timing
        /// Seconds of the first call, where clustering starts from nothing.
        public let firstPlanningSeconds: Double
        /// What gathering keys and values in the plan's order and blocks takes longer than in sequence.
        public let permutationSeconds: Double
        /// The kernel, packing of keys included, and dense attention timed between its steps.
        public let attention: Timing
        public let dense: Timing
        /// The kernel's fastest time over `density ·` the fastest dense one.
        public let overhead: Double
        /// Planning and permutation over dense attention, medians.
        public let planningShare: Double
    }

    /// A method that could not be timed, and why.
    public struct Refusal: Sendable, Codable {
        public let method: String
        public let reason: String
    }

    public struct Result: Sendable, Codable {
        public let tokens: Int
        public let threads: Int
        public let instructionSet: String
        public let dense: Timing
        public let kernel: [KernelRow]
        public let methods: [MethodRow]
        public let refused: [Refusal]
    }

    /// - Parameters:
    ///   - blocks: and `densities`: random masks to time, all pairs of both, with the rest dropped and pooled.
    ///   - methods: each without dense steps; called for step after step. What the size does not suit is refused.
    ///   - repeats: timed runs of each, dense and sparse ones alternating.
    public func run(
        blocks: [Int], densities: [Double], methods: [ConfiguredMethod], repeats: Int, pool: WorkPool,
        instructionSet: InstructionSet
    ) throws(AttentionError) -> Result {
        func random(_ block: Int, _ density: Double) -> AttentionPlan {
            var random = SplitMix64(seed: seed)
            return AttentionBenchmark(
                heads: heads, tokens: layout.tokens, headDim: headDim, precision: precision, block: block,
                blockDensity: density
            ).plan(&random)
        }
        let densePlan = AttentionPlan.dense(tokens: layout.tokens)
        let call = video(pool, instructionSet)
        let masks = blocks.flatMap { block in
            densities.flatMap { density in
                let plan = random(block, density)
                return [(block, false, plan), (block, true, plan.with(rest: .pooled(run: nil)))]
            }
        }
        let buffers = TensorPool()
        var denseSeconds: [Double] = []
        var maskSeconds = [[Double]](repeating: [], count: masks.count)
        for round in 0...max(1, repeats) {
            let dense = seconds { _ = blockSparseAttention(call, densePlan, values: precision.dtype, buffers: buffers) }
            if round > 0 { denseSeconds.append(dense) }
            for (index, (_, _, plan)) in masks.enumerated() {
                let sparse = seconds { _ = blockSparseAttention(call, plan, values: precision.dtype, buffers: buffers) }
                if round > 0 { maskSeconds[index].append(sparse) }
            }
        }
        let dense = Timing(seconds: denseSeconds)
        let kernel = zip(masks, maskSeconds).map { mask, seconds in
            let density = mask.2.density(tokens: layout.tokens)
            let timing = Timing(seconds: seconds)
            return KernelRow(
                block: mask.0, isPooled: mask.1, density: density, timing: timing,
                overhead: timing.fastestSeconds / (density * dense.fastestSeconds))
        }
        var rows: [MethodRow] = []
        var refused: [Refusal] = []
        for method in methods {
            do throws(AttentionError) {
                rows.append(try run(method, call, densePlan, repeats))
            } catch {
                refused.append(Refusal(method: method.name, reason: "\(error)"))
            }
        }
        return Result(
            tokens: layout.tokens, threads: pool.threads, instructionSet: "\(instructionSet)", dense: dense,
            kernel: kernel, methods: rows, refused: refused)
    }

    /// A call with operands as a video's are: a token is most like those near it. Its query and its key are the same
    /// random waves of its place, and noise, so that a score falls with the distance as a Gaussian does, from 8 or so
    /// in the middle, of another width in frames and in pixels for each head.
    ///
    /// - Source: Rahimi, Recht, Random Features for Large-Scale Kernel Machines, NeurIPS 2007 (the waves).
    private func video(_ pool: WorkPool, _ instructionSet: InstructionSet) -> AttentionCall {
        let shape = [heads, layout.tokens, headDim]
        let operands = (0..<3).map { _ in Tensor(.f32, shape) }
        pool.run(heads) { head, _ in
            var random = SplitMix64(seed: seed &+ UInt64(head) &* 0x9e37_79b9)
            let widths: [Float] = [[1, 4][head % 2], [3, 6, 12][head % 3], [3, 6, 12][head % 3]]
            let waves = (0..<headDim).map { _ in widths.map { random.normal() / $0 } + [2 * .pi * random.uniform()] }
            let power = min(1, 8 / Float(headDim).squareRoot())
            let (signal, noise) = ((2 * power).squareRoot(), (1 - power).squareRoot())
            let rows = operands.map { $0[head].pointer(as: Float.self) }
            var at = 0
            for frame in 0..<layout.frames {
                for row in 0..<layout.height {
                    for column in 0..<layout.width {
                        for wave in waves {
                            let place = wave[0] * Float(frame) + wave[1] * Float(row) + wave[2] * Float(column)
                            let value = signal * cosf(place + wave[3])
                            for rows in rows { rows[at] = value + noise * random.normal() }
                            at += 1
                        }
                    }
                }
            }
        }
        let typed = operands.map { $0.converted(to: precision.dtype) }
        return AttentionCall(
            q: typed[0], k: typed[1], v: typed[2], layout: layout,
            site: AttentionSite(layer: 0, branch: .conditional), step: 0, steps: 1, pool: pool,
            instructionSet: instructionSet)
    }

    private func run(
        _ method: ConfiguredMethod, _ call: AttentionCall, _ densePlan: AttentionPlan, _ repeats: Int
    ) throws(AttentionError) -> MethodRow {
        let context = try AttentionContext(method, layout: layout)
        let trained = try trained(like: call, context.trained)
        // The last is the sparse one, in a refresh too.
        var plan = densePlan
        context.observer = { plan = $0.plans.last ?? plan }
        let buffers = TensorPool()
        var rows: [AttentionStatistics.Row] = []
        var denseSeconds: [Double] = []
        let count = max(1, repeats) + 1
        for step in 0..<count {
            _ = try context.attend(
                AttentionCall(
                    q: call.q, k: call.k, v: call.v, gate: trained.gate, projection: trained.projection,
                    layout: layout, site: call.site, step: step, steps: count,
                    pool: call.pool, instructionSet: call.instructionSet))
            rows += context.statistics.rows.suffix(1)
            if step > 0 {
                denseSeconds.append(
                    seconds { _ = blockSparseAttention(call, densePlan, values: precision.dtype, buffers: buffers) })
            }
        }
        let density = plan.density(tokens: layout.tokens)
        let planning = Timing(seconds: rows.dropFirst().map(\.planningSeconds))
        let sparse = rows.dropFirst().filter { $0.fullCalls == 0 }
        let attention = Timing(
            seconds: (sparse.isEmpty ? Array(rows.dropFirst()) : sparse).map(\.attentionSeconds))
        let dense = Timing(seconds: denseSeconds)
        let permutation = max(0, packing(plan, call, repeats) - packing(densePlan, call, repeats))
        return MethodRow(
            method: method.name, density: density, planning: planning,
            firstPlanningSeconds: rows[0].planningSeconds, permutationSeconds: permutation,
            attention: attention, dense: dense,
            overhead: attention.fastestSeconds / (density * dense.fastestSeconds),
            planningShare: (planning.medianSeconds + permutation) / dense.medianSeconds)
    }

    /// What a checkpoint brings for its own sparse attention, of other numbers: they take as long.
    private func trained(
        like call: AttentionCall, _ kind: TrainedAttention?
    ) throws(AttentionError) -> (gate: Tensor?, projection: Linear?) {
        switch kind {
        case nil: return (nil, nil)
        case .gates: return (call.q.reshaped([call.tokens, call.heads, call.headDim]), nil)
        case .projections:
            let zeros = Tensor(.f32, [call.headDim, call.headDim])
            let layer = try tensorWork { () throws(TensorError) in
                try Linear(weights: [zeros], biases: [], operand: .f32, on: call.instructionSet)
            }
            return (nil, layer)
        }
    }

    private func packing(_ plan: AttentionPlan, _ call: AttentionCall, _ repeats: Int) -> Double {
        let kernel = AttentionKernel(call.instructionSet, operands: precision.dtype)
        let blocks = plan.heads.map { KeyBlocks(order: $0.keyOrder, offsets: $0.keyOffsets, kernel: kernel) }
        let buffers = TensorPool()
        return Timing(repeats: repeats) {
            _ = PackedKeys(
                k: call.k, v: call.v, blocks: blocks, kernel: kernel, pool: call.pool, buffers: buffers)
        }.medianSeconds
    }

    private func seconds(_ body: () -> Void) -> Double {
        let start = ContinuousClock.now
        body()
        return start.secondsUntilNow
    }
}
