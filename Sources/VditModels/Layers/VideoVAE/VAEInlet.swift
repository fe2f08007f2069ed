import VditTensor

/// How a convolution comes by its operands: the stage before writes them, pixel by pixel, or they are made here of
/// streams, once statistics of whole frames are known.
struct VAEInlet {
    private enum Way {
        case given(FrameTarget.Preparation)
        case normalized(GroupNormLayer)
    }

    private let way: Way
    private let operand: DType

    /// - Parameter activates: whether what comes of a norm goes through SiLU.
    init(
        _ norm: LoadedVAENorm?, activates: Bool, operand: DType, _ session: VAESession
    ) throws(TensorError) {
        self.operand = operand
        switch norm {
        case nil: way = .given(.plain)
        case .identity: way = .given(activates ? .silu : .plain)
        case .pixel(let norm):
            let ready = try norm.ready(session)
            way = .given(activates ? .activated(ready) : .normalized(ready))
        case .group(let norm): way = .normalized(GroupNormLayer(norm, activates: activates, operand: operand))
        }
    }

    /// - Parameter stream: what the layer wants its input as besides.
    func demand(stream: DType? = nil) -> VAEDemand {
        switch way {
        case .given(let preparation): VAEDemand(stream: stream, operand: operand, preparation: preparation)
        case .normalized(let norm): VAEDemand(stream: .f32, operand: nil, together: norm.isOfGroup)
        }
    }

    /// The frames of a group with their operands: all at once, or two at a time where they are made on the way, so that
    /// few exist.
    func batches(of frames: [VAEGroup.Frame], _ session: VAESession) throws(TensorError) -> Batches {
        switch way {
        case .given: Batches(waiting: frames, size: max(1, frames.count), prepare: { _, frame in frame })
        case .normalized(let norm):
            Batches(waiting: frames, size: 2, prepare: try norm.preparation(of: frames, session))
        }
    }

    struct Batches: IteratorProtocol {
        fileprivate var waiting: [VAEGroup.Frame]
        fileprivate let size: Int
        fileprivate let prepare: (Int, VAEGroup.Frame) -> VAEGroup.Frame
        private var taken = 0

        fileprivate init(
            waiting: [VAEGroup.Frame], size: Int, prepare: @escaping (Int, VAEGroup.Frame) -> VAEGroup.Frame
        ) {
            (self.waiting, self.size, self.prepare) = (waiting, size, prepare)
        }

        var isEmpty: Bool { waiting.isEmpty }

        mutating func next() -> [VAEGroup.Frame]? {
            if waiting.isEmpty { return nil }
            let batch = waiting.prefix(size).enumerated().map { prepare(taken + $0, $1) }
            waiting.removeFirst(batch.count)
            taken += batch.count
            return batch
        }
    }
}

/// A group norm at work.
final class GroupNormLayer {
    private let norm: LoadedGroupNorm
    private let activates: Bool
    private let operand: DType
    private var guide: TiledConvolution?

    init(_ norm: LoadedGroupNorm, activates: Bool, operand: DType) {
        self.norm = norm
        self.activates = activates
        self.operand = operand
    }

    /// Whether statistics are those of all frames that enter together.
    var isOfGroup: Bool { norm.span == .group }

    /// What makes the operand of each of the frames, given its number.
    func preparation(
        of frames: [VAEGroup.Frame], _ session: VAESession
    ) throws(TensorError) -> (Int, VAEGroup.Frame) -> VAEGroup.Frame {
        let (norm, activates, operand) = (norm.norm, activates, operand)
        let common = isOfGroup ? norm.coefficients(of: frames.map(stream), compute: session.compute) : nil
        let guides = try guides(session)
        let count = frames.count
        return { number, frame in
            let values = stream(frame)
            let target = session.tensors.tensor(operand, values.shape)
            normalizeFrame(
                values, by: common ?? norm.coefficients(of: [values], compute: session.compute),
                guide: guides.isEmpty ? nil : guides[latentFrame(of: number, of: count, latents: guides.count)],
                activates: activates, into: target, compute: session.compute)
            return VAEGroup.Frame(stream: frame.stream, operand: target)
        }
    }

    /// Factors and terms of every latent frame; none where there is no guide.
    private func guides(_ session: VAESession) throws(TensorError) -> [Tensor] {
        guard let packed = norm.guide else { return [] }
        let shape = session.latents[0].shape
        if guide == nil {
            guide = try TiledConvolution(packed.weights, height: shape[0], width: shape[1], compute: session.compute)
        }
        let wanted = VAEDemand(stream: .f32, operand: nil)
        let targets = session.latents.map { _ in
            session.target(shape[0], shape[1], packed.outChannels, for: wanted)
        }
        try guide?.run(
            zip(session.latents, targets).map { latents, target in
                ConvolutionProgram(
                    inputs: [.init(latents, top: 0, left: 0)], products: [.init(input: 0, panel: 0)],
                    outputs: [.init(terms: [0], bias: packed.bias, target: target)])
            })
        return targets.compactMap(\.stream)
    }
}

private func stream(_ frame: VAEGroup.Frame) -> Tensor {
    guard let stream = frame.stream else { preconditionFailure("a group norm needs the stream") }
    return stream
}

/// The latent frame that guides a frame: of an odd number of frames the first has its own, the others share the rest.
/// - Source: `CogVideoXSpatialNorm3D`, diffusers 0.42.1.
private func latentFrame(of number: Int, of count: Int, latents: Int) -> Int {
    if count % 2 == 0 || count == 1 { return number * latents / count }
    return number == 0 ? 0 : 1 + (number - 1) * (latents - 1) / (count - 1)
}
