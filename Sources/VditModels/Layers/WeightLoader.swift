import VditTensor

/// Packs the tensors of a weight source into layers, releasing each as soon as it is packed.
public struct WeightLoader {
    public let source: any WeightSource
    public let compute: ComputeContext

    public init(source: any WeightSource, compute: ComputeContext) {
        self.source = source
        self.compute = compute
    }

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
        var weights: [Tensor] = []
        var biases: [Tensor] = []
        for name in names {
            weights.append(try source.tensor(name + ".weight"))
            if contains(name + ".bias") { biases.append(try source.tensor(name + ".bias")) }
        }
        let layer = try Linear(
            weights: weights, biases: biases, operand: isFP32 ? .f32 : compute.operandType,
            result: result, activation: activation, rounding: isFP32 ? .fp32 : compute.precision,
            format: isFP32 ? .f32 : compute.weightFormat, on: compute.instructionSet)
        for name in names {
            source.release(name + ".weight")
            source.release(name + ".bias")
        }
        return layer
    }
}
