import Glibc
import VditTensor

/// A norm's weights, applied before a modulation.
struct NormWeights: Sendable {
    let scale: Tensor
    let shift: Tensor

    /// - Parameter name: of the pair `weight`, `bias`.
    init(_ loader: WeightLoader, _ name: String) throws(TensorError) {
        scale = try loader.vector("\(name).weight")
        shift = try loader.vector("\(name).bias")
    }
}

/// The norm of queries or keys, over each head alone.
enum HeadNorm: Sendable {
    /// `[headDim]`.
    case rms(Tensor)
    case layer(NormWeights)
}

/// Where a lane's modulation stands among the parts of a product.
struct ModulationPlaces: Sendable {
    /// Index of the product.
    var product = 0
    /// Indices of parts as wide as the lane's rows; nil for what the family has not.
    var shift: Int?
    var scale: Int?
    var gate: Int?
}

/// What one stream goes through in a block.
struct JointLane: Sendable {
    /// What follows attention.
    enum Rest: Sendable {
        /// An output projection, then a feed-forward; each added to the rows through its gate.
        case behind(out: Linear, FeedForward)
        /// A wider layer beside the attention, on the same rows, and one projection of both: HunyuanVideo's single
        /// stream.
        case beside(hidden: Linear, out: Linear)
        /// The lane ends in keys and values.
        case nothing
    }

    /// What comes out of a product before it is added.
    enum Gate: Sendable {
        case plain
        /// Its RMS norm, and the gate's hyperbolic tangent: Mochi.
        case normed
    }

    let width: Int
    let norm: RowNorm
    let epsilon: Float
    var gate = Gate.plain
    /// The norms' own weights, where they have some.
    var norms: (attention: NormWeights, feedForward: NormWeights)?
    var attentionPlaces: ModulationPlaces
    var feedForwardPlaces = ModulationPlaces()

    let qkv: Linear
    var normQ: HeadNorm?
    var normK: HeadNorm?
    var queryKeyEpsilon: Float = 1e-6
    let rest: Rest

    fileprivate var linears: [Linear] {
        switch rest {
        case .behind(let out, _): [qkv, out]
        case .beside(let hidden, let out): [qkv, hidden, out]
        case .nothing: [qkv]
        }
    }

    fileprivate var feedForward: FeedForward? { if case .behind(_, let own) = rest { own } else { nil } }

    /// The modulation of the lane's rows.
    ///
    /// - Parameter products: of the block, `[parts · width]` f32 each.
    fileprivate func modulation(_ products: [Tensor]) -> Modulation {
        func part(_ places: ModulationPlaces, _ weights: NormWeights?) -> Modulation.Part {
            func values(_ index: Int?) -> [Float]? {
                index.map { products[places.product].slice($0 * width..<($0 + 1) * width).floats() }
            }
            var part = Modulation.Part.folded(scale: values(places.scale), shift: values(places.shift), weights)
            part.gate = values(places.gate).map { gate == .normed ? Tensor($0.map(tanhf)) : Tensor($0) }
            return part
        }
        return Modulation(
            attention: part(attentionPlaces, norms?.attention),
            feedForward: part(feedForwardPlaces, norms?.feedForward))
    }
}

extension Modulation.Part {
    /// `(norm · weight + bias) · (1 + scale) + shift` as one scale and one shift of the bare norm.
    static func folded(scale: [Float]?, shift: [Float]?, _ weights: NormWeights?) -> Self {
        let factor = scale.map { $0.map { 1 + $0 } }
        guard let weights else { return .init(scale: factor.map { Tensor($0) }, shift: shift.map { Tensor($0) }) }
        guard let factor else { return .init(scale: weights.scale, shift: shift.map { Tensor($0) } ?? weights.shift) }
        let (own, bias) = (weights.scale.floats(), weights.shift.floats())
        return .init(
            scale: Tensor(factor.indices.map { factor[$0] * own[$0] }),
            shift: Tensor(factor.indices.map { factor[$0] * bias[$0] + (shift?[$0] ?? 0) }))
    }
}

/// One block over the joint sequence: a lane for each stream, which may share weights.
struct JointBlock: Sendable {
    let heads: Int
    let headDim: Int
    /// What the modulating vector becomes after SiLU.
    let modulations: [Linear]
    /// By stream; one for all where there is one.
    let lanes: [JointLane]

    func lane(_ stream: Int) -> JointLane { lanes[min(stream, lanes.count - 1)] }

    /// Bytes of packed weights; those that lanes share count once.
    var byteCount: Int {
        var seen: Set<ObjectIdentifier> = []
        let linears = (modulations + lanes.flatMap(\.linears)).filter { seen.insert(ObjectIdentifier($0)).inserted }
        return linears.reduce(0) { $0 + $1.byteCount }
            + lanes.compactMap(\.feedForward).filter { seen.insert($0.id).inserted }.reduce(0) { $0 + $1.byteCount }
    }

    /// The modulation of each stream.
    ///
    /// - Parameter activated: `[1, width]` f32, a vector after SiLU.
    func modulation(_ activated: Tensor, streams: Int) throws(TensorError) -> [Modulation] {
        var products: [Tensor] = []
        for linear in modulations { products.append(try linear.product(of: activated)) }
        return (0..<streams).map { lane($0).modulation(products) }
    }
}

extension Linear {
    /// `[outputs]` f32 of one row.
    ///
    /// - Parameter row: `[1, inputs]` f32.
    func product(of row: Tensor) throws(TensorError) -> Tensor {
        let (result, scratch) = (Tensor(.f32, [outputs]), Scratch())
        try self(row.as(operandType, scratch), into: result, scratch)
        return result
    }
}
