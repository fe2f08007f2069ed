import VditTensor

/// A convolution's weights, ready for products.
struct PackedVAEConvolution: Sendable {
    /// Panels: the taps over time; of three, what `arrival` asks for.
    let weights: ConvolutionWeights
    /// `[to]` f32.
    let bias: Tensor
    var arrival = FrameArrival.any

    var operand: DType { weights.operand }
    var outChannels: Int { weights.shape.outChannels }
}

/// Packs the tensors of a weight source for convolutions, and counts what that takes.
final class VAEWeightLoader {
    private let source: any WeightSource
    private let compute: ComputeContext
    private var embedders: [String: TimestepEmbedder] = [:]
    /// Bytes packed so far.
    private(set) var packedBytes = 0

    init(source: any WeightSource, compute: ComputeContext) {
        self.source = source
        self.compute = compute
    }

    /// Of convolutions that need not see every digit.
    var operand: DType { compute.operandType }

    /// The layers that embed the decode's time, loaded once for all that ask.
    func embedder(_ name: String) throws(TensorError) -> TimestepEmbedder {
        if let loaded = embedders[name] { return loaded }
        let loaded = try TimestepEmbedder(WeightLoader(source: source, compute: compute), name)
        embedders[name] = loaded
        return loaded
    }

    /// `[count]` f32.
    func vector(_ name: String) throws(TensorError) -> Tensor {
        let tensor = try source.tensor(name)
        defer { source.release(name) }
        return tensor.converted(to: .f32).reshaped([tensor.count])
    }

    func bias(_ convolution: VAEConvolution) throws(TensorError) -> Tensor {
        try vector(convolution.name + ".bias")
    }

    /// The planes of a convolution's weight, one per step of time: `[to, from, height, width]` f32 each.
    func planes(_ convolution: VAEConvolution) throws(TensorError) -> [Tensor] {
        let name = convolution.name + ".weight"
        let weight = try source.tensor(name).converted(to: .f32)
        source.release(name)
        let times = convolution.times
        let plane = convolution.kernel.isEmpty ? [1, 1] : Array(convolution.kernel.suffix(2))
        let shape = [convolution.to, convolution.from] + plane
        if times == 1 { return [weight.reshaped(shape)] }
        let area = plane.reduce(1, *)
        return (0..<times).map { time in
            let tap = Tensor(.f32, shape)
            tap.withMutableFloats { tap in
                weight.withFloats { weight in
                    for pair in 0..<convolution.to * convolution.from {
                        for place in 0..<area {
                            tap[pair * area + place] = weight[(pair * times + time) * area + place]
                        }
                    }
                }
            }
            return tap
        }
    }

    /// Packs panels `[to, from, kernel, kernel]` f32.
    func pack(
        _ panels: [Tensor], stride: Int = 1, edge: ConvolutionShape.Edge = .zeros, operand: DType? = nil
    ) throws(TensorError) -> ConvolutionWeights {
        let shape = ConvolutionShape(
            inChannels: panels[0].shape[1], outChannels: panels[0].shape[0], kernel: panels[0].shape[3],
            stride: stride, edge: edge)
        let packed = try ConvolutionWeights(
            shape, panels: panels, operand: operand ?? self.operand, on: compute.instructionSet)
        packedBytes += packed.byteCount
        return packed
    }

    /// Packs a convolution as it is, and what the fast algorithm over time needs of it.
    func convolution(
        _ convolution: VAEConvolution, stride: Int = 1, operand: DType? = nil
    ) throws(TensorError) -> PackedVAEConvolution {
        PackedVAEConvolution(
            weights: try pack(
                panels(of: planes(convolution), convolution.arrival), stride: stride, edge: convolution.edge,
                operand: operand),
            bias: try bias(convolution), arrival: convolution.arrival)
    }

    /// Taps over time, and where they are three, what the fast algorithm needs.
    func panels(of taps: [Tensor], _ arrival: FrameArrival = .any) -> [Tensor] {
        taps.count == 3 && taps[0].shape[3] > 1 ? arrival.panels(of: taps) : taps
    }
}

/// `Σ factors[i] · tensors[i]`, all f32 of one shape.
func combine(_ tensors: [Tensor], _ factors: [Float]) -> Tensor {
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

/// A packed convolution ready for frames of one size.
struct SizedConvolution {
    let tiled: TiledConvolution
    let bias: Tensor
    let operand: DType
    private let size: (height: Int, width: Int, channels: Int)

    /// - Parameter height: rows of its output.
    init(
        _ packed: PackedVAEConvolution, _ height: Int, _ width: Int, _ compute: ComputeContext
    ) throws(TensorError) {
        tiled = try TiledConvolution(packed.weights, height: height, width: width, compute: compute)
        bias = packed.bias
        operand = packed.operand
        size = (height, width, packed.outChannels)
    }

    /// New tensors for a frame it puts out.
    func target(_ session: VAESession, for next: VAEDemand) -> FrameTarget {
        session.target(size.height, size.width, size.channels, for: next)
    }
}
