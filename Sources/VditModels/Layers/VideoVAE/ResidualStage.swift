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
        let pixels = 2 * clip.area
        // Where outputs are late, what they will be added to waits for them.
        let waiting = padding == .bothEdges ? 4 * to : 0
        let kept = pixels * ((from + to) * operandBytes + waiting)
        if gathers {
            let operands = pixels * (from + to) * operandBytes
            return VAEMemory(
                kept: kept, together: clip.frames * clip.area * 4 * max(from + to, 2 * to) + operands)
        }
        let entering = from * (operandBytes + (shortcut == nil || shortcutNorm != nil ? 4 : operandBytes))
        let convolving = from * operandBytes + to * (4 + operandBytes)
        let leaving = to * (4 + 2 * operandBytes)
        return VAEMemory(kept: kept, passing: pixels * max(entering, convolving, leaving), entering: pixels * entering)
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
                    second: TimeConvolution(second, addingBiasOf: shortcut, height, width, session.compute),
                    entry: VAEInlet(norms.0, activates: true, operand: first.operand, session),
                    middle: VAEInlet(norms.1, activates: true, operand: first.operand, session),
                    shortcut: shortcut.map { shortcut throws(TensorError) in
                        try SizedConvolution(shortcut, height, width, session.compute)
                    },
                    shortcutNorm: affine, padding: padding,
                    noises: scales.map { .init(plane: session.draw([height, width]), scale: $0) },
                    size: (height, width, first.outChannels)))
        }
    }
}

/// Where norms are of a pixel alone, the first convolution's output exists only normalised and activated, as the second
/// one's input. What is not needed any more is let go before frames go on: at the last resolutions a frame is large.
private final class ResidualLayer: VAELayer {
    struct Parts {
        let first: TimeConvolution
        /// With the shortcut's bias.
        let second: TimeConvolution
        /// Of the two convolutions.
        let entry: VAEInlet
        let middle: VAEInlet
        let shortcut: SizedConvolution?
        let shortcutNorm: (scale: Tensor, shift: Tensor)?
        let padding: TimePadding
        /// Of the two convolutions, or none.
        let noises: [ConvolutionProgram.Noise]
        let size: (height: Int, width: Int, channels: Int)
    }

    /// A group between the two convolutions.
    private struct Middle {
        var batches: VAEInlet.Batches
        /// What the second convolution's outputs are added to, of batches to come.
        var streams: [Tensor?]
        /// Frames the next outputs are made of.
        var ready: [VAEGroup.Frame] = []
        var remembered: [VAEGroup.Remembered]
        let endsClip: Bool
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
        parts.entry.demand(stream: parts.shortcutNorm == nil ? parts.shortcut?.operand ?? .f32 : .f32)
    }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        var middle = try enter(group, session)
        while let made = try finish(&middle, for: next, session) { try emit(made) }
    }

    /// The first convolution, and the shortcut.
    private func enter(_ group: VAEGroup, _ session: VAESession) throws -> Middle {
        let (height, width, channels) = parts.size
        let own = parts.padding.own
        var frames: [VAEGroup.Frame] = []
        var streams: [Tensor?] = []
        var batches = try parts.entry.batches(of: group.take(), session)
        while var batch = batches.next() {
            for index in batch.indices { batch[index].stream = try addend(batch[index].stream, session) }
            let window = entering(batch, isLast: group.isLast && batches.isEmpty)
            let made = (0..<entering.outputs(of: window)).map { _ in
                session.target(height, width, channels, for: parts.middle.demand())
            }
            try parts.first(window.map(\.operand), into: made, noise: parts.noises.first)
            streams += made.indices.map { window[$0 + own].stream }
            frames += made.map(\.frame)
        }
        // A middle frame goes on with the stream it will be added to.
        return Middle(
            batches: try parts.middle.batches(of: frames, session), streams: streams,
            remembered: group.takeRemembered(), endsClip: group.isLast)
    }

    /// What the second convolution's output is added to, of a stream that entered.
    private func addend(_ stream: Tensor?, _ session: VAESession) throws -> Tensor? {
        guard let stream, let shortcut = parts.shortcut else { return stream }
        let target = shortcut.target(session, for: VAEDemand(stream: .f32, operand: nil))
        let input = parts.shortcutNorm.map { normalized(stream, $0, session) } ?? stream
        try shortcut.tiled.run([
            ConvolutionProgram(
                inputs: [.init(input, top: 0, left: 0)], products: [.init(input: 0, panel: 0)],
                outputs: [.init(terms: [0], bias: nil, target: target)])
        ])
        return target.stream
    }

    private func normalized(
        _ stream: Tensor, _ norm: (scale: Tensor, shift: Tensor), _ session: VAESession
    ) -> Tensor {
        let result = session.tensors.tensor(.f32, stream.shape)
        let rows = RowKernels(session.compute.instructionSet)
        session.compute.pool.run(stream.shape[0]) { row, _ in
            rows.layerNorm(stream[row], epsilon: 1e-6, scale: norm.scale, shift: norm.shift, into: result[row])
        }
        return result
    }

    /// The second convolution of the next two frames, or the last one; nil once all are made that can be.
    private func finish(
        _ middle: inout Middle, for next: VAEDemand, _ session: VAESession
    ) throws -> VAEGroup? {
        while between.outputs(of: middle.ready) == 0 {
            guard let batch = middle.batches.next() else { return nil }
            let added = middle.streams.prefix(batch.count)
            middle.streams.removeFirst(batch.count)
            middle.ready = between(
                zip(added, batch).map { VAEGroup.Frame(stream: $0, operand: $1.operand) },
                isLast: middle.endsClip && middle.batches.isEmpty)
        }
        let (height, width, channels) = parts.size
        let own = parts.padding.own
        let count = min(2, between.outputs(of: middle.ready))
        let streams = middle.ready[own..<own + count].compactMap(\.stream)
        let keepsInput = parts.shortcut == nil && !middle.remembered.isEmpty
        let targets = streams.map {
            session.target(height, width, channels, for: next, reusing: keepsInput ? nil : $0)
        }
        try parts.second(
            middle.ready.prefix(count + 2).map(\.operand), into: targets, adding: streams.map { .frame($0) },
            noise: parts.noises.last)
        middle.ready.removeFirst(count)
        let isDone = between.outputs(of: middle.ready) == 0
        if isDone { middle.ready = [] }
        defer {
            middle.remembered = []
            hasEmitted = true
        }
        return VAEGroup(
            frames: targets.map(\.frame), remembered: middle.remembered, isFirst: !hasEmitted,
            isLast: middle.endsClip && middle.batches.isEmpty && isDone)
    }
}
