import VditTensor

/// A causal 3×3×3 convolution with stride 2 in height and width, and in time or not, the first frame repeated for its
/// past.
/// - Source: the downsampler `conv` of AutoencoderKLLTXVideo and AutoencoderKLHunyuanVideo, diffusers 0.42.1.
struct StrideStage: VAEStage {
    let convolution: VAEConvolution
    /// In time, 1 or 2.
    var frames = 2

    var name: String { convolution.name }
    var tensors: [(name: String, shape: [Int])] { convolution.tensors }

    func output(of clip: VAEClip) -> VAEClip {
        VAEClip(frames: 1 + (clip.frames - 1) / frames, height: clip.height / 2, width: clip.width / 2)
    }

    func flops(_ clip: VAEClip) -> Double { output(of: clip).flops(perPixel: convolution.weightCount) }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        VAEMemory(
            kept: 2 * clip.area * convolution.from * operandBytes,
            passing: 2 * clip.area * convolution.from * operandBytes
                + output(of: clip).area * convolution.to * (4 + operandBytes))
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let packed = try loader.convolution(convolution, stride: 2)
        return { [frames] height, width, session throws(TensorError) in
            StrideLayer(
                try TimeConvolution(packed, stride: frames, height / 2, width / 2, session.compute),
                TimeWindow(.firstBefore, stride: frames), operand: packed.operand,
                size: (height / 2, width / 2, packed.outChannels))
        }
    }
}

private final class StrideLayer: VAELayer {
    private let convolution: TimeConvolution
    private let operand: DType
    private let size: (height: Int, width: Int, channels: Int)
    private var window: TimeWindow

    init(
        _ convolution: TimeConvolution, _ window: TimeWindow, operand: DType,
        size: (height: Int, width: Int, channels: Int)
    ) {
        self.convolution = convolution
        self.window = window
        self.operand = operand
        self.size = size
    }

    func demand(before next: VAEDemand) -> VAEDemand { VAEDemand(stream: nil, operand: operand) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let frames = window(group.frames, isLast: group.isLast)
        let count = window.outputs(of: frames)
        if count == 0 { return }
        let targets = (0..<count).map { _ in session.target(size.height, size.width, size.channels, for: next) }
        try convolution(frames.map(\.operand), into: targets)
        try emit(VAEGroup(frames: targets.map(\.frame), isFirst: group.isFirst, isLast: group.isLast))
    }
}

/// A causal convolution whose output is folded, two frames or one and 2×2 pixels or one, into channels, and added to
/// the folded input, averaged to as many channels.
/// - Source: `LTXVideoDownsampler3d`, diffusers 0.42.1.
struct FoldStage: VAEStage {
    /// To the stage's output channels over `frames · factor²`.
    let convolution: VAEConvolution
    /// Folded into one.
    let frames: Int
    /// Rows, and columns, folded into one.
    let factor: Int

    var name: String { convolution.name }
    var tensors: [(name: String, shape: [Int])] { convolution.tensors }

    func output(of clip: VAEClip) -> VAEClip {
        VAEClip(
            frames: 1 + (clip.frames - 1) / frames, height: clip.height / factor, width: clip.width / factor)
    }

    func flops(_ clip: VAEClip) -> Double { clip.flops(perPixel: convolution.weightCount) }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        let (from, to) = (convolution.from, convolution.to)
        return VAEMemory(
            kept: clip.area * (2 * from * operandBytes + 4 * (from + to)),
            passing: 2 * clip.area * (from * (4 + operandBytes) + to * (8 + operandBytes)))
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let packed = try loader.convolution(convolution)
        return { [self] height, width, session throws(TensorError) in
            FoldLayer(
                try TimeConvolution(packed, height, width, session.compute), frames: frames, factor: factor,
                operand: packed.operand, size: (height, width, packed.outChannels))
        }
    }
}

private final class FoldLayer: VAELayer {
    private let convolution: TimeConvolution
    private let frames: Int
    private let factor: Int
    private let operand: DType
    private let size: (height: Int, width: Int, channels: Int)
    private var window = TimeWindow(.firstBefore)
    /// What waits to be folded: inputs and their convolutions.
    private var waiting: [(input: Tensor, made: Tensor)] = []

    init(
        _ convolution: TimeConvolution, frames: Int, factor: Int, operand: DType,
        size: (height: Int, width: Int, channels: Int)
    ) {
        self.convolution = convolution
        self.frames = frames
        self.factor = factor
        self.operand = operand
        self.size = size
    }

    func demand(before next: VAEDemand) -> VAEDemand { VAEDemand(stream: .f32, operand: operand) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let all = window(group.frames, isLast: group.isLast)
        let plain = VAEDemand(stream: .f32, operand: nil)
        let made = group.frames.map { _ in session.target(size.height, size.width, size.channels, for: plain) }
        try convolution(all.map(\.operand), into: made)
        for (input, target) in zip(group.frames, made) {
            guard let input = input.stream, let made = target.stream else {
                preconditionFailure("folding needs streams")
            }
            // A second copy of the first frame stands in front of it.
            let copies = waiting.isEmpty && group.isFirst ? frames : 1
            waiting += Array(repeating: (input, made), count: copies)
        }
        var targets: [FrameTarget] = []
        while waiting.count >= frames {
            let part = Array(waiting.prefix(frames))
            waiting.removeFirst(frames)
            targets.append(fold(part, for: next, session))
        }
        if targets.isEmpty { return }
        try emit(VAEGroup(frames: targets.map(\.frame), isFirst: group.isFirst, isLast: group.isLast))
    }

    private func fold(
        _ part: [(input: Tensor, made: Tensor)], for next: VAEDemand, _ session: VAESession
    ) -> FrameTarget {
        let (height, width) = (size.height / factor, size.width / factor)
        let channels = size.channels * frames * factor * factor
        let shape = [height, width, channels]
        let (folded, mean) = (session.tensors.tensor(.f32, shape), session.tensors.tensor(.f32, shape))
        averageFold(part.map(\.made), factor: factor, into: folded, compute: session.compute)
        averageFold(part.map(\.input), factor: factor, into: mean, compute: session.compute)
        let target = session.target(height, width, channels, for: next)
        finishFrame(folded, adding: mean, to: target, compute: session.compute)
        return target
    }
}
