import Glibc
import VditTensor

// What tiny autoencoders are made of. All convolutions are of frames, 3×3.

/// `3 tanh(v / 3)`: latents far from all that the decoder has seen are drawn nearer.
struct SoftLimitStage: VAEStage {
    let name: String

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        { _, _, _ throws(TensorError) in SoftLimitLayer() }
    }
}

private final class SoftLimitLayer: VAELayer {
    func demand(before next: VAEDemand) -> VAEDemand { VAEDemand(stream: .f32, operand: nil) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let frames = group.frames.compactMap(\.stream).map { frame in
            let target = session.target(frame.shape[0], frame.shape[1], frame.shape[2], for: next)
            let limited = Tensor(frame.floats().map { 3 * tanhf($0 / 3) }, shape: frame.shape)
            finishFrame(limited, to: target, compute: session.compute)
            return target.frame
        }
        try emit(VAEGroup(frames: frames, isFirst: group.isFirst, isLast: group.isLast))
    }
}

/// A convolution whose outputs below 0 become 0.
struct RectifiedStage: VAEStage {
    let convolution: VAEConvolution

    init(_ convolution: VAEConvolution) { self.convolution = convolution }

    var name: String { convolution.name }
    var tensors: [(name: String, shape: [Int])] { convolution.tensors }
    func flops(_ clip: VAEClip) -> Double { clip.flops(perPixel: convolution.weightCount) }
    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory { convolution.memory(clip, operandBytes: operandBytes) }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let packed = try loader.convolution(convolution)
        return { height, width, session throws(TensorError) in
            PlaneLayer(try SizedConvolution(packed, height, width, session.compute), corner: -1, isRectified: true)
        }
    }
}

/// The last convolution, to pixels from −1 to 1 in the order that pictures are unfolded in: its authors have them from
/// 0 to 1, columns of a patch before its rows.
struct PictureStage: VAEStage {
    let convolution: VAEConvolution
    let patch: Int

    init(_ convolution: VAEConvolution, patch: Int) { (self.convolution, self.patch) = (convolution, patch) }

    var name: String { convolution.name }
    var tensors: [(name: String, shape: [Int])] { convolution.tensors }
    func flops(_ clip: VAEClip) -> Double { clip.flops(perPixel: convolution.weightCount) }
    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory { convolution.memory(clip, operandBytes: operandBytes) }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let weights = try loader.planes(convolution)[0].floats()
        let bias = try loader.bias(convolution).floats()
        let (area, count) = (patch * patch, weights.count / convolution.to)
        // Channel (c · patch + column) · patch + row is made of theirs, (c · patch + row) · patch + column.
        let theirs = (0..<convolution.to).map { $0 / area * area + $0 % patch * patch + $0 % area / patch }
        let packed = PackedVAEConvolution(
            weights: try loader.pack([
                Tensor(
                    theirs.flatMap { weights[$0 * count..<($0 + 1) * count].map { 2 * $0 } },
                    shape: [convolution.to, convolution.from, 3, 3]),
            ]), bias: Tensor(theirs.map { 2 * bias[$0] - 1 }))
        return { height, width, session throws(TensorError) in
            PlaneLayer(try SizedConvolution(packed, height, width, session.compute), corner: -1)
        }
    }
}

extension VAEConvolution {
    /// Of two frames that go through it alone.
    fileprivate func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        VAEMemory(passing: 2 * clip.area * (from * operandBytes + to * (4 + operandBytes)))
    }
}

/// `relu(x + conv(relu(conv(relu(conv(x and the frame before it))))))`; before the first frame there are zeros.
struct MemoryBlockStage: VAEStage {
    let name: String
    let width: Int

    private var convolutions: [VAEConvolution] {
        [0, 2, 4].map {
            VAEConvolution("\(name).conv.\($0)", from: $0 == 0 ? 2 * width : width, to: width, kernel: [3, 3])
        }
    }

    var tensors: [(name: String, shape: [Int])] { convolutions.flatMap(\.tensors) }

    func flops(_ clip: VAEClip) -> Double { clip.flops(perPixel: convolutions.reduce(0) { $0 + $1.weightCount }) }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        let frame = clip.area * width
        return VAEMemory(kept: frame * operandBytes, passing: 2 * frame * (4 + 3 * operandBytes))
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let convolutions = convolutions
        // Of the frame itself, and of the one before it.
        let halves = try loader.planes(convolutions[0])[0].halvedInputs()
        let first = PackedVAEConvolution(
            weights: try loader.pack(halves), bias: try loader.bias(convolutions[0]))
        let (second, third) = (try loader.convolution(convolutions[1]), try loader.convolution(convolutions[2]))
        return { height, width, session throws(TensorError) in
            try MemoryBlockLayer(
                [first, second, third].map { packed throws(TensorError) in
                    try SizedConvolution(packed, height, width, session.compute)
                })
        }
    }
}

extension Tensor {
    /// `[to, 2 · from, 3, 3]` as two `[to, from, 3, 3]`.
    fileprivate func halvedInputs() -> [Tensor] {
        let half = count / shape[0] / 2
        let values = floats()
        return [0, 1].map { part in
            Tensor(
                (0..<shape[0]).flatMap { values[(2 * $0 + part) * half..<(2 * $0 + part + 1) * half] },
                shape: [shape[0], shape[1] / 2] + shape[2...])
        }
    }
}

private final class MemoryBlockLayer: VAELayer {
    private let convolutions: [SizedConvolution]
    private var past: Tensor?

    init(_ convolutions: [SizedConvolution]) { self.convolutions = convolutions }

    private var wanted: VAEDemand { VAEDemand(stream: nil, operand: convolutions[0].operand) }

    func demand(before next: VAEDemand) -> VAEDemand { VAEDemand(stream: .f32, operand: wanted.operand) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let frames = group.take()
        let operands = frames.map(\.operand)
        let before = [past] + operands.dropLast()
        past = operands.last ?? past
        let first = try run(0, zip(operands, before).map { [$0, $1].filter { $0 != nil } }, for: wanted, session)
        let second = try run(1, first.map { [$0.operand] }, for: wanted, session)
        let third = try run(2, second.map { [$0.operand] }, adding: frames.map(\.stream), for: next, session)
        try emit(VAEGroup(frames: third.map(\.frame), isFirst: group.isFirst, isLast: group.isLast))
    }

    /// - Parameters:
    ///   - inputs: of every frame made, one for each panel there is something for.
    ///   - streams: what is added to each, and what may be overwritten by it.
    private func run(
        _ index: Int, _ inputs: [[Tensor?]], adding streams: [Tensor?] = [], for next: VAEDemand, _ session: VAESession
    ) throws(TensorError) -> [FrameTarget] {
        let convolution = convolutions[index]
        let targets = inputs.indices.map { frame in
            var target = convolution.target(session, for: next)
            target.isRectified = true
            return target
        }
        try convolution.tiled.run(
            zip(inputs, targets).enumerated().map { frame, made in
                ConvolutionProgram(
                    inputs: made.0.map { .init($0, top: -1, left: -1) },
                    products: made.0.indices.map { .init(input: $0, panel: $0) },
                    outputs: [
                        .init(
                            terms: Array(made.0.indices), bias: convolution.bias,
                            addend: streams.isEmpty ? .none : streams[frame].map { .frame($0) } ?? .none,
                            target: made.1)
                    ])
            })
        return targets
    }
}

/// Nearest doubling of height and width, a pointwise convolution that makes the channels of one or two frames of each,
/// and a 3×3 convolution of those: in one, since nothing is between them, as four 2×2 convolutions of the undoubled
/// frame for every frame made.
struct GrowStage: VAEStage {
    let name: String
    /// The pointwise one's name; its earlier channels are the earlier frame's.
    let splitter: String
    let from: Int
    let to: Int
    /// Made of each.
    let frames: Int
    let isRectified: Bool

    private var convolution: VAEConvolution { VAEConvolution(name, from: from, to: to, kernel: [3, 3]) }
    private var pointwise: VAEConvolution {
        VAEConvolution(splitter, from: from, to: frames * from, kernel: [1, 1])
    }

    /// Neither has a bias.
    var tensors: [(name: String, shape: [Int])] { [pointwise.tensors[0], convolution.tensors[0]] }

    func output(of clip: VAEClip) -> VAEClip {
        VAEClip(frames: frames * clip.frames, height: 2 * clip.height, width: 2 * clip.width)
    }

    func flops(_ clip: VAEClip) -> Double { output(of: clip).flops(perPixel: from * to * 4) }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        VAEMemory(passing: 2 * clip.area * from * operandBytes)
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let splitting = try loader.planes(pointwise)[0]
        let kernel = try loader.planes(convolution)[0]
        let panels = (0..<frames).flatMap { frame in
            phases(of: composed(kernel, after: splitting.slice(frame * from..<(frame + 1) * from)))
        }
        let packed = PackedVAEConvolution(weights: try loader.pack(panels), bias: Tensor(.f32, [to]))
        return { [frames, isRectified] height, width, session throws(TensorError) in
            try GrowLayer(packed, frames: frames, isRectified: isRectified, height, width, session.compute)
        }
    }
}

/// The kernel of a convolution after a pointwise one.
///
/// - Parameters:
///   - kernel: `[to, between, 3, 3]` f32.
///   - pointwise: `[between, from, 1, 1]` f32.
/// - Returns: `[to, from, 3, 3]` f32.
private func composed(_ kernel: Tensor, after pointwise: Tensor) -> Tensor {
    let (to, between, from) = (kernel.shape[0], kernel.shape[1], pointwise.shape[1])
    let result = Tensor(.f32, [to, from, 3, 3])
    let (kernel, pointwise) = (kernel.floats(), pointwise.floats())
    result.withMutableFloats { result in
        for output in 0..<to {
            for tap in 0..<9 {
                var row = [Float](repeating: 0, count: from)
                for channel in 0..<between {
                    let factor = kernel[(output * between + channel) * 9 + tap]
                    for input in 0..<from { row[input] += factor * pointwise[channel * from + input] }
                }
                for input in 0..<from { result[(output * from + input) * 9 + tap] = row[input] }
            }
        }
    }
    return result
}

private final class GrowLayer: VAELayer {
    private let tiled: TiledConvolution
    private let bias: Tensor
    private let operand: DType
    private let frames: Int
    private let isRectified: Bool
    private let size: (height: Int, width: Int, channels: Int)

    init(
        _ packed: PackedVAEConvolution, frames: Int, isRectified: Bool, _ height: Int, _ width: Int,
        _ compute: ComputeContext
    ) throws(TensorError) {
        tiled = try TiledConvolution(packed.weights, height: height, width: width, compute: compute)
        (bias, operand) = (packed.bias, packed.operand)
        (self.frames, self.isRectified) = (frames, isRectified)
        size = (2 * height, 2 * width, packed.outChannels)
    }

    func demand(before next: VAEDemand) -> VAEDemand { VAEDemand(stream: nil, operand: operand) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let entering = group.take()
        for (index, frame) in entering.enumerated() {
            let targets = (0..<frames).map { _ in
                var target = session.target(size.height, size.width, size.channels, for: next)
                target.isRectified = isRectified
                return target
            }
            try tiled.run(
                targets.enumerated().map { made, target in
                    ConvolutionProgram.enlarging(frame.operand, panel: 4 * made, bias: bias, into: target)
                })
            try emit(
                VAEGroup(
                    frames: targets.map(\.frame), isFirst: group.isFirst && index == 0,
                    isLast: group.isLast && index == entering.count - 1))
        }
    }
}
