/// Where a model's weights come from. How a layer keeps them (`WeightFormat`) and what it multiplies (`Precision`)
/// are no matter of the source's.
///
/// Sources compose: what changes tensors on their way into a model (an adapter's sum, other names, a packed format
/// decoded) is a source that asks another one, and passes `release` on. Values that were computed come back as f32
/// and are rounded once, by the layer that packs them; the shape is always the one the model expects.
public protocol WeightSource: Sendable {
    /// Whether a tensor of this name exists.
    func contains(_ name: String) -> Bool
    /// A tensor of a floating-point type, as stored or as f32, in the shape the model checked before.
    func tensor(_ name: String) throws(TensorError) -> Tensor
    /// The same, of which rows are decoded where they are wanted.
    func weight(_ name: String) throws(TensorError) -> StoredWeight
    /// The caller has packed the tensor; its pages may go back to the system.
    func release(_ name: String)
}

extension WeightSource {
    public func weight(_ name: String) throws(TensorError) -> StoredWeight { .values(try tensor(name)) }
}

/// Weights drawn from a fixed sequence, for benchmarks and tests where no checkpoint is at hand.
///
/// Matrices have standard deviation `1 / sqrt(inputs)`, so that activations keep their size; vectors whose
/// name ends in `weight`, norms' `gamma` and deviations (`std`) are 1, others small. bf16.
public struct RandomWeights: WeightSource {
    private let shapes: [String: [Int]]
    private let seed: UInt64

    public init(_ tensors: [(name: String, shape: [Int])], seed: UInt64) {
        shapes = Dictionary(tensors.map { ($0.name, $0.shape) }, uniquingKeysWith: { $1 })
        self.seed = seed
    }

    public func contains(_ name: String) -> Bool { shapes[name] != nil }

    public func tensor(_ name: String) throws(TensorError) -> Tensor {
        guard let shape = shapes[name] else {
            throw .absent(path: "random weights", tensor: name, present: shapes.keys.sorted().prefix(10).map { $0 })
        }
        let result = Tensor(.f32, shape)
        let isNorm = name.hasSuffix("gamma")
            || shape.count == 1 && (name.hasSuffix("weight") || name.hasSuffix("std"))
        let isMatrix = shape.count > 1 && !name.hasSuffix("table")
        if isNorm {
            result.withMutableFloats { $0.update(repeating: 1) }
        } else {
            let inputs = shape.dropFirst().reduce(1, *)
            let deviation = isMatrix ? 1 / Float(inputs).squareRoot() : 0.02
            // FNV-1a of the name, so that every tensor has a stream of its own.
            var random = SplitMix64(
                seed: name.utf8.reduce(seed ^ 0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 })
            result.withMutableFloats { values in
                for i in values.indices {
                    // The sum of the two halves is close enough to a bell here.
                    let z = random.next()
                    let sum = Float(UInt32(truncatingIfNeeded: z)) + Float(z >> 32)
                    values[i] = (sum / 4_294_967_296 - 1) * 2.449_49 * deviation
                }
            }
        }
        return result.converted(to: .bf16)
    }

    public func release(_ name: String) {}
}
