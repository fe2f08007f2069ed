import Glibc
import VditTensor

/// Attends through a narrow window at the same position of every frame, and repairs what the window changed
/// from occasional dense steps: each query's softmax is scaled back by the share of mass the window held
/// there, and what the dropped keys contributed then is added.
///
/// - Source: Chen, Mills, Jiang, Gao, Niu, Re-ttention: Ultra Sparse Visual Generation via Attention
///   Statistical Reshape, arXiv 2505.22918; cccrrrccc/Re-ttention.
/// - Differs: the ratio never exceeds 1 (`clamp=on`): in the reference rows that keep everything grow at
///   every sparse step. State is kept per guidance branch and follows the step index rather than counting
///   calls; a sparse step without state refreshes. Windows are rounded to blocks of positions, the ratio and
///   the residual being measured with the same blocks. The residual is kept before the output projection.
public struct Rettention: SparseMethod {
    public static let name = "rettention"

    enum Window: Sendable, Equatable {
        /// Share of the positions of a frame; half of it, rounded down, lies on either side.
        case kept(Double)
        case density(Double)
    }

    /// Whether the sparse softmax is scaled by the measured ratio, and how it grows after each use.
    struct Ratio: Sendable, Equatable {
        var isUsed = true
        var growth: Float = 0.04
        var isClamped = true
    }

    private let window: Window
    private let ratioRule: Ratio
    private let refreshEvery: Int
    /// Nil is `auto`.
    private let positionsPerBlock: Int?
    private let residualType: DType
    private var prepared: (layout: TokenLayout, plan: AttentionPlan, half: Int)?
    private var ratio: Tensor?
    private var residual: Tensor?
    /// The step of the last refresh.
    private var refreshed: Tensor?
    private var isRefresh = false

    init(
        window: Window, ratio: Ratio, refreshEvery: Int, positionsPerBlock: Int?, residualType: DType
    ) {
        self.window = window
        ratioRule = ratio
        self.refreshEvery = refreshEvery
        self.positionsPerBlock = positionsPerBlock
        self.residualType = residualType
    }

    public var learned: [String: Tensor] {
        get {
            var learned: [String: Tensor] = [:]
            learned["ratio"] = ratio
            learned["residual"] = residual
            learned["refreshed-step"] = refreshed
            return learned
        }
        set {
            ratio = newValue["ratio"]
            residual = newValue["residual"]
            refreshed = newValue["refreshed-step"]
        }
    }

    public var finishes: Bool { true }

    /// The plan of a sparse step.
    public var layoutPlan: AttentionPlan? { prepared?.plan }

    public var solved: [String: Double] {
        guard case .density = window, let prepared else { return [:] }
        return ["kept": Double(2 * prepared.half) / Double(prepared.layout.tokensPerFrame)]
    }

    /// A refresh computes everything, and the window beside it.
    public func predictedWork(step: Int, first: Int) -> Double? {
        guard let prepared else { return nil }
        let window = prepared.plan.density(tokens: prepared.layout.tokens)
        let isRefresh = step == first || step / refreshEvery != (step - 1) / refreshEvery
        return isRefresh ? 1 + window : window
    }

    /// `heads · tokens · (headDim · bytes of the residual + 4)`, and the step.
    public func stateBytes(layout: TokenLayout, heads: Int, headDim: Int) -> Int {
        heads * layout.tokens * (headDim * residualType.byteCount + 4) + 4
    }

    public mutating func prepare(for layout: TokenLayout) throws(AttentionError) {
        let positions = layout.tokensPerFrame
        let size = positionsPerBlock ?? max(1, (128 + layout.frames) / (2 * layout.frames))
        let offsets = AttentionPlan.offsets(tokens: positions, block: size)
        let half: Int
        switch window {
        case .kept(let share): half = Int(Double(positions) * share) / 2
        case .density(let density): half = try Self.solve(density, offsets, size, layout)
        }
        let blocks = TokenBlocks(
            layout, videoOffsets: offsets.map { $0 * Int32(layout.frames) })
        let order = layout.order(ofVideo: layout.positionMajor())
        let reach = Self.reach(half, size)
        let count = offsets.count - 1
        prepared = (
            layout,
            AttentionPlan(heads: [
                .init(
                    queries: blocks, keys: blocks, queryOrder: order, keyOrder: order,
                    kept: { row in
                        (max(0, row - reach)...min(count - 1, row + reach)).map(Int32.init)
                    })
            ]), half
        )
    }

    /// How many blocks away the nearest position of a block lies within the window.
    private static func reach(_ half: Int, _ size: Int) -> Int { (half + size - 1) / size }

    /// The half-width whose density comes nearest.
    private static func solve(
        _ density: Double, _ offsets: [Int32], _ size: Int, _ layout: TokenLayout
    ) throws(AttentionError) -> Int {
        let wanted = layout.videoPairs(density: density)
        let count = offsets.count - 1
        let frames = Double(layout.frames)
        func pairs(_ reach: Int) -> Double {
            (0..<count).reduce(0) { total, row in
                let keys = offsets[min(count, row + reach + 1)] - offsets[max(0, row - reach)]
                return total + frames * frames * Double(keys) * Double(offsets[row + 1] - offsets[row])
            }
        }
        let least = pairs(0)
        // Half a block of slack: the nearest density is what was asked for.
        if wanted < least - (pairs(1) - least) / 2 || (wanted < least && count == 1) {
            throw .unreachableDensity(
                density, method: name, reachable: layout.density(videoPairs: least)...1)
        }
        var low = 0
        var high = count
        while high - low > 1 {
            let middle = (low + high) / 2
            if pairs(middle) <= wanted { low = middle } else { high = middle }
        }
        let reach = wanted - pairs(low) <= pairs(high) - wanted ? low : high
        return reach * size
    }

    public mutating func plan(_ call: AttentionCall) throws(AttentionError) -> AttentionPlan {
        if prepared?.layout != call.layout { try prepare(for: call.layout) }
        try checkState(call)
        isRefresh = true
        if ratio != nil, residual != nil, let last = refreshed?.floats().first {
            isRefresh = call.step / refreshEvery != Int(last) / refreshEvery
        }
        guard !isRefresh, let prepared else { return .dense(tokens: call.tokens) }
        return prepared.plan
    }

    private func checkState(_ call: AttentionCall) throws(AttentionError) {
        let expected: [(String, Tensor?, DType, [Int])] = [
            ("ratio", ratio, .f32, [call.heads, call.tokens]),
            ("residual", residual, residualType, [call.tokens, call.heads, call.headDim]),
            ("refreshed-step", refreshed, .f32, [1]),
        ]
        for (name, tensor, dtype, shape) in expected {
            if let tensor, tensor.dtype != dtype || tensor.shape != shape {
                throw .state(
                    name, found: "\(tensor.dtype.rawValue) \(tensor.shape)",
                    expected: "\(dtype.rawValue) \(shape)")
            }
        }
    }

    public mutating func finish(
        _ output: inout AttentionOutput, of call: AttentionCall,
        attend: (AttentionPlan) -> AttentionOutput
    ) throws(AttentionError) {
        let kernels = PlanningKernels(call.instructionSet)
        let chunk = 256
        let chunks = (call.tokens + chunk - 1) / chunk
        let tokens = { @Sendable (item: Int) in item * chunk..<min((item + 1) * chunk, call.tokens) }

        if isRefresh, let prepared {
            let full = output
            let sparse = attend(prepared.plan)
            let measured = measure(sparse.logSumExp, full.logSumExp)
            let difference = Tensor(residualType, full.values.shape)
            call.pool.run(chunks) { item, _ in
                kernels.residual(
                    full: full.values, sparse: sparse.values, ratio: measured, tokens: tokens(item),
                    into: difference)
            }
            ratio = measured
            residual = difference
            refreshed = Tensor([Float(call.step)])
        } else if let ratio, let residual {
            let values = output.values
            call.pool.run(chunks) { item, _ in
                kernels.rescale(values, ratio: ratio, residual: residual, tokens: tokens(item))
            }
            self.ratio = grown(ratio)
        }
    }

    /// The share of each query's mass that the window holds; 1 where ratios are not used.
    private func measure(_ sparse: Tensor, _ full: Tensor) -> Tensor {
        let result = Tensor(.f32, full.shape)
        result.withMutableFloats { result in
            sparse.withFloats { sparse in
                full.withFloats { full in
                    for row in result.indices {
                        result[row] = ratioRule.isUsed ? min(1, expf(sparse[row] - full[row])) : 1
                    }
                }
            }
        }
        return result
    }

    private func grown(_ ratio: Tensor) -> Tensor {
        guard ratioRule.isUsed else { return ratio }
        let result = ratio.copy()
        result.withMutableFloats { result in
            for row in result.indices {
                let next = result[row] + ratioRule.growth
                result[row] = ratioRule.isClamped ? min(next, 1) : next
            }
        }
        return result
    }

    /// What the cached residual is stored in.
    private enum ResidualType: String, Sendable, CaseIterable { case bf16, f32 }

    private static let kept = MethodOption(
        "kept", .number(0...2), default: 0.0625, "share of a frame's positions in the window")
    private static let refreshes = MethodOption(
        "refresh-every", .integer(1...1000), default: 5,
        "a dense step, measuring anew, at every multiple of this")
    private static let growth = MethodOption(
        "growth", .number(0...1), default: 0.04, "added to the ratio after each sparse step")
    private static let clamp = MethodOption("clamp", .onOff, default: true, "the ratio never exceeds 1")
    private static let usesRatio = MethodOption(
        "ratio", .onOff, default: true, "off: the residual alone, without rescaling")
    private static let blockPositions = MethodOption(
        "positions-per-block", .automaticInteger(1...4096), default: nil,
        "positions of a block, each in all frames; auto is about 64 tokens")
    private static let storedAs = MethodOption<ResidualType>(
        "residual-type", .choice, default: .bf16, "what the cached residual is stored in")

    static let description = MethodDescription(
        name: name,
        summary: "narrow window in every frame, rescaled and completed from occasional dense steps",
        paper: .init(
            title: "Re-ttention: Ultra Sparse Visual Generation via Attention Statistical Reshape",
            arXiv: "2505.22918"),
        options: [kept, refreshes, growth, clamp, usesRatio, blockPositions, storedAs]
            + DenseSchedule.options(steps: .fraction(0.3), layers: 0),
        presets: [
            .init(
                name: "wan",
                models: MethodDescription.Preset.smallWan
                    + [MethodDescription.Preset.wan14B, MethodDescription.Preset.wanA14B],
                source: "ours, to be validated: the authors ran none", settings: [kept(0.125)]),
            .init(
                name: "cogvideox", models: ["cogvideox"], source: "reference code, 50 steps",
                settings: [kept(0.03125), DenseSchedule.stepsOption(.count(15))]),
            .init(
                name: "reference", models: [], source: "the golden outputs: exact windows, ratio unbounded",
                settings: [
                    kept(0.03125), clamp(false), blockPositions(1), storedAs(.f32),
                    DenseSchedule.stepsOption(.count(15)),
                ]),
        ],
        densityOptions: [kept]
    ) { values, density in
        Rettention(
            window: density.map { .density($0) } ?? .kept(values[kept]),
            ratio: Ratio(
                isUsed: values[usesRatio], growth: Float(values[growth]), isClamped: values[clamp]),
            refreshEvery: values[refreshes], positionsPerBlock: values[blockPositions],
            residualType: values[storedAs] == .f32 ? .f32 : .bf16)
    }
}
