import VditTensor

/// A convolution as its tensors state it.
struct VAEConvolution: Sendable {
    /// The tensors are `name.weight` and `name.bias`.
    let name: String
    let from: Int
    let to: Int
    /// Time, height and width; or height and width alone; or nothing: a linear layer of each pixel.
    let kernel: [Int]
    let edge: ConvolutionShape.Edge
    let arrival: FrameArrival

    init(
        _ name: String, from: Int, to: Int, kernel: [Int], edge: ConvolutionShape.Edge = .zeros,
        arrival: FrameArrival = .any
    ) {
        self.name = name
        self.from = from
        self.to = to
        self.kernel = kernel
        self.edge = edge
        self.arrival = arrival
    }

    var tensors: [(name: String, shape: [Int])] {
        [(name + ".weight", [to, from] + kernel), (name + ".bias", [to])]
    }

    /// Frames one output frame is made of.
    var times: Int { kernel.count == 3 ? kernel[0] : 1 }

    /// Multiply-adds of one output pixel.
    var weightCount: Int { from * to * kernel.reduce(1, *) }
}

/// How many frames a convolution over three gets at a time: which panels it needs. The first of a clip, with nothing
/// before it, comes alone in any case.
enum FrameArrival: Sendable {
    case any, single, pairs

    /// The panel of each tap over time; with pairs none is of the middle one.
    var taps: [Int?] { self == .pairs ? [0, nil, 1] : [0, 1, 2] }

    /// The panels of the fast algorithm's four products: the first tap, the combinations, the last tap.
    var fast: [Int]? {
        switch self {
        case .any: [0, 3, 4, 2]
        case .single: nil
        case .pairs: [0, 2, 3, 1]
        }
    }

    /// - Parameter taps: three, `[to, from, height, width]` f32.
    func panels(of taps: [Tensor]) -> [Tensor] {
        if self == .single { return taps }
        let outer = combine([taps[0], taps[2]], [0.5, 0.5])
        let combinations = [combine([outer, taps[1]], [1, 0.5]), combine([outer, taps[1]], [1, -0.5])]
        return (self == .any ? taps : [taps[0], taps[2]]) + combinations
    }
}
