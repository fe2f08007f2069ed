import VditTensor

/// One stage's weights, packed for the convolutions it makes of them.
enum WanVAEWeights: Sendable {
    /// Panels: the taps; and, of three, the two combinations the fast algorithm needs.
    struct Convolution: Sendable {
        let packed: ConvolutionWeights
        let bias: Tensor
    }

    case causal(Convolution, gamma: Tensor?)
    case residual(first: Convolution, second: Convolution, shortcut: Convolution?, gammas: [Tensor])
    case attention(gamma: Tensor, qkv: ConvolutionWeights, biases: [Tensor], projection: Convolution)
    case splitTime(ConvolutionWeights, biases: [Tensor])
    case mergeTime(Convolution)
    case enlarge(Convolution)
    case shrink(Convolution)
    case none

    init(
        _ stage: WanVAEStage, from source: any WeightSource, operand: DType
    ) throws(TensorError) {
        let loader = Loader(source: source, operand: operand)
        switch stage {
        case .causal(let name, _, _, let kernel, let norm):
            // The pointwise convolutions at the latents are cheap and see every digit: fp32.
            self = .causal(
                try loader.causal(name, operand: kernel == 1 ? .f32 : operand),
                gamma: try norm.map { name throws(TensorError) in try loader.vector(name + ".gamma") })
        case .residual(let name, let from, let to):
            self = .residual(
                first: try loader.causal(name + ".conv1", operand: operand),
                second: try loader.causal(name + ".conv2", operand: operand),
                shortcut: from == to ? nil : try loader.causal(name + ".conv_shortcut", operand: operand),
                gammas: [try loader.vector(name + ".norm1.gamma"), try loader.vector(name + ".norm2.gamma")])
        case .attention(let name, let channels):
            let projection = try loader.planes(name + ".proj.weight")
            let qkv = try loader.planes(name + ".to_qkv.weight")[0].thirds(channels)
            let shape = ConvolutionShape(inChannels: channels, outChannels: channels, kernel: 1)
            self = .attention(
                gamma: try loader.vector(name + ".norm.gamma"),
                qkv: try ConvolutionWeights(shape, panels: qkv, operand: operand),
                biases: try loader.vector(name + ".to_qkv.bias").thirds(channels),
                projection: Convolution(
                    packed: try ConvolutionWeights(shape, panels: projection, operand: operand),
                    bias: try loader.vector(name + ".proj.bias")))
        case .splitTime(let name, let channels):
            let bias = try loader.vector(name + ".bias")
            let taps = try loader.planes(name + ".weight")
            let halves = [0..<channels, channels..<2 * channels]
            self = .splitTime(
                try ConvolutionWeights(
                    ConvolutionShape(inChannels: channels, outChannels: channels, kernel: 1),
                    panels: halves.flatMap { half in taps.map { $0.slice(half) } }, operand: operand),
                biases: halves.map { bias.slice($0) })
        case .mergeTime(let name, _):
            self = .mergeTime(try loader.causal(name, operand: operand))
        case .enlarge(let name, let from, let to, _):
            let panels = phases(of: try loader.planes(name + ".weight")[0])
            self = .enlarge(
                Convolution(
                    packed: try ConvolutionWeights(
                        ConvolutionShape(inChannels: from, outChannels: to, kernel: 2), panels: panels,
                        operand: operand), bias: try loader.vector(name + ".bias")))
        case .shrink(let name, let channels):
            self = .shrink(
                Convolution(
                    packed: try ConvolutionWeights(
                        ConvolutionShape(inChannels: channels, outChannels: channels, kernel: 3, stride: 2),
                        panels: try loader.planes(name + ".weight"), operand: operand),
                    bias: try loader.vector(name + ".bias")))
        case .remember, .average, .pair:
            self = .none
        }
    }

    var byteCount: Int {
        switch self {
        case .causal(let convolution, _), .mergeTime(let convolution), .enlarge(let convolution),
            .shrink(let convolution):
            convolution.packed.byteCount
        case .residual(let first, let second, let shortcut, _):
            first.packed.byteCount + second.packed.byteCount + (shortcut?.packed.byteCount ?? 0)
        case .attention(_, let qkv, _, let projection): qkv.byteCount + projection.packed.byteCount
        case .splitTime(let packed, _): packed.byteCount
        case .none: 0
        }
    }
}

private struct Loader {
    let source: any WeightSource
    let operand: DType

    /// `[count]` f32.
    func vector(_ name: String) throws(TensorError) -> Tensor {
        let tensor = try source.tensor(name)
        defer { source.release(name) }
        return tensor.converted(to: .f32).reshaped([tensor.count])
    }

    /// The planes of `[out, in, time, height, width]` (or without time), one per step of time:
    /// `[out, in, height, width]` f32 each.
    func planes(_ name: String) throws(TensorError) -> [Tensor] {
        let stored = try source.tensor(name)
        let weight = stored.converted(to: .f32)
        source.release(name)
        let (out, inputs) = (stored.shape[0], stored.shape[1])
        let times = stored.rank == 5 ? stored.shape[2] : 1
        let (height, width) = (stored.shape[stored.rank - 2], stored.shape[stored.rank - 1])
        if times == 1 { return [weight.reshaped([out, inputs, height, width])] }
        let area = height * width
        return (0..<times).map { time in
            let plane = Tensor(.f32, [out, inputs, height, width])
            plane.withMutableFloats { plane in
                weight.withFloats { weight in
                    for pair in 0..<out * inputs {
                        for place in 0..<area {
                            plane[pair * area + place] = weight[(pair * times + time) * area + place]
                        }
                    }
                }
            }
            return plane
        }
    }

    func causal(_ name: String, operand: DType) throws(TensorError) -> WanVAEWeights.Convolution {
        var panels = try planes(name + ".weight")
        let shape = ConvolutionShape(
            inChannels: panels[0].shape[1], outChannels: panels[0].shape[0], kernel: panels[0].shape[3])
        if panels.count == 3, shape.kernel > 1 {
            let outer = combine([panels[0], panels[2]], [0.5, 0.5])
            panels.append(combine([outer, panels[1]], [1, 0.5]))
            panels.append(combine([outer, panels[1]], [1, -0.5]))
        }
        return WanVAEWeights.Convolution(
            packed: try ConvolutionWeights(shape, panels: panels, operand: operand),
            bias: try vector(name + ".bias"))
    }
}

/// `Σ factors[i] · tensors[i]`, all f32 of one shape.
private func combine(_ tensors: [Tensor], _ factors: [Float]) -> Tensor {
    let result = Tensor(.f32, tensors[0].shape)
    result.withMutableFloats { sum in
        for (tensor, factor) in zip(tensors, factors) {
            tensor.withFloats { values in
                for index in values.indices { sum[index] += factor * values[index] }
            }
        }
    }
    return result
}

/// A 3×3 kernel after nearest doubling is, for output pixels of each parity, a 2×2 kernel on the undoubled
/// frame: rows (and columns) 1 and 2, or 0 and 1, fall on the same pixel.
///
/// - Returns: for (even, even), (even, odd), (odd, even), (odd, odd) rows and columns: `[out, in, 2, 2]`.
private func phases(of kernel: Tensor) -> [Tensor] {
    let pairs = kernel.shape[0] * kernel.shape[1]
    let place = [[0, 1, 1], [0, 0, 1]]
    return [(0, 0), (0, 1), (1, 0), (1, 1)].map { row, column in
        let phase = Tensor(.f32, [kernel.shape[0], kernel.shape[1], 2, 2])
        phase.withMutableFloats { phase in
            kernel.withFloats { kernel in
                for pair in 0..<pairs {
                    for y in 0..<3 {
                        for x in 0..<3 {
                            phase[pair * 4 + place[row][y] * 2 + place[column][x]] += kernel[pair * 9 + y * 3 + x]
                        }
                    }
                }
            }
        }
        return phase
    }
}

extension Tensor {
    fileprivate func thirds(_ count: Int) -> [Tensor] {
        (0..<3).map { slice($0 * count..<($0 + 1) * count) }
    }
}
