import VditTensor

/// Makes two frames of one by a causal convolution over time with twice the channels. The clip's first
/// frame passes as it is and is not part of the convolution's past.
final class SplitTimeLayer: WanVAELayer {
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

    func demand(before next: WanVAEDemand) -> WanVAEDemand { WanVAEDemand(stream: false, operand: operand) }

    func step(
        _ group: WanVAEGroup, for next: WanVAEDemand, _ session: WanVAESession,
        emit: (WanVAEGroup) throws -> Void
    ) throws {
        if group.isFirst {
            var group = group
            // Of the two frames a shortcut makes of the first one, the second stays.
            for index in group.remembered.indices { group.remembered[index].part = 1 }
            return try emit(group)
        }
        for (index, frame) in group.frames.enumerated() {
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
            let remembered =
                group.remembered.isEmpty
                ? []
                : [0, 1].map { WanVAEGroup.Remembered(stream: group.remembered[index].stream, part: $0) }
            try emit(WanVAEGroup(frames: targets.map(\.frame), remembered: remembered, isFirst: false))
        }
    }
}

/// Makes one frame of two: a convolution over them and the frame before, with stride 2 in time. The clip's
/// first frame passes as it is.
final class MergeTimeLayer: WanVAELayer {
    private let tiled: TiledConvolution
    private let bias: Tensor
    private let operand: DType
    private let size: (height: Int, width: Int, channels: Int)
    private var last: Tensor?

    init(
        _ weights: WanVAEWeights.Convolution, _ height: Int, _ width: Int, _ compute: ComputeContext
    ) throws(TensorError) {
        tiled = try TiledConvolution(weights.packed, height: height, width: width, compute: compute)
        bias = weights.bias
        operand = weights.packed.operand
        size = (height, width, weights.packed.shape.outChannels)
    }

    func demand(before next: WanVAEDemand) -> WanVAEDemand { WanVAEDemand(stream: true, operand: operand) }

    func step(
        _ group: WanVAEGroup, for next: WanVAEDemand, _ session: WanVAESession,
        emit: (WanVAEGroup) throws -> Void
    ) throws {
        let target = session.target(size.height, size.width, size.channels, for: next)
        let window = [last] + group.frames.map(\.operand)
        if group.isFirst, let stream = group.frames[0].stream {
            finishFrame(stream, to: target, compute: session.compute)
        } else {
            precondition(window.count == 3, "time is merged two frames at a time")
            try tiled.run([
                ConvolutionProgram(
                    inputs: window.map { .init($0, top: 0, left: 0) },
                    products: window.indices.map { .init(input: $0, panel: $0) },
                    outputs: [.init(terms: [0, 1, 2], bias: bias, target: target)])
            ])
        }
        last = window[window.count - 1]
        try emit(WanVAEGroup(frames: [target.frame], remembered: group.remembered, isFirst: group.isFirst))
    }
}

/// Nearest doubling of height and width and a 3×3 convolution, as four 2×2 convolutions of the undoubled
/// frame, one for each parity of the output's rows and columns.
final class EnlargeLayer: WanVAELayer {
    private let tiled: TiledConvolution
    private let bias: Tensor
    private let operand: DType
    private let size: (height: Int, width: Int, channels: Int)
    /// Of the shortcut: the source channel of every output channel, by time part, row and column.
    private let tables: [[Int32]]

    init(
        _ weights: WanVAEWeights.Convolution, _ shortcut: (channels: Int, frames: Int)?, _ height: Int,
        _ width: Int, _ compute: ComputeContext
    ) throws(TensorError) {
        tiled = try TiledConvolution(weights.packed, height: height, width: width, compute: compute)
        bias = weights.bias
        operand = weights.packed.operand
        let channels = weights.packed.shape.outChannels
        size = (height * 2, width * 2, channels)
        guard let shortcut else {
            tables = []
            return
        }
        // DupUp3D of diffusers: channels repeated, then unfolded into (channel, time, row, column).
        let parts = shortcut.frames * 4
        let repeats = channels * parts / shortcut.channels
        tables = (0..<parts).map { part in
            (0..<channels).map { Int32(($0 * parts + part) / repeats) }
        }
    }

    func demand(before next: WanVAEDemand) -> WanVAEDemand { WanVAEDemand(stream: false, operand: operand) }

    func step(
        _ group: WanVAEGroup, for next: WanVAEDemand, _ session: WanVAESession,
        emit: (WanVAEGroup) throws -> Void
    ) throws {
        let targets = group.frames.map { _ in session.target(size.height, size.width, size.channels, for: next) }
        let programs = group.frames.indices.map { index in
            ConvolutionProgram(
                inputs: (0..<4).map {
                    .init(group.frames[index].operand, top: $0 / 2 - 1, left: $0 % 2 - 1)
                },
                products: (0..<4).map { .init(input: $0, panel: $0) },
                outputs: (0..<4).map {
                    .init(
                        terms: [$0], bias: bias, addend: shortcut(of: group, index, phase: $0),
                        target: targets[index], scale: 2, row: $0 / 2, column: $0 % 2)
                })
        }
        try tiled.run(programs)
        try emit(WanVAEGroup(frames: targets.map(\.frame), isFirst: group.isFirst))
    }

    private func shortcut(of group: WanVAEGroup, _ index: Int, phase: Int) -> ConvolutionProgram.Addend {
        if tables.isEmpty { return .none }
        let remembered = group.remembered[index]
        return .channels(remembered.stream, table: tables[remembered.part * 4 + phase])
    }
}

/// A 3×3 convolution with stride 2, padded by one pixel at the right and the bottom.
final class ShrinkLayer: WanVAELayer {
    private let tiled: TiledConvolution
    private let bias: Tensor
    private let operand: DType
    private let size: (height: Int, width: Int, channels: Int)

    /// - Parameter height: rows of its output.
    init(
        _ weights: WanVAEWeights.Convolution, _ height: Int, _ width: Int, _ compute: ComputeContext
    ) throws(TensorError) {
        tiled = try TiledConvolution(weights.packed, height: height, width: width, compute: compute)
        bias = weights.bias
        operand = weights.packed.operand
        size = (height, width, weights.packed.shape.outChannels)
    }

    func demand(before next: WanVAEDemand) -> WanVAEDemand { WanVAEDemand(stream: false, operand: operand) }

    func step(
        _ group: WanVAEGroup, for next: WanVAEDemand, _ session: WanVAESession,
        emit: (WanVAEGroup) throws -> Void
    ) throws {
        let targets = group.frames.map { _ in session.target(size.height, size.width, size.channels, for: next) }
        try tiled.run(
            group.frames.indices.map { index in
                ConvolutionProgram(
                    inputs: [.init(group.frames[index].operand, top: 0, left: 0)],
                    products: [.init(input: 0, panel: 0)],
                    outputs: [.init(terms: [0], bias: bias, target: targets[index])])
            })
        try emit(
            WanVAEGroup(frames: targets.map(\.frame), remembered: group.remembered, isFirst: group.isFirst))
    }
}

/// Keeps its input's streams for the shortcut around the stages that follow.
final class RememberLayer: WanVAELayer {
    func demand(before next: WanVAEDemand) -> WanVAEDemand {
        var wanted = next
        wanted.stream = true
        return wanted
    }

    func step(
        _ group: WanVAEGroup, for next: WanVAEDemand, _ session: WanVAESession,
        emit: (WanVAEGroup) throws -> Void
    ) throws {
        var group = group
        group.remembered = group.frames.compactMap(\.stream).map { .init(stream: $0, part: 0) }
        try emit(group)
    }
}

/// Adds the remembered frames, averaged down to this size.
final class AverageLayer: WanVAELayer {
    private let channels: Int
    private let frames: Int
    private let factor: Int

    init(channels: Int, frames: Int, factor: Int) {
        self.channels = channels
        self.frames = frames
        self.factor = factor
    }

    func demand(before next: WanVAEDemand) -> WanVAEDemand { WanVAEDemand(stream: true, operand: nil) }

    func step(
        _ group: WanVAEGroup, for next: WanVAEDemand, _ session: WanVAESession,
        emit: (WanVAEGroup) throws -> Void
    ) throws {
        let remembered = group.remembered.map(\.stream)
        // Missing frames are zeros in front.
        let padded = Array(repeating: Tensor?.none, count: group.frames.count * frames - remembered.count)
            + remembered
        var targets: [FrameTarget] = []
        for (index, frame) in group.frames.enumerated() {
            guard let stream = frame.stream else { preconditionFailure("the average needs the stream") }
            let (height, width) = (stream.shape[0], stream.shape[1])
            let mean = session.tensors.tensor(.f32, [height, width, channels])
            averageFold(
                Array(padded[index * frames..<(index + 1) * frames]), factor: factor, into: mean,
                compute: session.compute)
            let target = session.target(height, width, channels, for: next)
            finishFrame(stream, adding: mean, to: target, compute: session.compute)
            targets.append(target)
        }
        try emit(WanVAEGroup(frames: targets.map(\.frame), isFirst: group.isFirst))
    }
}

/// Waits for a second frame, so that what follows works on two at a time.
final class PairLayer: WanVAELayer {
    private var waiting: WanVAEGroup?

    func demand(before next: WanVAEDemand) -> WanVAEDemand { next }

    func step(
        _ group: WanVAEGroup, for next: WanVAEDemand, _ session: WanVAESession,
        emit: (WanVAEGroup) throws -> Void
    ) throws {
        if group.isFirst { return try emit(group) }
        guard let first = waiting else {
            waiting = group
            return
        }
        waiting = nil
        try emit(WanVAEGroup(frames: first.frames + group.frames, isFirst: false))
    }
}
