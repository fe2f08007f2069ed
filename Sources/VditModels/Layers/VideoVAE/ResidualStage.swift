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
        let kept = 2 * clip.area * ((from + to) * operandBytes + waiting)
        if gathers {
            let operands = 2 * clip.area * (from + to) * operandBytes
            return VAEMemory(kept: kept, together: clip.frames * clip.area * 4 * (from + to) + operands)
        }
        return VAEMemory(
            kept: kept, passing: 2 * clip.area * (from * (4 + operandBytes) + to * (4 + 2 * operandBytes)))
    }

    var gathers: Bool { norms.first.isOfGroup }

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
                    entry: VAEInlet(norms.0, activates: true, operand: first.operand, session),
                    middle: VAEInlet(norms.1, activates: true, operand: first.operand, session),
                    hasShortcut: shortcut != nil,
                    shortcutNorm: affine, padding: padding,
                    noises: scales.map { .init(plane: session.draw([height, width]), scale: $0) },
                    size: (height, width, first.outChannels)))
        }
    }
}

/// Where norms are of a pixel alone, the first convolution's output exists only normalised and activated, as the second
/// one's input.
private final class ResidualLayer: VAELayer {
    struct Parts {
        let first: TimeConvolution
        let second: TimeConvolution
        /// Of the two convolutions.
        let entry: VAEInlet
        let middle: VAEInlet
        let hasShortcut: Bool
        let shortcutNorm: (scale: Tensor, shift: Tensor)?
        let padding: TimePadding
        /// Of the two convolutions, or none.
        let noises: [ConvolutionProgram.Noise]
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

    func demand(before next: VAEDemand) -> VAEDemand { parts.entry.demand(stream: true) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let (height, width, channels) = parts.size
        let own = parts.padding.own
        // A middle frame goes on with the stream it will be added to.
        var middle: [VAEGroup.Frame] = []
        var streams: [Tensor?] = []
        var batches = try parts.entry.batches(of: group.frames, session)
        while let batch = batches.next() {
            let frames = entering(batch, isLast: group.isLast && batches.isEmpty)
            let made = (0..<entering.outputs(of: frames)).map { _ in
                session.target(height, width, channels, for: parts.middle.demand())
            }
            try parts.first(frames.map(\.operand), into: made, noise: parts.noises.first)
            streams += made.indices.map { frames[$0 + own].stream }
            middle += made.map(\.frame)
        }
        batches = try parts.middle.batches(of: middle, session)
        middle = []
        while let batch = batches.next() {
            let isLast = group.isLast && batches.isEmpty
            let added = streams.prefix(batch.count)
            streams.removeFirst(batch.count)
            let ready = between(
                zip(added, batch).map { VAEGroup.Frame(stream: $0, operand: $1.operand) }, isLast: isLast)
            try inTwos(between.outputs(of: ready), isLast: isLast) { range, isLast in
                let targets = try finish(ready, range, group, for: next, session)
                try emit(
                    VAEGroup(
                        frames: targets.map(\.frame), remembered: group.remembered, isFirst: !hasEmitted,
                        isLast: isLast))
                hasEmitted = true
            }
        }
    }

    /// The second convolution and the shortcut, of the output frames of a range.
    private func finish(
        _ ready: [VAEGroup.Frame], _ range: Range<Int>, _ group: VAEGroup, for next: VAEDemand, _ session: VAESession
    ) throws -> [FrameTarget] {
        let (height, width, channels) = parts.size
        let streams = range.compactMap { ready[$0 + parts.padding.own].stream }
        let keepsInput = parts.hasShortcut || !group.remembered.isEmpty
        let targets = streams.map {
            session.target(height, width, channels, for: next, reusing: keepsInput ? nil : $0)
        }
        try parts.second(
            ready[range.lowerBound..<range.upperBound + 2].map(\.operand), into: targets,
            adding: streams.map { parts.hasShortcut ? .shortcut(shortcutInput($0, session)) : .frame($0) },
            noise: parts.noises.last)
        return targets
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
