import COneDNN
import Synchronization

/// `y = activation(x · Wᵀ + b)` with weights packed once into the product's own layout.
///
/// Runs on the calling thread, inside an item of `WorkPool`; may run on many threads at once. A row's
/// result depends on the row and the number of rows in the call, never on the thread.
public final class Linear: Sendable {
    public enum Activation: Sendable {
        case none, geluTanh, geluErf, silu

        fileprivate var code: vdit_dnnl_activation {
            switch self {
            case .none: VDIT_DNNL_NO_ACTIVATION
            case .geluTanh: VDIT_DNNL_GELU_TANH
            case .geluErf: VDIT_DNNL_GELU_ERF
            case .silu: VDIT_DNNL_SILU
            }
        }
    }

    public let inputs: Int
    public let outputs: Int
    /// Type of `x`, f32 or bf16.
    public let operandType: DType
    /// Type of `y`, f32 or bf16.
    public let resultType: DType
    private let activation: Activation
    private let packed: Tensor
    private let bias: Tensor?
    private let products: Mutex<[Int: Product]>

    /// Packs weights; several are laid side by side, so that one product computes all their outputs.
    ///
    /// - Parameters:
    ///   - weights: each `[outputs, inputs]`, f32, f16 or bf16, all with the same `inputs`.
    ///   - biases: each `[outputs]`, one for every weight, or none at all.
    ///   - result: type of `y`; the operand type if nil.
    ///   - rounding: values weights are rounded to before they are stored in `operand`.
    /// - Throws: `TensorError.library` if oneDNN refuses the shape.
    public init(
        weights: [Tensor], biases: [Tensor], operand: DType, result: DType? = nil,
        activation: Activation = .none, rounding: Precision = .fp32
    ) throws(TensorError) {
        precondition(operand == .f32 || operand == .bf16)
        precondition(biases.isEmpty || biases.count == weights.count)
        let inputs = weights[0].count / weights[0].shape[0]
        let outputs = weights.reduce(0) { $0 + $1.shape[0] }
        self.inputs = inputs
        self.outputs = outputs
        self.activation = activation
        operandType = operand
        resultType = result ?? operand

        let first = try Product(
            rows: 256, inputs: inputs, outputs: outputs, operand: operandType, result: resultType,
            hasBias: !biases.isEmpty, activation: activation, like: nil)
        let plain = Tensor(operand, [outputs, inputs])
        var row = 0
        for weight in weights {
            precondition(weight.count == weight.shape[0] * inputs)
            let part = plain.slice(row..<row + weight.shape[0])
            if rounding == .bf16 && operand == .f32 {
                part.convert(from: weight.converted(to: .bf16))
            } else {
                part.convert(from: weight)
            }
            row += weight.shape[0]
        }
        packed = Tensor(.u8, [Int(vdit_dnnl_matmul_weight_bytes(first.handle))])
        try check(
            vdit_dnnl_matmul_pack(first.handle, plain.rawPointer, operand.dnnlType, packed.rawPointer),
            "matmul pack")
        if biases.isEmpty {
            bias = nil
        } else {
            let joined = Tensor(.f32, [outputs])
            var start = 0
            for part in biases {
                joined.slice(start..<start + part.count).convert(from: part)
                start += part.count
            }
            bias = joined
        }
        products = Mutex([256: first])
    }

    /// Bytes the packed weights take.
    public var byteCount: Int { packed.byteCount + (bias?.byteCount ?? 0) }

    /// - Parameters:
    ///   - x: `[rows, inputs]` of the operand type, contiguous.
    ///   - y: `[rows, outputs]` of the result type; overlaps nothing.
    public func callAsFunction(_ x: Tensor, into y: Tensor, _ scratch: Scratch) throws(TensorError) {
        let rows = x.count / inputs
        precondition(x.dtype == operandType && y.dtype == resultType)
        precondition(x.count == rows * inputs && y.count == rows * outputs)
        if rows == 0 { return }
        let product = try product(rows)
        let workspace = scratch.tensor(.u8, [product.scratchBytes])
        try check(
            vdit_dnnl_matmul_run(
                product.handle, x.rawPointer, packed.rawPointer, bias?.pointer(as: Float.self),
                y.rawPointer, workspace.rawPointer), "matmul")
    }

    private func product(_ rows: Int) throws(TensorError) -> Product {
        let (known, like) = products.withLock { ($0[rows], $0[256]) }
        if let known { return known }
        let made = try Product(
            rows: rows, inputs: inputs, outputs: outputs, operand: operandType, result: resultType,
            hasBias: bias != nil, activation: activation, like: like)
        products.withLock { $0[rows] = made }
        return made
    }

    /// An owned oneDNN primitive for one number of rows. Immutable and, with scratch of the caller's, safe to
    /// run from many threads.
    private final class Product: @unchecked Sendable {
        let handle: OpaquePointer
        let scratchBytes: Int

        init(
            rows: Int, inputs: Int, outputs: Int, operand: DType, result: DType, hasBias: Bool,
            activation: Activation, like: Product?
        ) throws(TensorError) {
            var made: OpaquePointer?
            try check(
                vdit_dnnl_matmul_create(
                    Int64(rows), Int64(outputs), Int64(inputs), operand.dnnlType, result.dnnlType,
                    hasBias ? 1 : 0, activation.code, like?.handle, &made), "matmul \(rows)×\(outputs)×\(inputs)")
            guard let made else { throw .library(name: "oneDNN", call: "matmul", status: -1) }
            handle = made
            scratchBytes = max(1, Int(vdit_dnnl_matmul_scratch_bytes(made)))
        }

        deinit { vdit_dnnl_matmul_destroy(handle) }
    }
}

extension DType {
    /// oneDNN's name of an operand type: f32 or bf16.
    var dnnlType: vdit_dnnl_type { self == .bf16 ? VDIT_DNNL_BF16 : VDIT_DNNL_F32 }
}

/// Turns oneDNN's status into an error.
func check(_ status: Int32, _ call: @autoclosure () -> String) throws(TensorError) {
    if status != 0 { throw .library(name: "oneDNN", call: call(), status: Int(status)) }
}
