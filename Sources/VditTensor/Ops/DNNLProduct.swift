import COneDNN
import Synchronization

/// A product by oneDNN, with operands and weights of one type: f32 or bf16.
final class DNNLProduct: PackedProduct {
    private let shape: ProductShape
    private let packed: Tensor
    private let bias: Tensor?
    /// By number of rows. All read the layout that the one of `packingRows` asked for.
    private let primitives: Mutex<[Int: Primitive]>
    private static let packingRows = 256

    /// - Throws: `TensorError.library` if oneDNN refuses the shape.
    init(_ shape: ProductShape, _ weights: StackedWeights, _ bias: Tensor?) throws(TensorError) {
        self.shape = shape
        self.bias = bias
        let first = try Primitive(rows: Self.packingRows, shape, like: nil)
        let plain = weights.joined(shape, as: shape.operand)
        packed = Tensor(.u8, [Int(vdit_dnnl_matmul_weight_bytes(first.handle))])
        try check(
            vdit_dnnl_matmul_pack(first.handle, plain.rawPointer, shape.operand.dnnlType, packed.rawPointer),
            "matmul pack")
        primitives = Mutex([Self.packingRows: first])
    }

    var byteCount: Int { packed.byteCount }

    func multiply(_ x: Tensor, rows: Int, into y: Tensor, _ scratch: Scratch) throws(TensorError) {
        let primitive = try primitive(rows)
        let workspace = scratch.tensor(.u8, [primitive.scratchBytes])
        try check(
            vdit_dnnl_matmul_run(
                primitive.handle, x.rawPointer, packed.rawPointer, bias?.pointer(as: Float.self),
                y.rawPointer, workspace.rawPointer), "matmul")
    }

    private func primitive(_ rows: Int) throws(TensorError) -> Primitive {
        let (known, like) = primitives.withLock { ($0[rows], $0[Self.packingRows]) }
        if let known { return known }
        let made = try Primitive(rows: rows, shape, like: like)
        primitives.withLock { $0[rows] = made }
        return made
    }

    /// An owned oneDNN primitive for one number of rows. Immutable and, with scratch of the caller's, safe to
    /// run from many threads.
    private final class Primitive: @unchecked Sendable {
        let handle: OpaquePointer
        let scratchBytes: Int

        init(rows: Int, _ shape: ProductShape, like: Primitive?) throws(TensorError) {
            var made: OpaquePointer?
            try check(
                vdit_dnnl_matmul_create(
                    Int64(rows), Int64(shape.outputs), Int64(shape.inputs), shape.operand.dnnlType,
                    shape.result.dnnlType, shape.hasBias ? 1 : 0, shape.activation.dnnlCode, like?.handle,
                    &made), "matmul \(rows)×\(shape.outputs)×\(shape.inputs)")
            guard let made else { throw .library(name: "oneDNN", call: "matmul", status: -1) }
            handle = made
            scratchBytes = max(1, Int(vdit_dnnl_matmul_scratch_bytes(made)))
        }

        deinit { vdit_dnnl_matmul_destroy(handle) }
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
