import VditTensor

/// A convolution as its tensors state it, zeros around the frame.
struct VAEConvolution: Sendable {
    /// The tensors are `name.weight` and `name.bias`.
    let name: String
    let from: Int
    let to: Int
    /// Time, height and width; or height and width alone.
    let kernel: [Int]

    init(_ name: String, from: Int, to: Int, kernel: [Int]) {
        self.name = name
        self.from = from
        self.to = to
        self.kernel = kernel
    }

    var tensors: [(name: String, shape: [Int])] {
        [(name + ".weight", [to, from] + kernel), (name + ".bias", [to])]
    }

    /// Frames one output frame is made of.
    var times: Int { kernel.count == 3 ? kernel[0] : 1 }

    /// Multiply-adds of one output pixel.
    var weightCount: Int { from * to * kernel.reduce(1, *) }
}

/// A norm over the channels of each pixel, before a convolution.
enum VAENorm: Sendable {
    /// `v / max(‖v‖, 1e-12) · √channels · gamma`, gamma being the tensor `name.gamma` of `shape`.
    case rms(_ name: String, shape: [Int])

    var tensors: [(name: String, shape: [Int])] {
        switch self {
        case .rms(let name, let shape): [(name + ".gamma", shape)]
        }
    }

    /// - Returns: the norm's weights, `[channels]` f32.
    func load(_ loader: VAEWeightLoader) throws(TensorError) -> Tensor {
        switch self {
        case .rms(let name, _): try loader.vector(name + ".gamma")
        }
    }
}
