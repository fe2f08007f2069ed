import Synchronization

/// A product by oneDNN, with operands and weights of one type: f32 or bf16.
final class DNNLProduct: PackedProduct {
    private let shape: ProductShape
    private let packed: Tensor
    private let bias: Tensor?
    /// By number of rows. All read the layout that the one of `packingRows` asked for.
    private let primitives: Mutex<[Int: MatrixProduct]>
    private static let packingRows = 256

    /// - Throws: `TensorError.library` if oneDNN refuses the shape.
    init(_ shape: ProductShape, _ weights: StackedWeights, _ bias: Tensor?) throws(TensorError) {
        self.shape = shape
        self.bias = bias
        let first = try Self.primitive(rows: Self.packingRows, shape, like: nil)
        let packed = Tensor(.u8, [first.packedBytes])
        try weights.forEachPart(shape, as: shape.operand, step: first.packingStep) {
            (start, rows, _) throws(TensorError) in try first.pack(rows, at: start, into: packed)
        }
        self.packed = packed
        primitives = Mutex([Self.packingRows: first])
    }

    var byteCount: Int { packed.byteCount }

    func multiply(_ x: Tensor, rows: Int, into y: Tensor, _ scratch: Scratch) throws(TensorError) {
        let primitive = try primitive(rows)
        let workspace = scratch.tensor(.u8, [primitive.scratchBytes])
        try primitive.run(x, packed, bias: bias, into: y, workspace)
    }

    private func primitive(_ rows: Int) throws(TensorError) -> MatrixProduct {
        let (known, like) = primitives.withLock { ($0[rows], $0[Self.packingRows]) }
        if let known { return known }
        let made = try Self.primitive(rows: rows, shape, like: like)
        primitives.withLock { $0[rows] = made }
        return made
    }

    private static func primitive(
        rows: Int, _ shape: ProductShape, like: MatrixProduct?
    ) throws(TensorError) -> MatrixProduct {
        try MatrixProduct(
            rows: rows, inputs: shape.inputs, outputs: shape.outputs, operand: shape.operand, result: shape.result,
            hasBias: shape.hasBias, activation: shape.activation, like: like)
    }
}
