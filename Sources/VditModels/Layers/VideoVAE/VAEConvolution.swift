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

    init(_ name: String, from: Int, to: Int, kernel: [Int], edge: ConvolutionShape.Edge = .zeros) {
        self.name = name
        self.from = from
        self.to = to
        self.kernel = kernel
        self.edge = edge
    }

    var tensors: [(name: String, shape: [Int])] {
        [(name + ".weight", [to, from] + kernel), (name + ".bias", [to])]
    }

    /// Frames one output frame is made of.
    var times: Int { kernel.count == 3 ? kernel[0] : 1 }

    /// Multiply-adds of one output pixel.
    var weightCount: Int { from * to * kernel.reduce(1, *) }
}
