/// `y = activation(x · Wᵀ + b)` with weights packed once into the product's own layout.
///
/// Three things are apart: where the weights come from (`WeightSource`), how they are kept (`WeightFormat`), and
/// the types that are multiplied. `ProductRow.all` lists what can multiply; a layer takes the first that serves.
///
/// Runs on the calling thread, inside an item of `WorkPool`; may run on many threads at once. A row's
/// result depends on the row and the number of rows in the call, never on the thread.
public final class Linear: Sendable {
    public enum Activation: Sendable {
        case none, geluTanh, geluErf, silu
    }

    private let shape: ProductShape
    private let product: any PackedProduct
    private let bias: Tensor?
    /// What multiplies.
    public let implementation: String

    public var inputs: Int { shape.inputs }
    public var outputs: Int { shape.outputs }
    /// Type of `x`, f32 or bf16.
    public var operandType: DType { shape.operand }
    /// Type of `y`, f32 or bf16.
    public var resultType: DType { shape.result }

    /// Packs weights; several are laid side by side, so that one product computes all their outputs.
    ///
    /// - Parameters:
    ///   - weights: each `[outputs, inputs]`, all with the same `inputs`.
    ///   - biases: each `[outputs]`, one for every weight, or none at all.
    ///   - result: type of `y`; the operand type if nil.
    ///   - rounding: values weights are rounded to, once, before they are kept.
    ///   - format: how they are kept; as the operands are if nil.
    ///   - set: what the CPU may be asked for.
    /// - Throws: `TensorError.library` if oneDNN refuses the shape; `.mismatch` if nothing multiplies these types;
    ///   `FileError.malformed` for weights that are not finite.
    public init(
        weights: [StoredWeight], biases: [Tensor], operand: DType, result: DType? = nil,
        activation: Activation = .none, rounding: Precision = .fp32, format: WeightFormat? = nil,
        on set: InstructionSet
    ) throws(TensorError) {
        precondition(operand == .f32 || operand == .bf16)
        precondition(biases.isEmpty || biases.count == weights.count)
        let shape = ProductShape(
            inputs: weights[0].count / weights[0].shape[0], outputs: weights.reduce(0) { $0 + $1.shape[0] },
            operand: operand, result: result ?? operand, weights: format ?? WeightFormat(operand),
            hasBias: !biases.isEmpty, activation: activation)
        guard let row = ProductRow.all.first(where: { $0.serves(shape, set) }) else {
            throw .mismatch(
                tensor: "weights of a linear layer", found: "\(shape) on \(set)",
                expected: "types of \(ProductRow.all.map(\.name).joined(separator: ", "))")
        }
        if biases.isEmpty {
            bias = nil
        } else {
            let joined = Tensor(.f32, [shape.outputs])
            var start = 0
            for part in biases {
                joined.slice(start..<start + part.count).convert(from: part)
                start += part.count
            }
            bias = joined
        }
        self.shape = shape
        implementation = row.name
        // Whole numbers are made of weights as they are.
        let rounding = shape.weights == .int8 ? .fp32 : rounding.unquantised
        product = try row.pack(shape, StackedWeights(parts: weights, rounding: rounding), bias)
    }

    /// The same of weights that are f32, f16 or bf16.
    public convenience init(
        weights: [Tensor], biases: [Tensor], operand: DType, result: DType? = nil,
        activation: Activation = .none, rounding: Precision = .fp32, format: WeightFormat? = nil,
        on set: InstructionSet
    ) throws(TensorError) {
        try self.init(
            weights: weights.map(StoredWeight.values), biases: biases, operand: operand, result: result,
            activation: activation, rounding: rounding, format: format, on: set)
    }

    /// Bytes the packed weights take.
    public var byteCount: Int { product.byteCount + (bias?.byteCount ?? 0) }

    /// - Parameters:
    ///   - x: `[rows, inputs]` of the operand type, contiguous.
    ///   - y: `[rows, outputs]` of the result type; overlaps nothing.
    public func callAsFunction(_ x: Tensor, into y: Tensor, _ scratch: Scratch) throws(TensorError) {
        let rows = x.count / inputs
        precondition(x.dtype == operandType && y.dtype == resultType)
        precondition(x.count == rows * inputs && y.count == rows * outputs)
        if rows > 0 { try product.multiply(x, rows: rows, into: y, scratch) }
    }
}
