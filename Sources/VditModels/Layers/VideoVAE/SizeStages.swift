import VditTensor

/// Nearest doubling of height and width and a 3×3 convolution, as four 2×2 convolutions of the undoubled
/// frame, one for each parity of the output's rows and columns.
struct EnlargeStage: VAEStage {
    /// 3×3.
    let convolution: VAEConvolution
    /// Adds the remembered frames, their channels duplicated to fill the new pixels.
    let shortcut: DuplicatingShortcut?

    var name: String { convolution.name }
    var tensors: [(name: String, shape: [Int])] { convolution.tensors }

    func output(of clip: VAEClip) -> VAEClip {
        VAEClip(frames: clip.frames, height: 2 * clip.height, width: 2 * clip.width)
    }

    func flops(_ clip: VAEClip) -> Double { output(of: clip).flops(perPixel: convolution.weightCount) }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        let entering = clip.area * convolution.from * operandBytes
        let remembered = clip.area * (shortcut?.channels ?? 0) * 4
        return VAEMemory(
            // Of two frames that entered before time was split, the second waits.
            kept: shortcut?.frames == 2 ? remembered : 0,
            // A frame that is made lets the remembered one go.
            passing: 2 * entering + remembered,
            together: clip.frames * (entering + output(of: clip).area * convolution.to * 4))
    }

    var handsOver: Bool { true }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let packed = PackedVAEConvolution(
            weights: try loader.pack(phases(of: try loader.planes(convolution)[0])),
            bias: try loader.bias(convolution))
        let tables = shortcut?.tables(outChannels: convolution.to) ?? []
        return { height, width, session throws(TensorError) in
            try EnlargeLayer(packed, tables, height, width, session.compute)
        }
    }
}

/// A 3×3 kernel after nearest doubling is, for output pixels of each parity, a 2×2 kernel on the undoubled
/// frame: rows (and columns) 1 and 2, or 0 and 1, fall on the same pixel.
///
/// - Returns: for (even, even), (even, odd), (odd, even), (odd, odd) rows and columns: `[out, in, 2, 2]`.
func phases(of kernel: Tensor) -> [Tensor] {
    let pairs = kernel.shape[0] * kernel.shape[1]
    let place = [[0, 1, 1], [0, 0, 1]]
    return [(0, 0), (0, 1), (1, 0), (1, 1)].map { row, column in
        let phase = Tensor(.f32, [kernel.shape[0], kernel.shape[1], 2, 2])
        phase.withMutableFloats { phase in
            kernel.withFloats { kernel in
                for pair in 0..<pairs {
                    for y in 0..<3 {
                        for x in 0..<3 {
                            phase[pair * 4 + place[row][y] * 2 + place[column][x]] += kernel[pair * 9 + y * 3 + x]
                        }
                    }
                }
            }
        }
        return phase
    }
}

extension ConvolutionProgram {
    /// The four convolutions of `phases` into a frame of twice the height and width.
    ///
    /// - Parameters:
    ///   - panel: the first of the four.
    ///   - addend: what is added to the output of a phase.
    static func enlarging(
        _ frame: Tensor?, panel: Int = 0, bias: Tensor, into target: FrameTarget,
        adding addend: (_ phase: Int) -> Addend = { _ in .none }
    ) -> ConvolutionProgram {
        ConvolutionProgram(
            inputs: (0..<4).map { .init(frame, top: $0 / 2 - 1, left: $0 % 2 - 1) },
            products: (0..<4).map { .init(input: $0, panel: panel + $0) },
            outputs: (0..<4).map {
                .init(
                    terms: [$0], bias: bias, addend: addend($0), target: target, scale: 2, row: $0 / 2, column: $0 % 2)
            })
    }
}

private final class EnlargeLayer: VAELayer {
    private let tiled: TiledConvolution
    private let bias: Tensor
    private let operand: DType
    private let size: (height: Int, width: Int, channels: Int)
    /// Of the shortcut: the source channel of every output channel, by time part, row and column.
    private let tables: [[Int32]]

    init(
        _ packed: PackedVAEConvolution, _ tables: [[Int32]], _ height: Int, _ width: Int,
        _ compute: ComputeContext
    ) throws(TensorError) {
        tiled = try TiledConvolution(packed.weights, height: height, width: width, compute: compute)
        bias = packed.bias
        operand = packed.operand
        size = (height * 2, width * 2, packed.outChannels)
        self.tables = tables
    }

    func demand(before next: VAEDemand) -> VAEDemand { VAEDemand(stream: nil, operand: operand) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        try emit(VAEGroup(frames: enlarged(group, for: next, session), isFirst: group.isFirst))
    }

    /// Frames together; one by one where each lets a remembered one go.
    private func enlarged(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession
    ) throws -> [VAEGroup.Frame] {
        var (frames, remembered) = (group.take(), group.takeRemembered())
        var made: [VAEGroup.Frame] = []
        while !frames.isEmpty {
            let count = tables.isEmpty ? frames.count : 1
            let targets = (0..<count).map { _ in session.target(size.height, size.width, size.channels, for: next) }
            try tiled.run(zip(frames, targets).map { program($0.operand, adding: remembered.first, into: $1) })
            frames.removeFirst(count)
            if !remembered.isEmpty { remembered.removeFirst() }
            made += targets.map(\.frame)
        }
        return made
    }

    private func program(
        _ frame: Tensor?, adding remembered: VAEGroup.Remembered?, into target: FrameTarget
    ) -> ConvolutionProgram {
        .enlarging(frame, bias: bias, into: target) { shortcut(remembered, phase: $0) }
    }

    private func shortcut(_ remembered: VAEGroup.Remembered?, phase: Int) -> ConvolutionProgram.Addend {
        guard let remembered, !tables.isEmpty else { return .none }
        return .channels(remembered.stream, table: tables[remembered.part * 4 + phase])
    }
}

/// A 3×3 convolution with stride 2, padded by one pixel at the right and the bottom: halves height and width.
struct ShrinkStage: VAEStage {
    /// 3×3.
    let convolution: VAEConvolution

    var name: String { convolution.name }
    var tensors: [(name: String, shape: [Int])] { convolution.tensors }

    func output(of clip: VAEClip) -> VAEClip {
        VAEClip(frames: clip.frames, height: clip.height / 2, width: clip.width / 2)
    }

    func flops(_ clip: VAEClip) -> Double { output(of: clip).flops(perPixel: convolution.weightCount) }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        let (entering, made) = (clip.area * convolution.from * operandBytes, output(of: clip).area * convolution.to)
        return VAEMemory(
            passing: 2 * (entering + made * (4 + operandBytes)), together: clip.frames * (entering + made * 4))
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let packed = try loader.convolution(convolution, stride: 2)
        return { height, width, session throws(TensorError) in
            PlaneLayer(try SizedConvolution(packed, height / 2, width / 2, session.compute), corner: 0)
        }
    }
}

/// A convolution of each frame by itself.
final class PlaneLayer: VAELayer {
    private let convolution: SizedConvolution
    private let corner: Int
    private let isRectified: Bool

    /// - Parameters:
    ///   - corner: where the kernel's upper left corner is for output pixel (0, 0), from the frame's.
    ///   - isRectified: whether outputs below 0 become 0.
    init(_ convolution: SizedConvolution, corner: Int, isRectified: Bool = false) {
        (self.convolution, self.corner, self.isRectified) = (convolution, corner, isRectified)
    }

    func demand(before next: VAEDemand) -> VAEDemand { VAEDemand(stream: nil, operand: convolution.operand) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let targets = group.frames.map { _ in
            var target = convolution.target(session, for: next)
            target.isRectified = isRectified
            return target
        }
        try convolution.tiled.run(
            group.frames.indices.map { index in
                ConvolutionProgram(
                    inputs: [.init(group.frames[index].operand, top: corner, left: corner)],
                    products: [.init(input: 0, panel: 0)],
                    outputs: [.init(terms: [0], bias: convolution.bias, target: targets[index])])
            })
        try emit(
            VAEGroup(frames: targets.map(\.frame), remembered: group.remembered, isFirst: group.isFirst))
    }
}
