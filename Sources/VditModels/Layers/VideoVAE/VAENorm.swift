import VditTensor

/// What values go through before a convolution and, where it takes their SiLU, before that.
enum VAENorm: Sendable {
    /// Nothing.
    case identity
    /// `v / max(‖v‖, 1e-12) · √channels · gamma`, gamma being the tensor `name.gamma` of `shape`.
    case rms(_ name: String, shape: [Int])
    /// `v / √(mean square + 1e-8)`, without weights; moved by the decode's time where the VAE is told one.
    case plain(channels: Int, VAEModulation?)
    case group(VAEGroupNorm)

    var tensors: [(name: String, shape: [Int])] {
        switch self {
        case .identity: []
        case .rms(let name, let shape): [(name + ".gamma", shape)]
        case .plain(_, let modulation): modulation?.tensors ?? []
        case .group(let norm): norm.tensors
        }
    }

    /// Whether it takes statistics of all frames that enter a stage together.
    var isOfGroup: Bool {
        if case .group(let norm) = self { norm.span == .group } else { false }
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> LoadedVAENorm {
        switch self {
        case .identity:
            return .identity
        case .group(let norm):
            return .group(try LoadedGroupNorm(norm, loader))
        case .rms(let name, _):
            return .pixel(LoadedPixelNorm(norm: FrameTarget.Norm(gamma: try loader.vector(name + ".gamma"))))
        case .plain(let channels, let modulation):
            let ones = Tensor(Array(repeating: 1, count: channels))
            return .pixel(
                LoadedPixelNorm(
                    norm: FrameTarget.Norm(gamma: ones, epsilon: 1e-8),
                    modulation: try modulation.map { modulation throws(TensorError) in
                        (
                            try loader.vector(modulation.table), try loader.embedder(modulation.embedder),
                            modulation.pair
                        )
                    }))
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
enum LoadedVAENorm: Sendable {
    case identity
    case pixel(LoadedPixelNorm)
    case group(LoadedGroupNorm)
}

/// A norm over the channels of each pixel, with its weights.
struct LoadedPixelNorm: Sendable {
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

/// A group norm of frames, before a convolution.
struct VAEGroupNorm: Sendable {
    /// Frames that statistics are taken of.
    enum Span: Sendable {
        case frame
        /// All that enter a stage together.
        case group
    }

    /// The tensors are `name.weight` and `name.bias`.
    let name: String
    let channels: Int
    let groups: Int
    let epsilon: Float
    let span: Span
    /// Pointwise convolutions of the latents, to what normalised values are multiplied by and what is added to them.
    var guide: (factors: VAEConvolution, terms: VAEConvolution)?

    var tensors: [(name: String, shape: [Int])] {
        [("\(name).weight", [channels]), ("\(name).bias", [channels])]
            + (guide.map { $0.factors.tensors + $0.terms.tensors } ?? [])
    }
}

/// A group norm with its weights.
struct LoadedGroupNorm: Sendable {
    let norm: GroupNorm
    let span: VAEGroupNorm.Span
    /// To factors, then terms, in one.
    let guide: PackedVAEConvolution?

    init(_ norm: VAEGroupNorm, _ loader: VAEWeightLoader) throws(TensorError) {
        self.norm = GroupNorm(
            weight: try loader.vector("\(norm.name).weight"), bias: try loader.vector("\(norm.name).bias"),
            groups: norm.groups, epsilon: norm.epsilon)
        span = norm.span
        guide = try norm.guide.map { guide throws(TensorError) in
            let planes = [try loader.planes(guide.factors)[0], try loader.planes(guide.terms)[0]]
            let biases = [try loader.bias(guide.factors), try loader.bias(guide.terms)]
            // As the other pointwise convolutions at the latents: fp32.
            return PackedVAEConvolution(
                weights: try loader.pack([stacked(planes)], operand: .f32), bias: stacked(biases))
        }
    }
}

/// Tensors of one shape, f32, one after the other along the first axis.
private func stacked(_ tensors: [Tensor]) -> Tensor {
    let shape = tensors[0].shape
    return Tensor(tensors.flatMap { $0.floats() }, shape: [shape[0] * tensors.count] + shape.dropFirst())
}
