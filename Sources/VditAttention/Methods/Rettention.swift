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

    init(
        window: Window, ratio: Ratio, refreshEvery: Int, positionsPerBlock: Int?, residualType: DType
    ) {
        self.window = window
        ratioRule = ratio
        self.refreshEvery = refreshEvery
        self.positionsPerBlock = positionsPerBlock
        self.residualType = residualType
    }

    /// Names of what is learned; the last is the step of the last refresh.
    private static let (ratio, residual, refreshed) = ("ratio", "residual", "refreshed-step")

    public var learns: [String] { [Self.ratio, Self.residual, Self.refreshed] }

    /// `heads · tokens · (headDim · bytes of the residual + 4)`, and the step.
    public func stateBytes(layout: TokenLayout, heads: Int, headDim: Int) -> Int {
        heads * layout.tokens * (headDim * residualType.byteCount + 4) + 4
    }

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        let positions = layout.tokensPerFrame
        var size = positionsPerBlock ?? max(1, (128 + layout.frames) / (2 * layout.frames))
        var offsets = AttentionPlan.offsets(tokens: positions, block: size)
        let half: Int
        var solved: [String: Double] = [:]
        switch window {
        case .kept(let share): half = Int(Double(positions) * share) / 2
        case .density(let density):
            // Finer blocks follow a density more closely.
            while positionsPerBlock == nil, size > 1, !Self.canReach(density, offsets, size, layout) {
                size /= 2
                offsets = AttentionPlan.offsets(tokens: positions, block: size)
            }
            half = try Self.solve(density, offsets, size, layout).half
            solved[Self.kept.name] = Double(2 * half) / Double(positions)
        }
        let blocks = try TokenBlocks(
            layout, videoOffsets: offsets.map { $0 * Int32(layout.frames) })
        let order = layout.order(ofVideo: layout.positionMajor())
        let reach = Self.reach(half, size)
        let count = offsets.count - 1
        let plan = AttentionPlan(heads: [
            .init(
                queries: blocks, keys: blocks, queryOrder: order, keyOrder: order,
                kept: { row in (max(0, row - reach)...min(count - 1, row + reach)).map(Int32.init) })
        ])
        return Planner(method: self, window: plan, density: plan.density(tokens: layout.tokens), solved: solved)
    }

    /// How many blocks away the nearest position of a block lies within the window.
    private static func reach(_ half: Int, _ size: Int) -> Int { (half + size - 1) / size }

    private static func canReach(_ density: Double, _ offsets: [Int32], _ size: Int, _ layout: TokenLayout) -> Bool {
        guard let found = try? solve(density, offsets, size, layout).density else { return false }
        return abs(found - density) <= ConfiguredMethod.densityTolerance
    }

    /// The half-width whose density comes nearest, and that density.
    private static func solve(
        _ density: Double, _ offsets: [Int32], _ size: Int, _ layout: TokenLayout
    ) throws(AttentionError) -> (half: Int, density: Double) {
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
        return (reach * size, layout.density(videoPairs: pairs(reach)))
    }

    private struct Planner: AttentionPlanner {
        let method: Rettention
        /// The plan of a sparse step, and its density.
        let window: AttentionPlan
        let density: Double
        let solved: [String: Double]

        var finishes: Bool { true }
        var layoutPlan: AttentionPlan? { window }
        var measuresForOneDensity: Bool { true }
        func lastMeasured(_ state: MethodState) -> Float? { state.last(Rettention.refreshed) }

        /// A refresh computes everything, and the window beside it.
        func predictedWork(step: Int, first: Int) -> Double? {
            let every = method.refreshEvery
            return step == first || step / every != (step - 1) / every ? 1 + density : density
        }

        func isRefresh(_ call: AttentionCall, _ state: MethodState) -> Bool { method.isRefresh(call, state) }

        func plan(_ call: AttentionCall, _ state: inout MethodState) throws(AttentionError) -> AttentionPlan {
            try method.check(state, call)
            return method.isRefresh(call, state) ? .dense(tokens: call.tokens) : window
        }

        func finish(
            _ output: inout AttentionOutput, of call: AttentionCall, by plan: AttentionPlan, _ state: inout MethodState,
            attend: (AttentionPlan) -> AttentionOutput
        ) {
            if method.isRefresh(call, state) {
                method.measure(output, of: call, window: attend(window), &state)
            } else {
                method.correct(output, of: call, &state)
            }
        }
    }

    private func isRefresh(_ call: AttentionCall, _ state: MethodState) -> Bool {
        guard state[Self.ratio] != nil, state[Self.residual] != nil,
            let step = state.last(Self.refreshed).flatMap({ Int(exactly: $0) })
        else { return true }
        return call.step / refreshEvery != step / refreshEvery
    }

    private func check(_ state: MethodState, _ call: AttentionCall) throws(AttentionError) {
        let expected: [(String, DType, [Int])] = [
            (Self.ratio, .f32, [call.heads, call.tokens]),
            (Self.residual, residualType, [call.tokens, call.heads, call.headDim]),
            (Self.refreshed, .f32, [1]),
        ]
        for (name, dtype, shape) in expected {
            if let tensor = state[name] { try MethodState.check(tensor, name, dtype, shape) }
        }
    }

    /// Learns what the window lacks of a dense output.
    private func measure(
        _ full: AttentionOutput, of call: AttentionCall, window: AttentionOutput, _ state: inout MethodState
    ) {
        let kernels = PlanningKernels(call.instructionSet)
        let measured = share(window.logSumExp, full.logSumExp)
        let difference = Tensor(residualType, full.values.shape)
        let parts = call.tokenParts
        call.pool.run(parts.count) { item, _ in
            kernels.residual(
                full: full.values, sparse: window.values, ratio: measured, tokens: parts[item], into: difference)
        }
        state[Self.ratio] = measured
        state[Self.residual] = difference
        state[Self.refreshed] = Tensor([Float(call.step)])
    }

    /// Completes a window's output by what was learned.
    private func correct(_ output: AttentionOutput, of call: AttentionCall, _ state: inout MethodState) {
        guard let ratio = state[Self.ratio], let residual = state[Self.residual] else { return }
        let kernels = PlanningKernels(call.instructionSet)
        let values = output.values
        let parts = call.tokenParts
        call.pool.run(parts.count) { item, _ in
            kernels.rescale(values, ratio: ratio, residual: residual, tokens: parts[item])
        }
        state[Self.ratio] = grown(ratio)
    }

    /// The share of each query's mass that the window holds; 1 where ratios are not used.
    private func share(_ sparse: Tensor, _ full: Tensor) -> Tensor {
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
            + DenseSchedule.options(steps: .fraction(0.3), layers: 0) + [RestChoice.option],
        presets: [
            .init(
                name: "wan",
                models: MethodDescription.Preset.smallWan + MethodDescription.Preset.allWan14B,
                source: "ours, to be validated: the authors ran none", settings: [kept(0.125)]),
            .init(
                name: "ltx", models: MethodDescription.Preset.ltx, source: "ours, to be validated",
                settings: [kept(0.125)]),
            .init(
                name: "cogvideox", models: MethodDescription.Preset.cogVideoX, source: "reference code, 50 steps",
                settings: [kept(0.03125), DenseSchedule.stepsOption(.count(15))]),
            .init(
                name: "reference", models: [], source: "the golden outputs: exact windows, ratio unbounded",
                settings: [
                    kept(0.03125), clamp(false), blockPositions(1), storedAs(.f32),
                    DenseSchedule.stepsOption(.count(15)),
                ]),
        ],
        shareOptions: [kept]
    ) { values, density in
        Rettention(
            window: density.map { .density($0) } ?? .kept(values[kept]),
            ratio: Ratio(
                isUsed: values[usesRatio], growth: Float(values[growth]), isClamped: values[clamp]),
            refreshEvery: values[refreshes], positionsPerBlock: values[blockPositions],
            residualType: values[storedAs] == .f32 ? .f32 : .bf16)
    }
}
