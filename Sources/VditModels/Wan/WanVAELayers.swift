import VditTensor

extension WanVAEStage {
    /// The stage ready for frames of one size.
    func start(
        _ weights: WanVAEWeights, height: Int, width: Int, _ compute: ComputeContext
    ) throws(TensorError) -> any WanVAELayer {
        switch (self, weights) {
        case (.causal, .causal(let convolution, let gamma)):
            return try CausalLayer(convolution, gamma, height, width, compute)
        case (.residual, .residual(let first, let second, let shortcut, let gammas)):
            return try ResidualLayer(first, second, shortcut, gammas, height, width, compute)
        case (.attention, .attention(let gamma, let qkv, let biases, let projection)):
            return try AttentionLayer(gamma, qkv, biases, projection, height, width, compute)
        case (.splitTime, .splitTime(let packed, let biases)):
            return try SplitTimeLayer(packed, biases, height, width, compute)
        case (.mergeTime, .mergeTime(let convolution)):
            return try MergeTimeLayer(convolution, height, width, compute)
        case (.enlarge(_, _, _, let shortcut), .enlarge(let convolution)):
            return try EnlargeLayer(convolution, shortcut, height, width, compute)
        case (.shrink, .shrink(let convolution)):
            return try ShrinkLayer(convolution, height / 2, width / 2, compute)
        case (.average(_, let to, let frames, let factor), _):
            return AverageLayer(channels: to, frames: frames, factor: factor)
        case (.remember, _): return RememberLayer()
        case (.pair, _): return PairLayer()
        default: preconditionFailure("weights of another stage")
        }
    }
}

/// A convolution over time that sees only the past: its kernel ends at the current frame.
///
/// Keeps the last two frames of its input. Two new frames at once cost four plane convolutions instead of
/// six: F(2, 3) of Winograd, "Arithmetic Complexity of Computations" (1980), along time.
private struct CausalConvolution {
    private let tiled: TiledConvolution
    private let bias: Tensor
    private let reach: Int
    private let times: Int
    private var past: [Tensor?] = [nil, nil]

    init(
        _ weights: WanVAEWeights.Convolution, shortcut: WanVAEWeights.Convolution? = nil, times: Int = 3,
        _ height: Int, _ width: Int, _ compute: ComputeContext
    ) throws(TensorError) {
        tiled = try TiledConvolution(
            weights.packed, shortcut: shortcut?.packed, height: height, width: width, compute: compute)
        bias = shortcut.map { sum(weights.bias, $0.bias) } ?? weights.bias
        reach = weights.packed.shape.kernel / 2
        self.times = times
    }

    mutating func callAsFunction(
        _ frames: [Tensor], into targets: [FrameTarget], adding addends: [ConvolutionProgram.Addend] = []
    ) throws(TensorError) {
        let all = past + frames
        var programs: [ConvolutionProgram] = []
        if times == 3, frames.count == 2, reach > 0 {
            programs = [fast(all, targets, addends)]
        } else {
            for (index, target) in targets.enumerated() {
                let window = times == 3 ? Array(all[index...index + 2]) : [frames[index]]
                let taps = window.indices.filter { window[$0] != nil }
                programs.append(
                    ConvolutionProgram(
                        inputs: taps.map { .init(window[$0], top: -reach, left: -reach) },
                        products: taps.enumerated().map { .init(input: $0.offset, panel: $0.element) },
                        outputs: [
                            .init(
                                terms: Array(taps.indices), bias: bias,
                                addend: addends.isEmpty ? .none : addends[index], target: target)
                        ]))
            }
        }
        try tiled.run(programs)
        if times == 3 { past = all.suffix(2) }
    }

    private func fast(
        _ frames: [Tensor?], _ targets: [FrameTarget], _ addends: [ConvolutionProgram.Addend]
    ) -> ConvolutionProgram {
        func input(_ first: Int, _ sign: Float, _ second: Int) -> ConvolutionProgram.Input {
            .init(frames[first], plus: frames[second], sign: sign, top: -reach, left: -reach)
        }
        func output(_ index: Int, _ terms: [Int], _ sign: Float) -> ConvolutionProgram.Output {
            .init(
                terms: terms, sign: sign, bias: bias, addend: addends.isEmpty ? .none : addends[index],
                target: targets[index])
        }
        return ConvolutionProgram(
            inputs: [input(0, -1, 2), input(1, 1, 2), input(2, -1, 1), input(1, -1, 3)],
            products: [
                .init(input: 0, panel: 0), .init(input: 1, panel: 3), .init(input: 2, panel: 4),
                .init(input: 3, panel: 2),
            ],
            outputs: [output(0, [1, 2, 0], 1), output(1, [1, 2, 3], -1)])
    }
}

private func sum(_ a: Tensor, _ b: Tensor) -> Tensor {
    Tensor(zip(a.floats(), b.floats()).map { $0 + $1 })
}

private final class CausalLayer: WanVAELayer {
    private var convolution: CausalConvolution
    private let wanted: WanVAEDemand
    private let size: (height: Int, width: Int, channels: Int)

    init(
        _ weights: WanVAEWeights.Convolution, _ gamma: Tensor?, _ height: Int, _ width: Int,
        _ compute: ComputeContext
    ) throws(TensorError) {
        convolution = try CausalConvolution(
            weights, times: weights.packed.shape.kernel == 1 ? 1 : 3, height, width, compute)
        wanted = WanVAEDemand(
            stream: false, operand: weights.packed.operand,
            preparation: gamma.map { .activated(gamma: $0) } ?? .plain)
        size = (height, width, weights.packed.shape.outChannels)
    }

    func demand(before next: WanVAEDemand) -> WanVAEDemand { wanted }

    func step(
        _ group: WanVAEGroup, for next: WanVAEDemand, _ session: WanVAESession,
        emit: (WanVAEGroup) throws -> Void
    ) throws {
        let targets = group.frames.map { _ in session.target(size.height, size.width, size.channels, for: next) }
        try convolution(group.frames.compactMap(\.operand), into: targets)
        try emit(WanVAEGroup(frames: targets.map(\.frame), isFirst: group.isFirst))
    }
}

/// `shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))))))`. The first convolution's output exists only
/// normalised and activated, as the second one's input.
private final class ResidualLayer: WanVAELayer {
    private var first: CausalConvolution
    private var second: CausalConvolution
    private let hasShortcut: Bool
    private let gammas: [Tensor]
    private let operand: DType
    private let size: (height: Int, width: Int, channels: Int)

    init(
        _ first: WanVAEWeights.Convolution, _ second: WanVAEWeights.Convolution,
        _ shortcut: WanVAEWeights.Convolution?, _ gammas: [Tensor], _ height: Int, _ width: Int,
        _ compute: ComputeContext
    ) throws(TensorError) {
        self.first = try CausalConvolution(first, height, width, compute)
        self.second = try CausalConvolution(second, shortcut: shortcut, height, width, compute)
        hasShortcut = shortcut != nil
        self.gammas = gammas
        operand = first.packed.operand
        size = (height, width, first.packed.shape.outChannels)
    }

    func demand(before next: WanVAEDemand) -> WanVAEDemand {
        WanVAEDemand(stream: true, operand: operand, preparation: .activated(gamma: gammas[0]))
    }

    func step(
        _ group: WanVAEGroup, for next: WanVAEDemand, _ session: WanVAESession,
        emit: (WanVAEGroup) throws -> Void
    ) throws {
        let between = WanVAEDemand(
            stream: false, operand: operand, preparation: .activated(gamma: gammas[1]))
        let middle = group.frames.map { _ in session.target(size.height, size.width, size.channels, for: between) }
        try first(group.frames.compactMap(\.operand), into: middle)
        let streams = group.frames.compactMap(\.stream)
        let targets = streams.map {
            session.target(
                size.height, size.width, size.channels, for: next,
                reusing: hasShortcut || !group.remembered.isEmpty ? nil : $0)
        }
        try second(
            middle.compactMap(\.operand), into: targets,
            adding: streams.map { hasShortcut ? .shortcut($0) : .frame($0) })
        try emit(
            WanVAEGroup(frames: targets.map(\.frame), remembered: group.remembered, isFirst: group.isFirst))
    }
}

/// Single-head attention over each frame's pixels, added to its input.
private final class AttentionLayer: WanVAELayer {
    private let gamma: Tensor
    private let qkv: TiledConvolution
    private let biases: [Tensor]
    private let attention: FrameAttention
    private let projection: TiledConvolution
    private let projectionBias: Tensor
    private let operand: DType
    private let size: (height: Int, width: Int, channels: Int)

    init(
        _ gamma: Tensor, _ qkv: ConvolutionWeights, _ biases: [Tensor],
        _ projection: WanVAEWeights.Convolution, _ height: Int, _ width: Int, _ compute: ComputeContext
    ) throws(TensorError) {
        self.gamma = gamma
        self.qkv = try TiledConvolution(qkv, height: height, width: width, compute: compute)
        self.biases = biases
        attention = try FrameAttention(pixels: height * width, channels: gamma.count, compute: compute)
        self.projection = try TiledConvolution(
            projection.packed, height: height, width: width, compute: compute)
        projectionBias = projection.bias
        operand = qkv.operand
        size = (height, width, gamma.count)
    }

    func demand(before next: WanVAEDemand) -> WanVAEDemand {
        WanVAEDemand(stream: true, operand: operand, preparation: .normalized(gamma: gamma))
    }

    func step(
        _ group: WanVAEGroup, for next: WanVAEDemand, _ session: WanVAESession,
        emit: (WanVAEGroup) throws -> Void
    ) throws {
        let (height, width, channels) = size
        var frames: [WanVAEGroup.Frame] = []
        for frame in group.frames {
            guard let stream = frame.stream else { preconditionFailure("attention needs the stream") }
            let plain = WanVAEDemand(stream: false, operand: operand)
            let parts = biases.map { _ in session.target(height, width, channels, for: plain) }
            try qkv.run([
                ConvolutionProgram(
                    inputs: [.init(frame.operand, top: 0, left: 0)],
                    products: parts.indices.map { .init(input: 0, panel: $0) },
                    outputs: parts.indices.map { .init(terms: [$0], bias: biases[$0], target: parts[$0]) })
            ])
            let rows = parts.compactMap { $0.operand?.reshaped([height * width, channels]) }
            let out = session.tensors.tensor(operand, [height, width, channels])
            try attention.attend(
                q: rows[0], k: rows[1], v: rows[2], into: out.reshaped([height * width, channels]))
            let target = session.target(
                height, width, channels, for: next, reusing: group.remembered.isEmpty ? stream : nil)
            try projection.run([
                ConvolutionProgram(
                    inputs: [.init(out, top: 0, left: 0)], products: [.init(input: 0, panel: 0)],
                    outputs: [.init(terms: [0], bias: projectionBias, addend: .frame(stream), target: target)])
            ])
            frames.append(target.frame)
        }
        try emit(WanVAEGroup(frames: frames, remembered: group.remembered, isFirst: group.isFirst))
    }
}
