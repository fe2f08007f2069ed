import VditTensor

/// Two linear layers of rows with something that is not linear between.
struct FeedForward: Sendable {
    enum Form {
        case plain(Linear.Activation)
        /// The first layer has twice the outputs: `value · SiLU(gate)`, the values first.
        case gated
    }

    private let first: Linear
    private let gate: Linear?
    private let second: Linear

    /// - Parameter name: of the pair `net.0.proj`, `net.2`.
    init(_ loader: WeightLoader, _ name: String, _ form: Form) throws(TensorError) {
        switch form {
        case .plain(let activation):
            first = try loader.linear(
                "\(name).net.0.proj", result: loader.compute.operandType, activation: activation)
            gate = nil
        case .gated:
            let halves = try loader.halves("\(name).net.0.proj", activations: (.none, .silu))
            (first, gate) = (halves.0, halves.1)
        }
        second = try loader.linear("\(name).net.2", result: .f32)
    }

    /// Of its weights: lanes may share them.
    var id: ObjectIdentifier { ObjectIdentifier(first) }
    var operandType: DType { first.operandType }
    var byteCount: Int { first.byteCount + (gate?.byteCount ?? 0) + second.byteCount }

    /// - Parameters:
    ///   - x: `[rows, inputs]` of the operand type.
    ///   - y: `[rows, outputs]` f32.
    func callAsFunction(_ x: Tensor, into y: Tensor, _ scratch: Scratch) throws(TensorError) {
        let hidden = scratch.tensor(first.resultType, [x.shape[0], first.outputs])
        try first(x, into: hidden, scratch)
        guard let gate else { return try second(hidden, into: y, scratch) }
        let gates = scratch.tensor(.f32, hidden.shape)
        try gate(x, into: gates, scratch)
        hidden.withMutableFloats { values in
            gates.withFloats { gates in
                for index in values.indices { values[index] *= gates[index] }
            }
        }
        try second(hidden.as(second.operandType, scratch), into: y, scratch)
    }
}

extension Tensor {
    /// This tensor where it is of this type, else a copy that is, in scratch.
    func `as`(_ type: DType, _ scratch: Scratch) -> Tensor {
        if dtype == type { return self }
        let copy = scratch.tensor(type, shape)
        copy.convert(from: self)
        return copy
    }
}
