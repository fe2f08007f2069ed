import VditTensor

/// Nearest doubling of height and width, and of every frame but the clip's first where time doubles, and a causal
/// 3×3×3 convolution: as 2×2 kernels on the frames as they are, four for the parities of rows and columns. Missing
/// frames in front are the first.
///
/// Of a frame `f` that is doubled, with `p` the frame before it: the two frames made are `(k₀ + k₁) p + k₂ f` and
/// `k₀ p + (k₁ + k₂) f`, which is `K f` plus `(k₀ + k₁)(p − f)` and `k₀ (p − f)`, `K` being the sum of all three: three
/// products instead of six.
/// - Source: `HunyuanVideoUpsampleCausal3D`, diffusers 0.42.1.
struct EnlargeTimeStage: VAEStage {
    let convolution: VAEConvolution
    let doublesTime: Bool

    var name: String { convolution.name }
    var tensors: [(name: String, shape: [Int])] { convolution.tensors }

    func output(of clip: VAEClip) -> VAEClip {
        VAEClip(
            frames: doublesTime ? 2 * clip.frames - 1 : clip.frames, height: 2 * clip.height, width: 2 * clip.width)
    }

    func flops(_ clip: VAEClip) -> Double { output(of: clip).flops(perPixel: convolution.weightCount) }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        let made = output(of: clip)
        return VAEMemory(
            kept: 2 * clip.area * convolution.from * operandBytes,
            together: clip.frames * clip.area * convolution.from * operandBytes
                + made.frames * made.area * convolution.to * 4)
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let taps = try loader.planes(convolution).map(phases(of:))
        var panels: [Tensor] = []
        for phase in 0..<4 {
            let taps = taps.map { $0[phase] }
            panels += doublesTime
                ? [combine(taps, [1, 1, 1]), combine([taps[0], taps[1]], [1, 1]), taps[0]]
                : loader.panels(of: taps)
        }
        let packed = PackedVAEConvolution(
            weights: try loader.pack(panels, edge: convolution.edge), bias: try loader.bias(convolution))
        return { [doublesTime] height, width, session throws(TensorError) in
            try EnlargeTimeLayer(packed, doublesTime: doublesTime, height, width, session.compute)
        }
    }
}

private final class EnlargeTimeLayer: VAELayer {
    private let convolution: TimeConvolution
    private let doublesTime: Bool
    private let packed: PackedVAEConvolution
    private let size: (height: Int, width: Int, channels: Int)
    private var window = TimeWindow(.firstBefore)
    private var last: Tensor?

    init(
        _ packed: PackedVAEConvolution, doublesTime: Bool, _ height: Int, _ width: Int, _ compute: ComputeContext
    ) throws(TensorError) {
        convolution = try TimeConvolution(packed, height, width, compute)
        self.packed = packed
        self.doublesTime = doublesTime
        size = (height * 2, width * 2, packed.outChannels)
    }

    func demand(before next: VAEDemand) -> VAEDemand { VAEDemand(stream: nil, operand: packed.operand) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        if doublesTime { return try double(group, for: next, session, emit: emit) }
        let frames = window(group.frames, isLast: group.isLast).map(\.operand)
        try inTwos(group.frames.count, isLast: group.isLast) { range, isLast in
            let targets = range.map { _ in session.target(size.height, size.width, size.channels, for: next) }
            let needed = Array(frames[range.lowerBound..<range.upperBound + 2])
            try convolution.run(
                (0..<4).flatMap { phase in
                    convolution.programs(
                        needed, into: targets,
                        TimeConvolution.Phase(
                            panel: phase * TimeConvolution.panels, bias: packed.bias, scale: 2, row: phase / 2,
                            column: phase % 2, top: phase / 2 - 1, left: phase % 2 - 1))
                })
            try emit(VAEGroup(frames: targets.map(\.frame), isFirst: group.isFirst, isLast: isLast))
        }
    }

    private func double(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        for (index, frame) in group.frames.enumerated() {
            let targets = (last == nil ? 0..<1 : 0..<2).map { _ in
                session.target(size.height, size.width, size.channels, for: next)
            }
            try convolution.run((0..<4).map { program(frame.operand, phase: $0, into: targets) })
            let isFirst = last == nil
            last = frame.operand
            try emit(
                VAEGroup(
                    frames: targets.map(\.frame), isFirst: isFirst,
                    isLast: group.isLast && index == group.frames.count - 1))
        }
    }

    /// - Parameter targets: two, or one for the clip's first frame.
    private func program(_ frame: Tensor?, phase: Int, into targets: [FrameTarget]) -> ConvolutionProgram {
        let (row, column, panel) = (phase / 2, phase % 2, phase * 3)
        func input(_ first: Tensor?, plus second: Tensor? = nil) -> ConvolutionProgram.Input {
            .init(first, plus: second, sign: -1, top: row - 1, left: column - 1)
        }
        func output(_ target: FrameTarget, _ terms: [Int]) -> ConvolutionProgram.Output {
            .init(terms: terms, bias: packed.bias, target: target, scale: 2, row: row, column: column)
        }
        let whole = ConvolutionProgram.Product(input: 0, panel: panel)
        if targets.count == 1 {
            return ConvolutionProgram(inputs: [input(frame)], products: [whole], outputs: [output(targets[0], [0])])
        }
        return ConvolutionProgram(
            inputs: [input(frame), input(last, plus: frame)],
            products: [whole, .init(input: 1, panel: panel + 1), .init(input: 1, panel: panel + 2)],
            outputs: [output(targets[0], [0, 1]), output(targets[1], [0, 2])])
    }
}
