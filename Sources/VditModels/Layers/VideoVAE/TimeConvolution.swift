import VditTensor

/// What stands for the frames that a convolution over time has no more, or not yet.
enum TimePadding: Sendable {
    /// Zeros in front: Wan.
    case zerosBefore
    /// The first frame twice in front.
    case firstBefore
    /// The first frame once in front and the last once behind: output frames come one frame late.
    case bothEdges

    /// Where among the three frames an output frame is made of the one of its own time is.
    var own: Int { self == .bothEdges ? 1 : 2 }
}

/// The frames that a convolution over three frames still needs, from one group to the next.
struct TimeWindow {
    private let padding: TimePadding
    /// Output frames are made of every `stride`th three.
    private let stride: Int
    private var past: [VAEGroup.Frame]?

    init(_ padding: TimePadding, stride: Int = 1) {
        self.padding = padding
        self.stride = stride
    }

    /// Takes the next frames, any number.
    ///
    /// - Returns: frames of which output frame `i` is made of `stride · i`, `+ 1` and `+ 2`.
    mutating func callAsFunction(_ frames: [VAEGroup.Frame], isLast: Bool) -> [VAEGroup.Frame] {
        guard let first = frames.first, let last = frames.last else { return [] }
        let nothing = VAEGroup.Frame(stream: nil, operand: nil)
        let edge = [padding == .zerosBefore ? nothing : first]
        var all = (past ?? (padding == .bothEdges ? edge : edge + edge)) + frames
        if isLast, padding == .bothEdges { all.append(last) }
        past = all.dropFirst(outputs(of: all) * stride).enumerated().map { index, frame in
            // Only frames whose own output is still to come are added to something.
            index < padding.own ? VAEGroup.Frame(stream: nil, operand: frame.operand) : frame
        }
        return all
    }

    /// Output frames that can be made of so many.
    func outputs(of frames: [VAEGroup.Frame]) -> Int { frames.count < 3 ? 0 : (frames.count - 3) / stride + 1 }
}

/// A convolution over frames of one size: three of them, or one, make an output frame.
///
/// Two output frames at once cost four plane convolutions instead of six: F(2, 3) of Winograd, "Arithmetic
/// Complexity of Computations" (1980), along time.
struct TimeConvolution {
    /// A set of panels, and where its results go: to every pixel of the target, or to one of those made of each.
    struct Phase {
        /// The first panel.
        var panel = 0
        var bias: Tensor
        var scale = 1
        var row = 0
        var column = 0
        /// The kernel's upper left corner for output pixel (0, 0), relative to the frame's; nil centres the kernel.
        var top: Int?
        var left: Int?
    }

    /// Panels of a set: the taps, and the two combinations of the fast algorithm.
    static let panels = 5

    private let tiled: TiledConvolution
    private let whole: Phase
    private let reach: Int
    private let arrival: FrameArrival
    private let times: Int
    private let stride: Int

    /// - Parameters:
    ///   - height: rows of the products, as is `width` columns.
    ///   - other: another convolution, whose outputs are added without its bias.
    ///   - times: frames an output frame is made of, 3 or 1.
    ///   - stride: from the three of an output frame to those of the next.
    init(
        _ convolution: PackedVAEConvolution, addingBiasOf other: PackedVAEConvolution? = nil, times: Int = 3,
        stride: Int = 1, _ height: Int, _ width: Int, _ compute: ComputeContext
    ) throws(TensorError) {
        tiled = try TiledConvolution(convolution.weights, height: height, width: width, compute: compute)
        whole = Phase(bias: other.map { sum(convolution.bias, $0.bias) } ?? convolution.bias)
        reach = convolution.weights.shape.kernel / 2
        arrival = reach > 0 ? convolution.arrival : .single
        self.times = times
        self.stride = stride
    }

    /// - Parameters:
    ///   - frames: as many as a `TimeWindow` gives; a missing one counts as zeros.
    ///   - addends: one for each target, or none at all.
    func callAsFunction(
        _ frames: [Tensor?], into targets: [FrameTarget], adding addends: [ConvolutionProgram.Addend] = [],
        noise: ConvolutionProgram.Noise? = nil
    ) throws(TensorError) {
        try tiled.run(programs(frames, into: targets, adding: addends, noise: noise, whole))
    }

    /// Runs programs of several phases together.
    func run(_ programs: [ConvolutionProgram]) throws(TensorError) { try tiled.run(programs) }

    func programs(
        _ frames: [Tensor?], into targets: [FrameTarget], adding addends: [ConvolutionProgram.Addend] = [],
        noise: ConvolutionProgram.Noise? = nil, _ phase: Phase
    ) -> [ConvolutionProgram] {
        func output(_ index: Int, _ terms: [Int], _ sign: Float = 1) -> ConvolutionProgram.Output {
            .init(
                terms: terms, sign: sign, bias: phase.bias, addend: addends.isEmpty ? .none : addends[index],
                noise: noise, target: targets[index], scale: phase.scale, row: phase.row, column: phase.column)
        }
        let (top, left) = (phase.top ?? -reach, phase.left ?? -reach)
        func input(_ first: Int, _ sign: Float, _ second: Int) -> ConvolutionProgram.Input {
            .init(frames[first], plus: frames[second], sign: sign, top: top, left: left)
        }
        var programs: [ConvolutionProgram] = []
        var next = 0
        while next < targets.count {
            if times == 3, stride == 1, targets.count - next >= 2, let fast = arrival.fast {
                programs.append(
                    ConvolutionProgram(
                        inputs: [
                            input(next, -1, next + 2), input(next + 1, 1, next + 2), input(next + 2, -1, next + 1),
                            input(next + 1, -1, next + 3),
                        ],
                        products: fast.enumerated().map { .init(input: $0, panel: phase.panel + $1) },
                        outputs: [output(next, [1, 2, 0]), output(next + 1, [1, 2, 3], -1)]))
                next += 2
                continue
            }
            let window = times == 3 ? Array(frames[next * stride...next * stride + 2]) : [frames[next]]
            let taps = window.indices.filter { window[$0] != nil }
            programs.append(
                ConvolutionProgram(
                    inputs: taps.map { .init(window[$0], top: top, left: left) },
                    products: taps.enumerated().map {
                        .init(input: $0.offset, panel: phase.panel + panel(ofTap: $0.element))
                    },
                    outputs: [output(next, Array(taps.indices))]))
            next += 1
        }
        return programs
    }

    private func panel(ofTap tap: Int) -> Int {
        guard let panel = arrival.taps[tap] else { preconditionFailure("a single frame where pairs were said to come") }
        return panel
    }
}

private func sum(_ a: Tensor, _ b: Tensor) -> Tensor {
    Tensor(zip(a.floats(), b.floats()).map { $0 + $1 })
}

/// Output frames in twos: what works fast, and what little memory holds.
///
/// - Parameter emit: gets the range of a two, and whether it is the last.
func inTwos(_ count: Int, isLast: Bool, _ emit: (Range<Int>, Bool) throws -> Void) rethrows {
    for start in stride(from: 0, to: count, by: 2) {
        let end = min(start + 2, count)
        try emit(start..<end, isLast && end == count)
    }
}
