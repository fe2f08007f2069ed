import CVditKernels

/// The products of bf16 rows and packed bf16 matrices by tiles, where the CPU has them.
///
/// `@unchecked Sendable`: a constant table of C functions.
struct TileKernel: @unchecked Sendable {
    private let table: UnsafePointer<vdit_products>

    /// Nil where the instruction set has no tiles.
    init?(_ set: InstructionSet) { self.init(vdit_products_for(set.isa)) }

    private init?(_ table: UnsafePointer<vdit_products>?) {
        guard let table else { return nil }
        self.table = table
    }

    /// With its tile instructions emulated, for tests; nil without AVX-512 BF16.
    static var emulated: TileKernel? { TileKernel(vdit_products_emulated()) }

    /// Room for a matrix `[columns, depth]` as the products read it.
    func unpacked(columns: Int, depth: Int) -> Tensor {
        Tensor(.u8, [Int(table.pointee.packed_bytes(Int64(columns), Int64(depth)))])
    }

    /// Puts columns from `first` on there, `[columns, depth]` bf16.
    func pack(_ columns: Tensor, at first: Int, into packed: Tensor) {
        precondition(columns.dtype == .bf16 && columns.rank == 2)
        let (count, depth) = (Int64(columns.shape[0]), Int64(columns.shape[1]))
        precondition(packed.byteCount >= Int(table.pointee.packed_bytes(Int64(first) + count, depth)))
        table.pointee.pack(columns.rawPointer, Int64(first), count, depth, packed.rawPointer)
    }

    /// A bf16 matrix `[columns, depth]` as the products read it.
    func packed(_ matrix: Tensor) -> Tensor {
        let packed = unpacked(columns: matrix.shape[0], depth: matrix.shape[1])
        pack(matrix, at: 0, into: packed)
        return packed
    }

    func multiply(_ product: inout vdit_tile_product) { table.pointee.multiply(&product) }

    func linear(_ call: inout vdit_linear_call, _ scratch: Scratch) {
        let workspace = scratch.tensor(.u8, [Int(table.pointee.scratch_bytes(call.rows, call.inputs))])
        call.scratch = workspace.rawPointer
        table.pointee.linear(&call)
    }
}

/// A linear layer's product by tiles.
final class TileProduct: PackedProduct {
    private let shape: ProductShape
    private let kernel: TileKernel
    private let matrix: Tensor
    private let bias: Tensor?

    init(_ shape: ProductShape, _ weights: StackedWeights, _ bias: Tensor?, _ kernel: TileKernel) throws(TensorError) {
        self.shape = shape
        self.bias = bias
        self.kernel = kernel
        let matrix = kernel.unpacked(columns: shape.outputs, depth: shape.inputs)
        try weights.forEachPart(shape, as: .bf16) { first, rows, _ in kernel.pack(rows, at: first, into: matrix) }
        self.matrix = matrix
    }

    /// The activations the kernel has.
    static func serves(_ shape: ProductShape) -> Bool {
        shape.operand == .bf16 && shape.weights == .bf16 && shape.activation.kernelActivation != nil
    }

    var byteCount: Int { matrix.byteCount }

    func multiply(_ x: Tensor, rows: Int, into y: Tensor, _ scratch: Scratch) {
        var call = shape.call(x, rows: rows, matrix, bias, into: y)
        kernel.linear(&call, scratch)
    }
}

extension ProductShape {
    /// What a kernel of our own is asked for; its activation must be one they have.
    func call(_ x: Tensor, rows: Int, _ matrix: Tensor, _ bias: Tensor?, into y: Tensor) -> vdit_linear_call {
        guard let activation = activation.kernelActivation else {
            preconditionFailure("\(activation) of a kernel of our own")
        }
        return vdit_linear_call(
            x: x.rawPointer, x_type: x.operandFloatType, rows: Int64(rows),
            inputs: Int64(inputs), outputs: Int64(outputs),
            matrix: matrix.rawPointer, bias: bias.map { UnsafePointer($0.pointer(as: Float.self)) },
            activation: activation, y: y.rawPointer, y_type: y.operandFloatType, scratch: nil)
    }
}

extension Linear.Activation {
    /// As our own kernels have it.
    var kernelActivation: vdit_activation? {
        switch self {
        case .none: VDIT_PLAIN
        case .geluTanh: VDIT_GELU_TANH
        case .silu: VDIT_SILU
        case .geluErf: nil
        }
    }
}
