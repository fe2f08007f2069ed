import VditTensor

/// Weights of an encoder whose layers have biases: packed for the sequences that go through them, and given back.
struct EncoderWeights: Sendable {
    private let store: WeightStore
    /// In front of every name.
    private let prefix: String

    init(_ store: WeightStore, prefix: String) { (self.store, self.prefix) = (store, prefix) }

    /// As stored.
    func tensor(_ name: String) throws(TensorError) -> Tensor { try store.tensor(prefix + name) }

    /// Rows of a matrix in f32.
    func read(rows indices: [Int32], of name: String, into out: Tensor) throws(TensorError) {
        try store.read(rows: indices, of: prefix + name, into: out)
    }

    /// In f32.
    func vector(_ name: String) throws(TensorError) -> Tensor { try tensor(name).converted(to: .f32) }

    /// Layers side by side, all with biases or none.
    func linear(
        _ names: [String], _ compute: ComputeContext, result: DType = .f32, activation: Linear.Activation = .none
    ) throws(TensorError) -> Linear {
        var (matrices, biases): ([Tensor], [Tensor]) = ([], [])
        for name in names {
            matrices.append(try tensor("\(name).weight"))
            if store.contains("\(prefix)\(name).bias") { biases.append(try tensor("\(name).bias")) }
        }
        let layer = try Linear(
            weights: matrices, biases: biases, operand: compute.operandType, result: result, activation: activation,
            rounding: compute.precision, on: compute.instructionSet)
        for name in names { store.release("\(prefix)\(name).weight") }
        return layer
    }

    /// A layer norm of all rows.
    func norm(
        _ x: Tensor, _ name: String, epsilon: Float, _ run: EncoderRun, into out: Tensor
    ) throws(TensorError) {
        let (scale, shift) = (try vector("\(name).weight"), try vector("\(name).bias"))
        run.forEachBlock { rows, _ in
            run.rows.layerNorm(x.slice(rows), epsilon: epsilon, scale: scale, shift: shift, into: out.slice(rows))
        }
    }
}
