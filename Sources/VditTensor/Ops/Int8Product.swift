import CVditKernels

/// The products of rows and matrices of 8-bit whole numbers.
///
/// `@unchecked Sendable`: a constant table of C functions.
struct Int8Kernel: @unchecked Sendable, CustomStringConvertible {
    private let table: UnsafePointer<vdit_int8_products>

    init(_ set: InstructionSet) { table = vdit_int8_products_for(set.isa) }

    private init(_ table: UnsafePointer<vdit_int8_products>) { self.table = table }

    /// Every one this CPU can run, for AMX with its tile instructions emulated: for tests.
    static var all: [Int8Kernel] {
        var tables = [UnsafePointer<vdit_int8_products>?](repeating: nil, count: Int(VDIT_INT8_KERNELS))
        let count = vdit_int8_products_all(&tables)
        return tables.prefix(Int(count)).compactMap { $0 }.map { Int8Kernel($0) }
    }

    /// Most inputs whose sums fit.
    static let mostInputs = Int(VDIT_INT8_MOST_INPUTS)

    /// The instructions it multiplies with.
    var description: String { String(cString: table.pointee.name) }

    /// Every row as whole numbers and a scale.
    ///
    /// - Parameter matrix: `[rows, columns]` f32.
    /// - Returns: `[rows, columns]` i8, and `[rows]` f32: NaN for a row that is not finite. Both are scratch.
    func quantised(_ matrix: Tensor, _ scratch: Scratch) -> (values: Tensor, scales: Tensor) {
        precondition(matrix.dtype == .f32 && matrix.rank == 2)
        let (values, scales) = (scratch.tensor(.i8, matrix.shape), scratch.tensor(.f32, [matrix.shape[0]]))
        table.pointee.quantise(
            matrix.pointer(as: Float.self), Int64(matrix.shape[0]), Int64(matrix.shape[1]),
            values.pointer(as: Int8.self), scales.pointer(as: Float.self))
        return (values, scales)
    }

    private static func packedBytes(_ outputs: Int, _ inputs: Int) -> Int {
        Int(vdit_int8_packed_bytes(Int64(outputs), Int64(inputs)))
    }

    /// Room for a matrix `[outputs, inputs]` as the products read it, the same for all of them.
    static func unpacked(outputs: Int, inputs: Int) -> Tensor {
        Tensor(.u8, [packedBytes(outputs, inputs)])
    }

    /// Puts rows from `first` on there.
    ///
    /// - Parameters:
    ///   - values: `[rows, inputs]` i8.
    ///   - scales: `[rows]` f32.
    ///   - outputs: of the whole matrix.
    static func pack(_ values: Tensor, scales: Tensor, at first: Int, of outputs: Int, into packed: Tensor) {
        precondition(values.dtype == .i8 && values.rank == 2 && scales.count == values.shape[0])
        let (count, inputs) = (values.shape[0], values.shape[1])
        precondition(first + count <= outputs && packed.byteCount >= packedBytes(outputs, inputs))
        vdit_int8_pack(
            values.pointer(as: Int8.self), scales.pointer(as: Float.self), Int64(first), Int64(count), Int64(outputs),
            Int64(inputs), packed.rawPointer)
    }

    func linear(_ call: inout vdit_linear_call, _ scratch: Scratch) {
        let workspace = scratch.tensor(.u8, [Int(table.pointee.scratch_bytes(call.rows, call.inputs))])
        call.scratch = workspace.rawPointer
        table.pointee.linear(&call)
    }
}

/// A linear layer in 8-bit whole numbers: a scale for each output, and one for each row, found as it comes.
///
/// Sums are exact, so a row's result depends on the row alone and is the same on every instruction set.
final class Int8Product: PackedProduct {
    private let shape: ProductShape
    private let kernel: Int8Kernel
    private let matrix: Tensor
    private let bias: Tensor?

    init(
        _ shape: ProductShape, _ weights: StackedWeights, _ bias: Tensor?, _ kernel: Int8Kernel
    ) throws(TensorError) {
        (self.shape, self.kernel, self.bias) = (shape, kernel, bias)
        let matrix = Int8Kernel.unpacked(outputs: shape.outputs, inputs: shape.inputs)
        try weights.forEachPart(shape, as: .f32) { first, rows, scratch in
            let (values, scales) = kernel.quantised(rows, scratch)
            Int8Kernel.pack(values, scales: scales, at: first, of: shape.outputs, into: matrix)
        }
        self.matrix = matrix
    }

    init(_ shape: ProductShape, _ values: Tensor, scales: Tensor, _ bias: Tensor?, _ kernel: Int8Kernel) {
        (self.shape, self.kernel, self.bias) = (shape, kernel, bias)
        matrix = Int8Kernel.unpacked(outputs: shape.outputs, inputs: shape.inputs)
        Int8Kernel.pack(values, scales: scales, at: 0, of: shape.outputs, into: matrix)
    }

    /// The activations and sizes the kernels have.
    static func serves(_ shape: ProductShape) -> Bool {
        shape.weights == .int8 && shape.inputs <= Int8Kernel.mostInputs && shape.activation.kernelActivation != nil
    }

    var byteCount: Int { matrix.byteCount }

    func multiply(_ x: Tensor, rows: Int, into y: Tensor, _ scratch: Scratch) {
        var call = shape.call(x, rows: rows, matrix, bias, into: y)
        kernel.linear(&call, scratch)
    }
}
