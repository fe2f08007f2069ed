import VditTensor

/// Makes several frames of twice the height and width of each frame: a convolution to as many times the channels, which
/// are then unfolded into time, rows and columns.
///
/// As convolutions for each place an output pixel can have, so that nothing is moved afterwards.
/// - Source: `LTXVideoUpsampler3d` and `MochiUpBlock3D`, diffusers 0.42.1.
struct UnfoldStage: VAEStage {
    /// To `4 · frames` times the stage's output channels: `((channel · frames + time) · 2 + row) · 2 + column`.
    let convolution: VAEConvolution
    /// Made of each.
    var frames = 2
    /// Of those made of the clip's first frame only the last is kept.
    var makesOneOfFirst = true
    /// Adds the unfolded input, its channels repeated until they suffice.
    var addsInput = false
    var padding = TimePadding.firstBefore

    private var places: Int { 4 * frames }
    private var channels: Int { convolution.to / places }

    var name: String { convolution.name }
    var tensors: [(name: String, shape: [Int])] { convolution.tensors }

    func output(of clip: VAEClip) -> VAEClip {
        VAEClip(
            frames: frames * clip.frames - (makesOneOfFirst ? frames - 1 : 0), height: 2 * clip.height,
            width: 2 * clip.width)
    }

    func flops(_ clip: VAEClip) -> Double { clip.flops(perPixel: convolution.weightCount) }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        let from = convolution.from
        return VAEMemory(
            kept: convolution.times > 1 ? 2 * clip.area * from * (operandBytes + (addsInput ? 4 : 0)) : 0,
            passing: 4 * clip.area * convolution.to * (4 + operandBytes))
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let (taps, bias) = (try loader.planes(convolution), try loader.bias(convolution).floats())
        let (places, channels) = (places, channels)
        let sets = (0..<places).map { place in loader.panels(of: taps.map { $0.everyRow(places, from: place) }) }
        let panels = sets.flatMap { $0 }
        let packed = PackedVAEConvolution(weights: try loader.pack(panels), bias: Tensor(bias))
        // In the order of time, row and column.
        let phases = (0..<places).map { place in
            TimeConvolution.Phase(
                panel: place * sets[0].count,
                bias: Tensor((0..<channels).map { bias[$0 * places + place] }), scale: 2, row: place / 2 % 2,
                column: place % 2)
        }
        let unfolded = convolution.from / places
        let tables = !addsInput ? [] : (0..<places).map { place in
            (0..<channels).map { Int32($0 % unfolded * places + place) }
        }
        return { [self] height, width, session throws(TensorError) in
            UnfoldLayer(
                self, try TimeConvolution(packed, times: convolution.times, height, width, session.compute), phases,
                tables, operand: packed.operand, size: (2 * height, 2 * width, channels))
        }
    }
}

extension Tensor {
    /// Rows `first`, `first + step`, … of the first axis, f32.
    fileprivate func everyRow(_ step: Int, from first: Int) -> Tensor {
        let result = Tensor(.f32, [shape[0] / step] + shape.dropFirst())
        for row in 0..<result.shape[0] { result[row].assign(self[row * step + first]) }
        return result
    }
}

private final class UnfoldLayer: VAELayer {
    private let stage: UnfoldStage
    private let convolution: TimeConvolution
    private let phases: [TimeConvolution.Phase]
    /// Of the input that is added: the source channel of every output channel, by phase; empty where none is.
    private let tables: [[Int32]]
    private var window: TimeWindow?
    private let operand: DType
    private let size: (height: Int, width: Int, channels: Int)
    private var hasEmitted = false

    init(
        _ stage: UnfoldStage, _ convolution: TimeConvolution, _ phases: [TimeConvolution.Phase], _ tables: [[Int32]],
        operand: DType, size: (height: Int, width: Int, channels: Int)
    ) {
        self.stage = stage
        self.convolution = convolution
        self.phases = phases
        self.tables = tables
        window = stage.convolution.times == 3 ? TimeWindow(stage.padding) : nil
        self.operand = operand
        self.size = size
    }

    func demand(before next: VAEDemand) -> VAEDemand { VAEDemand(stream: tables.isEmpty ? nil : .f32, operand: operand) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let frames = window?(group.frames, isLast: group.isLast) ?? group.frames
        let own = window == nil ? 0 : stage.padding.own
        try inTwos(window?.outputs(of: frames) ?? frames.count, isLast: group.isLast) { range, isLast in
            let needed = frames[range.lowerBound..<range.upperBound + (window == nil ? 0 : 2)].map(\.operand)
            let streams = range.map { frames[$0 + own].stream }
            // By the time among the frames made of each.
            let targets = (0..<stage.frames).map { _ in
                range.map { _ in session.target(size.height, size.width, size.channels, for: next) }
            }
            var programs: [ConvolutionProgram] = []
            for (place, phase) in phases.enumerated() {
                let addends = tables.isEmpty
                    ? []
                    : streams.compactMap { $0.map { ConvolutionProgram.Addend.channels($0, table: tables[place]) } }
                programs += convolution.programs(needed, into: targets[place / 4], adding: addends, phase)
            }
            try convolution.run(programs)
            var made = range.indices.flatMap { index in targets.map { $0[index - range.lowerBound].frame } }
            if !hasEmitted, stage.makesOneOfFirst {
                made.removeFirst(stage.frames - 1)
                let first = VAEGroup(frames: [made.removeFirst()], isFirst: true, isLast: isLast && made.isEmpty)
                hasEmitted = true
                try emit(first)
            }
            try inTwos(made.count, isLast: isLast) { range, isLast in
                try emit(VAEGroup(frames: Array(made[range]), isFirst: !hasEmitted, isLast: isLast))
                hasEmitted = true
            }
        }
    }
}
