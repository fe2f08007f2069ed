import VditTensor

/// Single-head attention over each frame's pixels, added to its input.
struct FrameAttentionStage: VAEStage {
    let name: String
    let norm: VAENorm
    /// Queries, keys and values, one after the other in the output channels.
    let qkv: VAEConvolution
    let projection: VAEConvolution

    private var channels: Int { projection.to }

    var tensors: [(name: String, shape: [Int])] { norm.tensors + qkv.tensors + projection.tensors }

    func flops(_ clip: VAEClip) -> Double {
        clip.flops(perPixel: qkv.weightCount + projection.weightCount + 2 * clip.area * channels)
    }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        VAEMemory(passing: clip.area * channels * (4 + 10 * operandBytes))
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let thirds = (0..<3).map { $0 * channels..<($0 + 1) * channels }
        let plane = try loader.planes(qkv)[0]
        let bias = try loader.bias(qkv)
        let parts = AttentionParts(
            norm: try norm.load(loader), qkv: try loader.pack(thirds.map { plane.slice($0) }),
            biases: thirds.map { bias.slice($0) }, projection: try loader.convolution(projection))
        return { height, width, session throws(TensorError) in
            try FrameAttentionLayer(parts, height, width, session)
        }
    }
}

private struct AttentionParts: Sendable {
    let norm: LoadedVAENorm
    /// A panel each for queries, keys and values.
    let qkv: ConvolutionWeights
    let biases: [Tensor]
    let projection: PackedVAEConvolution
}

private final class FrameAttentionLayer: VAELayer {
    private let parts: AttentionParts
    private let norm: FrameTarget.Norm
    private let qkv: TiledConvolution
    private let attention: FrameAttention
    private let projection: TiledConvolution
    private let size: (height: Int, width: Int, channels: Int)

    init(
        _ parts: AttentionParts, _ height: Int, _ width: Int, _ session: VAESession
    ) throws(TensorError) {
        let compute = session.compute
        self.parts = parts
        norm = try parts.norm.ready(session)
        size = (height, width, parts.projection.outChannels)
        qkv = try TiledConvolution(parts.qkv, height: height, width: width, compute: compute)
        attention = try FrameAttention(pixels: height * width, channels: size.channels, compute: compute)
        projection = try TiledConvolution(
            parts.projection.weights, height: height, width: width, compute: compute)
    }

    func demand(before next: VAEDemand) -> VAEDemand {
        VAEDemand(stream: true, operand: parts.qkv.operand, preparation: .normalized(norm))
    }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let (height, width, channels) = size
        let (operand, biases) = (parts.qkv.operand, parts.biases)
        var frames: [VAEGroup.Frame] = []
        for frame in group.frames {
            guard let stream = frame.stream else { preconditionFailure("attention needs the stream") }
            let plain = VAEDemand(stream: false, operand: operand)
            let split = biases.map { _ in session.target(height, width, channels, for: plain) }
            try qkv.run([
                ConvolutionProgram(
                    inputs: [.init(frame.operand, top: 0, left: 0)],
                    products: split.indices.map { .init(input: 0, panel: $0) },
                    outputs: split.indices.map { .init(terms: [$0], bias: biases[$0], target: split[$0]) })
            ])
            let rows = split.compactMap { $0.operand?.reshaped([height * width, channels]) }
            let out = session.tensors.tensor(operand, [height, width, channels])
            try attention.attend(
                q: rows[0], k: rows[1], v: rows[2], into: out.reshaped([height * width, channels]))
            let target = session.target(
                height, width, channels, for: next, reusing: group.remembered.isEmpty ? stream : nil)
            try projection.run([
                ConvolutionProgram(
                    inputs: [.init(out, top: 0, left: 0)], products: [.init(input: 0, panel: 0)],
                    outputs: [
                        .init(
                            terms: [0], bias: parts.projection.bias, addend: .frame(stream), target: target)
                    ])
            ])
            frames.append(target.frame)
        }
        try emit(VAEGroup(frames: frames, remembered: group.remembered, isFirst: group.isFirst))
    }
}
