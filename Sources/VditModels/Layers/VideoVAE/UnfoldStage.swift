import VditTensor

/// Makes two frames of twice the height and width of each frame: a convolution over three frames to eight times the
/// channels, which are then unfolded into time, rows and columns. The clip's first frame makes one.
///
/// As eight convolutions, one for each place an output pixel can have, so that nothing is moved afterwards.
/// - Source: `LTXVideoUpsampler3d`, diffusers 0.42.1.
struct UnfoldStage: VAEStage {
    /// To eight times the stage's output channels: `((channel · 2 + time) · 2 + row) · 2 + column`.
    let convolution: VAEConvolution
    /// Adds the unfolded input, its channels repeated until they suffice.
    let addsInput: Bool
    let padding: TimePadding

    private static let places = 8
    private var channels: Int { convolution.to / Self.places }

    var name: String { convolution.name }
    var tensors: [(name: String, shape: [Int])] { convolution.tensors }

    func output(of clip: VAEClip) -> VAEClip {
        VAEClip(frames: 2 * clip.frames - 1, height: 2 * clip.height, width: 2 * clip.width)
    }

    func flops(_ clip: VAEClip) -> Double { clip.flops(perPixel: convolution.weightCount) }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        let from = convolution.from
        return VAEMemory(
            kept: 2 * clip.area * from * (operandBytes + (addsInput ? 4 : 0)),
            passing: 4 * clip.area * convolution.to * (4 + operandBytes))
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let (taps, bias) = (try loader.planes(convolution), try loader.bias(convolution).floats())
        let (channels, padding) = (channels, padding)
        var panels: [Tensor] = []
        for place in 0..<Self.places {
            panels += loader.panels(of: taps.map { $0.everyRow(Self.places, from: place) })
        }
        let packed = PackedVAEConvolution(weights: try loader.pack(panels), bias: Tensor(bias))
        // In the order of time, row and column.
        let phases = (0..<Self.places).map { place in
            TimeConvolution.Phase(
                panel: place * TimeConvolution.panels,
                bias: Tensor((0..<channels).map { bias[$0 * Self.places + place] }), scale: 2, row: place / 2 % 2,
                column: place % 2)
        }
        let unfolded = convolution.from / Self.places
        let tables = !addsInput ? [] : (0..<Self.places).map { place in
            (0..<channels).map { Int32($0 % unfolded * Self.places + place) }
        }
        return { height, width, session throws(TensorError) in
            UnfoldLayer(
                try TimeConvolution(packed, height, width, session.compute), phases, tables, TimeWindow(padding),
                own: padding.own, operand: packed.operand, size: (2 * height, 2 * width, channels))
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
    private let convolution: TimeConvolution
    private let phases: [TimeConvolution.Phase]
    /// Of the input that is added: the source channel of every output channel, by phase; empty where none is.
    private let tables: [[Int32]]
    private var window: TimeWindow
    private let own: Int
    private let operand: DType
    private let size: (height: Int, width: Int, channels: Int)
    private var hasEmitted = false

    init(
        _ convolution: TimeConvolution, _ phases: [TimeConvolution.Phase], _ tables: [[Int32]], _ window: TimeWindow,
        own: Int, operand: DType, size: (height: Int, width: Int, channels: Int)
    ) {
        self.convolution = convolution
        self.phases = phases
        self.tables = tables
        self.window = window
        self.own = own
        self.operand = operand
        self.size = size
    }

    func demand(before next: VAEDemand) -> VAEDemand { VAEDemand(stream: !tables.isEmpty, operand: operand) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let frames = window(group.frames, isLast: group.isLast)
        try inTwos(window.outputs(of: frames), isLast: group.isLast) { range, isLast in
            let needed = frames[range.lowerBound..<range.upperBound + 2].map(\.operand)
            let streams = range.map { frames[$0 + own].stream }
            // The earlier and the later frame made of each.
            let targets = (0..<2).map { _ in
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
            for index in range.indices {
                let place = index - range.lowerBound
                let made = (hasEmitted ? [0, 1] : [1]).map { targets[$0][place].frame }
                try emit(
                    VAEGroup(frames: made, isFirst: !hasEmitted, isLast: isLast && index == range.upperBound - 1))
                hasEmitted = true
            }
        }
    }
}
