import VditTensor

/// Packs the tensors of a weight source into layers, releasing each as soon as it is packed.
public struct WeightLoader: Sendable {
    public let source: any WeightSource
    public let compute: ComputeContext
    /// Of the layers it packs.
    private let precision: Precision

    /// For layers that are kept from int8.
    public init(source: any WeightSource, compute: ComputeContext) {
        self.init(source: source, compute: compute, precision: compute.precision.unquantised)
    }

    private init(source: any WeightSource, compute: ComputeContext, precision: Precision) {
        (self.source, self.compute, self.precision) = (source, compute, precision)
    }

    /// The same for the linear layers of one of a transformer's blocks: in int8 where that is asked for, but for the
    /// first and the last block, which together make most of its error.
    public func ofBlock(_ index: Int, of count: Int) -> WeightLoader {
        let isInside = index > 0 && index < count - 1
        return WeightLoader(
            source: source, compute: compute, precision: isInside ? compute.precision : compute.precision.unquantised)
    }

    /// The same for layers that stay out of int8 in every block.
    var unquantised: WeightLoader { WeightLoader(source: source, compute: compute) }

    public func contains(_ name: String) -> Bool { source.contains(name) }

    /// A small tensor (norm weights, tables, biases) as fp32.
    public func vector(_ name: String) throws(TensorError) -> Tensor {
        let tensor = try source.tensor(name)
        let values = tensor.converted(to: .f32).reshaped([tensor.count])
        source.release(name)
        return values
    }

    /// Linear layers `name.weight`, `name.bias`, laid side by side. Multi-axis weights count as
    /// `[outputs, everything else]`.
    ///
    /// - Parameter isFP32: keep operands fp32 whatever the precision, for the fp32 islands of a model.
    public func linear(
        _ names: String..., result: DType, activation: Linear.Activation = .none, isFP32: Bool = false
    ) throws(TensorError) -> Linear {
        var weights: [StoredWeight] = []
        var biases: [Tensor] = []
        for name in names {
            weights.append(try source.weight(name + ".weight"))
            if contains(name + ".bias") { biases.append(try source.tensor(name + ".bias")) }
        }
        let layer = try pack(
            weights, biases, isFP32 ? .fp32 : precision, result: result, activation: activation)
        for name in names {
            source.release(name + ".weight")
            source.release(name + ".bias")
        }
        return layer
    }

    /// A linear layer without bias as two, of the first and of the second half of its outputs; results are f32.
    func halves(
        _ name: String, activations: (Linear.Activation, Linear.Activation)
    ) throws(TensorError) -> (Linear, Linear) {
        let weight = try source.tensor(name + ".weight")
        let half = weight.shape[0] / 2
        let first = try pack([.values(weight.slice(0..<half))], [], precision, result: .f32, activation: activations.0)
        let second = try pack(
            [.values(weight.slice(half..<2 * half))], [], precision, result: .f32, activation: activations.1)
        source.release(name + ".weight")
        return (first, second)
    }

    private func pack(
        _ weights: [StoredWeight], _ biases: [Tensor], _ precision: Precision, result: DType,
        activation: Linear.Activation
    ) throws(TensorError) -> Linear {
        try Linear(
            weights: weights, biases: biases, operand: compute.instructionSet.operandType(of: precision.dtype),
            result: result, activation: activation, rounding: precision,
            format: compute.weightFormat(of: precision), on: compute.instructionSet)
    }
}
