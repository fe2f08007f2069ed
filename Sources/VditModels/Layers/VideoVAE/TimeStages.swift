import VditTensor

/// Makes two frames of one by a causal convolution over time with twice the channels. The clip's first
/// frame passes as it is and is not part of the convolution's past.
struct SplitTimeStage: VAEStage {
    /// Kernel over time alone; the output's first half of channels is the earlier frame.
    let convolution: VAEConvolution

    var name: String { convolution.name }
    var tensors: [(name: String, shape: [Int])] { convolution.tensors }

    func output(of clip: VAEClip) -> VAEClip {
        VAEClip(frames: 2 * clip.frames - 1, height: clip.height, width: clip.width)
    }

    func flops(_ clip: VAEClip) -> Double {
        VAEClip(frames: clip.frames - 1, height: clip.height, width: clip.width)
            .flops(perPixel: convolution.weightCount)
    }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        let frame = clip.area * convolution.from * operandBytes
        // One more waits while what was made of the one before it goes on.
        return VAEMemory(kept: 3 * frame, passing: 4 * frame)
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let channels = convolution.to / 2
        let halves = [0..<channels, channels..<2 * channels]
        let bias = try loader.bias(convolution)
        let taps = try loader.planes(convolution)
        let packed = try loader.pack(halves.flatMap { half in taps.map { $0.slice(half) } })
        let biases = halves.map { bias.slice($0) }
        return { height, width, session throws(TensorError) in
            try SplitTimeLayer(packed, biases, height, width, session.compute)
        }
    }
}

private final class SplitTimeLayer: VAELayer {
    private let tiled: TiledConvolution
    private let biases: [Tensor]
    private let operand: DType
    private let size: (height: Int, width: Int, channels: Int)
    private var past: [Tensor?] = [nil, nil]

    init(
        _ weights: ConvolutionWeights, _ biases: [Tensor], _ height: Int, _ width: Int,
        _ compute: ComputeContext
    ) throws(TensorError) {
        tiled = try TiledConvolution(weights, height: height, width: width, compute: compute)
        self.biases = biases
        operand = weights.operand
        size = (height, width, weights.shape.outChannels)
    }

    func demand(before next: VAEDemand) -> VAEDemand { VAEDemand(stream: nil, operand: operand) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        if group.isFirst {
            // Of the two frames a shortcut makes of the first one, the second stays.
            for index in group.remembered.indices { group.remembered[index].part = 1 }
            return try emit(group)
        }
        var waiting = group.takeRemembered()
        for frame in group.take() {
            let window = past + [frame.operand]
            let taps = window.indices.filter { window[$0] != nil }
            let targets = biases.map { _ in session.target(size.height, size.width, size.channels, for: next) }
            try tiled.run([
                ConvolutionProgram(
                    inputs: taps.map { .init(window[$0], top: 0, left: 0) },
                    products: targets.indices.flatMap { half in
                        taps.enumerated().map { .init(input: $0.offset, panel: half * 3 + $0.element) }
                    },
                    outputs: targets.indices.map { half in
                        .init(
                            terms: taps.indices.map { half * taps.count + $0 }, bias: biases[half],
                            target: targets[half])
                    })
            ])
            past = window.suffix(2)
            try emit(
                VAEGroup(
                    frames: targets.map(\.frame), remembered: waiting.isEmpty ? [] : halves(of: waiting.removeFirst()),
                    isFirst: false))
        }
    }
}

/// A remembered frame, for each of the two frames made of it.
private func halves(of frame: VAEGroup.Remembered) -> [VAEGroup.Remembered] {
    [0, 1].map { VAEGroup.Remembered(stream: frame.stream, part: $0) }
}

/// Makes one frame of two: a convolution over them and the frame before, with stride 2 in time. The clip's
/// first frame passes as it is.
struct MergeTimeStage: VAEStage {
    /// Kernel over time alone.
    let convolution: VAEConvolution

    var name: String { convolution.name }
    var tensors: [(name: String, shape: [Int])] { convolution.tensors }

    func output(of clip: VAEClip) -> VAEClip {
        VAEClip(frames: 1 + (clip.frames - 1) / 2, height: clip.height, width: clip.width)
    }

    func flops(_ clip: VAEClip) -> Double {
        VAEClip(frames: (clip.frames - 1) / 2, height: clip.height, width: clip.width)
            .flops(perPixel: convolution.weightCount)
    }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        let (from, to) = (convolution.from, convolution.to)
        return VAEMemory(
            kept: clip.area * from * operandBytes,
            passing: clip.area * (2 * from * (4 + operandBytes) + to * (4 + operandBytes)))
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let packed = try loader.convolution(convolution)
        return { height, width, session throws(TensorError) in
            MergeTimeLayer(try SizedConvolution(packed, height, width, session.compute))
        }
    }
}

private final class MergeTimeLayer: VAELayer {
    private let convolution: SizedConvolution
    private var last: Tensor?

    init(_ convolution: SizedConvolution) { self.convolution = convolution }

    func demand(before next: VAEDemand) -> VAEDemand { VAEDemand(stream: .f32, operand: convolution.operand) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let target = convolution.target(session, for: next)
        let window = [last] + group.frames.map(\.operand)
        if group.isFirst, let stream = group.frames[0].stream {
            finishFrame(stream, to: target, compute: session.compute)
        } else {
            precondition(window.count == 3, "time is merged two frames at a time")
            try convolution.tiled.run([
                ConvolutionProgram(
                    inputs: window.map { .init($0, top: 0, left: 0) },
                    products: window.indices.map { .init(input: $0, panel: $0) },
                    outputs: [.init(terms: [0, 1, 2], bias: convolution.bias, target: target)])
            ])
        }
        last = window[window.count - 1]
        try emit(VAEGroup(frames: [target.frame], remembered: group.remembered, isFirst: group.isFirst))
    }
}

/// Waits for a second frame (not after the first), so that what follows works on two at a time.
struct PairStage: VAEStage {
    var name: String { "pair" }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        { _, _, _ throws(TensorError) in PairLayer() }
    }
}

private final class PairLayer: VAELayer {
    private var waiting: VAEGroup?

    func demand(before next: VAEDemand) -> VAEDemand { next }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        if group.isFirst { return try emit(group) }
        guard let first = waiting else {
            waiting = group
            return
        }
        waiting = nil
        try emit(VAEGroup(frames: first.frames + group.frames, isFirst: false))
    }
}
