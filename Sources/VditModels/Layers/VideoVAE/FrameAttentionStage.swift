import VditTensor

/// Single-head attention of each frame's pixels, added to its input.
struct FrameAttentionStage: VAEStage {
    /// What a frame's pixels attend to.
    enum Reach: Sendable {
        case frame
        /// Their own frame and all before it that enter with it.
        case past
    }

    let name: String
    let norm: VAENorm
    /// Queries, keys and values: one layer each, or one with these one after the other in its output channels.
    let qkv: [VAEConvolution]
    let projection: VAEConvolution
    var reach = Reach.frame

    private var channels: Int { projection.to }

    var tensors: [(name: String, shape: [Int])] { norm.tensors + qkv.tensors + projection.tensors }

    func flops(_ clip: VAEClip) -> Double {
        let frames = reach == .frame ? 1 : Double(clip.frames + 1) / 2
        return clip.flops(perPixel: qkv.reduce(projection.weightCount) { $0 + $1.weightCount })
            + clip.flops(perPixel: 2 * clip.area * channels) * frames
    }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        let frame = clip.area * channels * (4 + 10 * operandBytes)
        return reach == .frame ? VAEMemory(passing: frame) : VAEMemory(together: clip.frames * frame)
    }

    var gathers: Bool { norm.isOfGroup }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        var planes: [Tensor] = []
        var biases: [Tensor] = []
        for part in qkv {
            let (plane, bias) = (try loader.planes(part)[0], try loader.bias(part))
            let ranges = stride(from: 0, to: part.to, by: channels).map { $0..<$0 + channels }
            planes += ranges.map { plane.slice($0) }
            biases += ranges.map { bias.slice($0) }
        }
        let parts = AttentionParts(
            norm: try norm.load(loader), qkv: try loader.pack(planes), biases: biases,
            projection: try loader.convolution(projection), reach: reach)
        return { height, width, session throws(TensorError) in
            try FrameAttentionLayer(parts, height, width, session)
        }
    }
}

extension [VAEConvolution] {
    fileprivate var tensors: [(name: String, shape: [Int])] { flatMap(\.tensors) }
}

private struct AttentionParts: Sendable {
    let norm: LoadedVAENorm
    /// A panel each for queries, keys and values.
    let qkv: ConvolutionWeights
    let biases: [Tensor]
    let projection: PackedVAEConvolution
    let reach: FrameAttentionStage.Reach
}

private final class FrameAttentionLayer: VAELayer {
    private let parts: AttentionParts
    private let inlet: VAEInlet
    private let qkv: TiledConvolution
    /// By the frames they attend to.
    private var attentions: [Int: FrameAttention] = [:]
    private let projection: TiledConvolution
    private let size: (height: Int, width: Int, channels: Int)

    init(
        _ parts: AttentionParts, _ height: Int, _ width: Int, _ session: VAESession
    ) throws(TensorError) {
        let compute = session.compute
        self.parts = parts
        inlet = try VAEInlet(parts.norm, activates: false, operand: parts.qkv.operand, session)
        size = (height, width, parts.projection.outChannels)
        qkv = try TiledConvolution(parts.qkv, height: height, width: width, compute: compute)
        projection = try TiledConvolution(
            parts.projection.weights, height: height, width: width, compute: compute)
    }

    func demand(before next: VAEDemand) -> VAEDemand { inlet.demand(stream: .f32) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let (height, width, channels) = size
        let operand = parts.qkv.operand
        let pixels = height * width
        // Queries, keys and values of all frames.
        let rows = parts.biases.map { _ in session.tensors.tensor(operand, [group.frames.count * pixels, channels]) }
        var frames: [VAEGroup.Frame] = []
        var batches = try inlet.batches(of: group.frames, session)
        while let batch = batches.next() {
            for frame in batch {
                guard let stream = frame.stream else { preconditionFailure("attention needs the stream") }
                let last = frames.count + 1
                let own = frames.count * pixels..<last * pixels
                try split(frame.operand, into: rows.map { $0.slice(own).reshaped([height, width, channels]) })
                let reach = parts.reach == .frame ? own : 0..<own.upperBound
                let out = session.tensors.tensor(operand, [height, width, channels])
                try attention(over: reach.count / pixels, session).attend(
                    q: rows[0].slice(own), k: rows[1].slice(reach), v: rows[2].slice(reach),
                    into: out.reshaped([pixels, channels]))
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
        }
        try emit(VAEGroup(frames: frames, remembered: group.remembered, isFirst: group.isFirst, isLast: group.isLast))
    }

    private func split(_ input: Tensor?, into targets: [Tensor]) throws(TensorError) {
        try qkv.run([
            ConvolutionProgram(
                inputs: [.init(input, top: 0, left: 0)],
                products: targets.indices.map { .init(input: 0, panel: $0) },
                outputs: targets.enumerated().map {
                    .init(
                        terms: [$0], bias: parts.biases[$0],
                        target: FrameTarget(stream: nil, operand: $1, preparation: .plain))
                })
        ])
    }

    private func attention(over frames: Int, _ session: VAESession) throws(TensorError) -> FrameAttention {
        if let made = attentions[frames] { return made }
        let pixels = size.height * size.width
        let made = try FrameAttention(
            pixels: pixels, keys: frames * pixels, channels: size.channels, compute: session.compute)
        attentions[frames] = made
        return made
    }
}
