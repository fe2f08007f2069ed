import COneDNN

/// oneDNN's product `activation(x · Wᵀ + bias)` of `[rows, inputs]` and `[outputs, inputs]`, the second packed.
///
/// Immutable: with scratch of the caller's, safe to run from many threads.
final class MatrixProduct: @unchecked Sendable {
    private let handle: OpaquePointer
    private let operand: DType
    private let result: DType
    private let inputs: Int
    let packedBytes: Int
    /// Rows of a matrix that are packed apart from others begin at its multiples.
    let packingStep: Int
    let scratchBytes: Int

    /// - Parameter like: a product of other rows that reads the same packed matrices.
    /// - Throws: `TensorError.library` if oneDNN refuses the shape.
    init(
        rows: Int, inputs: Int, outputs: Int, operand: DType, result: DType = .f32, hasBias: Bool = false,
        activation: Linear.Activation = .none, like: MatrixProduct? = nil
    ) throws(TensorError) {
        var made: OpaquePointer?
        try check(
            vdit_dnnl_matmul_create(
                Int64(rows), Int64(outputs), Int64(inputs), operand.dnnlType, result.dnnlType, hasBias ? 1 : 0,
                activation.dnnlCode, like?.handle, &made), "matmul \(rows)×\(outputs)×\(inputs)")
        guard let made else { throw .library(name: "oneDNN", call: "matmul", status: -1) }
        handle = made
        self.operand = operand
        self.result = result
        self.inputs = inputs
        packedBytes = Int(vdit_dnnl_matmul_weight_bytes(made))
        packingStep = Int(vdit_dnnl_matmul_packing_step(made))
        scratchBytes = max(1, Int(vdit_dnnl_matmul_scratch_bytes(made)))
    }

    deinit { vdit_dnnl_matmul_destroy(handle) }

    /// - Parameters:
    ///   - rows: of the matrix `[outputs, inputs]`, of the operand type: all, or some and in steps.
    ///   - first: which of them the first is.
    ///   - packed: `packedBytes` bytes, of the whole matrix.
    func pack(_ rows: Tensor, at first: Int = 0, into packed: Tensor) throws(TensorError) {
        precondition(rows.dtype == operand && packed.byteCount >= packedBytes)
        try check(
            vdit_dnnl_matmul_pack_rows(
                handle, rows.rawPointer, operand.dnnlType, Int64(first), Int64(rows.count / inputs), packed.rawPointer),
            "matmul pack")
    }

    /// - Parameters:
    ///   - y: of the result type; overlaps nothing.
    ///   - workspace: `scratchBytes` bytes.
    func run(
        _ x: Tensor, _ packed: Tensor, bias: Tensor? = nil, into y: Tensor, _ workspace: Tensor
    ) throws(TensorError) {
        precondition(x.dtype == operand && y.dtype == result && workspace.byteCount >= scratchBytes)
        try check(
            vdit_dnnl_matmul_run(
                handle, x.rawPointer, packed.rawPointer, bias?.pointer(as: Float.self), y.rawPointer,
                workspace.rawPointer), "matmul")
    }
}

extension Linear.Activation {
    fileprivate var dnnlCode: vdit_dnnl_activation {
        switch self {
        case .none: VDIT_DNNL_NO_ACTIVATION
        case .geluTanh: VDIT_DNNL_GELU_TANH
        case .geluErf: VDIT_DNNL_GELU_ERF
        case .silu: VDIT_DNNL_SILU
        }
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
