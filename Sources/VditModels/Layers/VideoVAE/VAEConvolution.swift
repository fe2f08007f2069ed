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
    /// `v / √(mean square + 1e-8)`, without weights; moved by the decode's time where the VAE is told one.
    case plain(channels: Int, VAEModulation?)

    var tensors: [(name: String, shape: [Int])] {
        switch self {
        case .rms(let name, let shape): [(name + ".gamma", shape)]
        case .plain(_, let modulation): modulation?.tensors ?? []
        }
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> LoadedVAENorm {
        switch self {
        case .rms(let name, _):
            return LoadedVAENorm(norm: FrameTarget.Norm(gamma: try loader.vector(name + ".gamma")))
        case .plain(let channels, let modulation):
            let ones = Tensor(Array(repeating: 1, count: channels))
            return LoadedVAENorm(
                norm: FrameTarget.Norm(gamma: ones, epsilon: 1e-8),
                modulation: try modulation.map { modulation throws(TensorError) in
                    (
                        try loader.vector(modulation.table), try loader.embedder(modulation.embedder),
                        modulation.pair
                    )
                })
        }
    }
}

/// How the decode's time moves normalised pixels: a table's row plus the embedding's is a shift, the next one a
/// scale less 1.
struct VAEModulation: Sendable {
    /// The tensor, `[2 · pairs, channels]`.
    let table: String
    let pairs: Int
    let channels: Int
    /// The pair of rows that counts, from 0.
    let pair: Int
    /// The layers that embed the time, whose tensors another lists: several tables share them.
    let embedder: String

    var tensors: [(name: String, shape: [Int])] { pair == 0 ? [(table, [2 * pairs, channels])] : [] }
}

/// A norm with its weights.
struct LoadedVAENorm: Sendable {
    var norm: FrameTarget.Norm
    var modulation: (table: Tensor, embedder: TimestepEmbedder, pair: Int)?

    /// The norm at the time of a decode.
    func ready(_ session: VAESession) throws(TensorError) -> FrameTarget.Norm {
        guard let modulation else { return norm }
        let embedding = try modulation.embedder(session.timestep, Scratch()).embedding.floats()
        let table = modulation.table.floats()
        let channels = norm.gamma.count
        func row(_ index: Int, plus constant: Float) -> Tensor {
            let range = index * channels..<(index + 1) * channels
            return Tensor(zip(embedding[range], table[range]).map { $0 + $1 + constant })
        }
        var norm = norm
        norm.shift = row(2 * modulation.pair, plus: 0)
        norm.gamma = row(2 * modulation.pair + 1, plus: 1)
        return norm
    }
}
