import VditTensor

/// A convolution over time that sees only the past: its kernel ends at the current frame.
///
/// Keeps the last two frames of its input. Two new frames at once cost four plane convolutions instead of
/// six: F(2, 3) of Winograd, "Arithmetic Complexity of Computations" (1980), along time.
struct CausalConvolution {
    private let tiled: TiledConvolution
    private let bias: Tensor
    private let reach: Int
    private let times: Int
    private var past: [Tensor?] = [nil, nil]

    /// - Parameter times: frames an output frame is made of, 3 or 1.
    init(
        _ convolution: PackedVAEConvolution, shortcut: PackedVAEConvolution? = nil, times: Int = 3,
        _ height: Int, _ width: Int, _ compute: ComputeContext
    ) throws(TensorError) {
        tiled = try TiledConvolution(
            convolution.weights, shortcut: shortcut?.weights, height: height, width: width, compute: compute)
        bias = shortcut.map { sum(convolution.bias, $0.bias) } ?? convolution.bias
        reach = convolution.weights.shape.kernel / 2
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

/// A causal convolution, `kernel` in time, height and width; after a norm and SiLU if there is a norm.
struct CausalStage: VAEStage {
    let convolution: VAEConvolution
    let norm: VAENorm?

    init(_ convolution: VAEConvolution, norm: VAENorm? = nil) {
        self.convolution = convolution
        self.norm = norm
    }

    var name: String { convolution.name }
    var tensors: [(name: String, shape: [Int])] { convolution.tensors + (norm?.tensors ?? []) }

    func flops(_ clip: VAEClip) -> Double { clip.flops(perPixel: convolution.weightCount) }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        let (from, to) = (convolution.from, convolution.to)
        return VAEMemory(
            kept: convolution.times > 1 ? 2 * clip.area * from * operandBytes : 0,
            passing: 2 * clip.area * (from * operandBytes + to * (4 + operandBytes)))
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let times = convolution.times
        // The pointwise convolutions at the latents are cheap and see every digit: fp32.
        let isPointwise = convolution.kernel.allSatisfy { $0 == 1 }
        let packed = try loader.convolution(convolution, operand: isPointwise ? .f32 : nil)
        let gamma = try norm.map { norm throws(TensorError) in try norm.load(loader) }
        return { height, width, compute throws(TensorError) in
            try CausalLayer(packed, times, gamma, height, width, compute)
        }
    }
}

private final class CausalLayer: VAELayer {
    private var convolution: CausalConvolution
    private let wanted: VAEDemand
    private let size: (height: Int, width: Int, channels: Int)

    init(
        _ packed: PackedVAEConvolution, _ times: Int, _ gamma: Tensor?, _ height: Int, _ width: Int,
        _ compute: ComputeContext
    ) throws(TensorError) {
        convolution = try CausalConvolution(packed, times: times, height, width, compute)
        wanted = VAEDemand(
            stream: false, operand: packed.operand,
            preparation: gamma.map { .activated(gamma: $0) } ?? .plain)
        size = (height, width, packed.outChannels)
    }

    func demand(before next: VAEDemand) -> VAEDemand { wanted }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let targets = group.frames.map { _ in session.target(size.height, size.width, size.channels, for: next) }
        try convolution(group.frames.compactMap(\.operand), into: targets)
        try emit(VAEGroup(frames: targets.map(\.frame), isFirst: group.isFirst))
    }
}
