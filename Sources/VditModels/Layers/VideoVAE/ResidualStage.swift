import VditTensor

/// `shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))))))`, the convolutions over time.
struct ResidualStage: VAEStage {
    let name: String
    let norms: (first: VAENorm, second: VAENorm)
    let first: VAEConvolution
    let second: VAEConvolution
    /// Pointwise, where the channels change.
    let shortcut: VAEConvolution?
    /// A layer norm over channels, of weight and bias, in front of the shortcut.
    var shortcutNorm: String?
    var padding = TimePadding.zerosBefore
    /// Each convolution adds noise of one plane, scaled for every channel.
    var injectsNoise = false

    var tensors: [(name: String, shape: [Int])] {
        let affine = shortcutNorm.map { [("\($0).weight", [first.from]), ("\($0).bias", [first.from])] } ?? []
        let scales = injectsNoise ? noiseScales.map { ($0, [first.to, 1, 1]) } : []
        return norms.first.tensors + norms.second.tensors + first.tensors + second.tensors
            + (shortcut?.tensors ?? []) + affine + scales
    }

    private var noiseScales: [String] { ["\(name).per_channel_scale1", "\(name).per_channel_scale2"] }

    func flops(_ clip: VAEClip) -> Double {
        clip.flops(perPixel: first.weightCount + second.weightCount + (shortcut?.weightCount ?? 0))
    }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        let (from, to) = (first.from, first.to)
        // Where outputs are late, the shortcut waits for them.
        let waiting = padding == .bothEdges ? 4 * from : 0
        return VAEMemory(
            kept: 2 * clip.area * ((from + to) * operandBytes + waiting),
            passing: 2 * clip.area * (from * (4 + operandBytes) + to * (4 + 2 * operandBytes)))
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let (first, second) = (try loader.convolution(first), try loader.convolution(second))
        let shortcut = try shortcut.map { shortcut throws(TensorError) in try loader.convolution(shortcut) }
        let norms = (try norms.first.load(loader), try norms.second.load(loader))
        let affine = try shortcutNorm.map { name throws(TensorError) in
            (scale: try loader.vector("\(name).weight"), shift: try loader.vector("\(name).bias"))
        }
        var scales: [Tensor] = []
        for name in injectsNoise ? noiseScales : [] { scales.append(try loader.vector(name)) }
        return { [padding, scales] height, width, session throws(TensorError) in
            try ResidualLayer(
                ResidualLayer.Parts(
                    first: TimeConvolution(first, height, width, session.compute),
                    second: TimeConvolution(second, shortcut: shortcut, height, width, session.compute),
                    norms: (norms.0.ready(session), norms.1.ready(session)), hasShortcut: shortcut != nil,
                    shortcutNorm: affine, padding: padding,
                    noises: scales.map { .init(plane: session.draw([height, width]), scale: $0) },
                    operand: first.operand, size: (height, width, first.outChannels)))
        }
    }
}

/// The first convolution's output exists only normalised and activated, as the second one's input.
private final class ResidualLayer: VAELayer {
    struct Parts {
        let first: TimeConvolution
        let second: TimeConvolution
        let norms: (FrameTarget.Norm, FrameTarget.Norm)
        let hasShortcut: Bool
        let shortcutNorm: (scale: Tensor, shift: Tensor)?
        let padding: TimePadding
        /// Of the two convolutions, or none.
        let noises: [ConvolutionProgram.Noise]
        let operand: DType
        let size: (height: Int, width: Int, channels: Int)
    }

    private let parts: Parts
    private var entering: TimeWindow
    private var between: TimeWindow
    private var hasEmitted = false

    init(_ parts: Parts) {
        self.parts = parts
        entering = TimeWindow(parts.padding)
        between = TimeWindow(parts.padding)
    }

    func demand(before next: VAEDemand) -> VAEDemand {
        VAEDemand(stream: true, operand: parts.operand, preparation: .activated(parts.norms.0))
    }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let (height, width, channels) = parts.size
        let own = parts.padding.own
        let frames = entering(group.frames, isLast: group.isLast)
        let wanted = VAEDemand(stream: false, operand: parts.operand, preparation: .activated(parts.norms.1))
        let middle = (0..<entering.outputs(of: frames)).map { _ in
            session.target(height, width, channels, for: wanted)
        }
        try parts.first(frames.map(\.operand), into: middle, noise: parts.noises.first)
        // A middle frame goes on with the stream it will be added to.
        let ready = between(
            middle.enumerated().map { VAEGroup.Frame(stream: frames[$0 + own].stream, operand: $1.operand) },
            isLast: group.isLast)
        try inTwos(between.outputs(of: ready), isLast: group.isLast) { range, isLast in
            let streams = range.compactMap { ready[$0 + own].stream }
            let keepsInput = parts.hasShortcut || !group.remembered.isEmpty
            let targets = streams.map {
                session.target(height, width, channels, for: next, reusing: keepsInput ? nil : $0)
            }
            try parts.second(
                ready[range.lowerBound..<range.upperBound + 2].map(\.operand), into: targets,
                adding: streams.map { parts.hasShortcut ? .shortcut(shortcutInput($0, session)) : .frame($0) },
                noise: parts.noises.last)
            try emit(
                VAEGroup(
                    frames: targets.map(\.frame), remembered: group.remembered, isFirst: !hasEmitted, isLast: isLast))
            hasEmitted = true
        }
    }

    private func shortcutInput(_ stream: Tensor, _ session: VAESession) -> Tensor {
        guard let norm = parts.shortcutNorm else { return stream }
        let result = session.tensors.tensor(.f32, stream.shape)
        let rows = RowKernels(session.compute.instructionSet)
        session.compute.pool.run(stream.shape[0]) { row, _ in
            rows.layerNorm(stream[row], epsilon: 1e-6, scale: norm.scale, shift: norm.shift, into: result[row])
        }
        return result
    }
}
