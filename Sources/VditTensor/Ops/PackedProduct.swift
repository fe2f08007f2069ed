/// How a layer's weights are kept in memory. What they are multiplied with is another matter: a CPU without bf16
/// products keeps bf16 values as f32, and a format smaller than both may be unpacked or multiplied as it is.
public enum WeightFormat: String, Sendable, CaseIterable {
    case f32
    case bf16
    /// Whole numbers with a scale for each output, which are multiplied as they are.
    case int8

    /// The format that keeps values of a type as they are: f32 or bf16.
    init(_ dtype: DType) { self = dtype == .bf16 ? .bf16 : .f32 }
}

/// A layer's product, as its implementation is chosen by.
struct ProductShape: Sendable, Hashable, CustomStringConvertible {
    var inputs: Int
    var outputs: Int
    /// Types of `x` and `y`, f32 or bf16.
    var operand: DType
    var result: DType
    var weights: WeightFormat
    var hasBias: Bool
    var activation: Linear.Activation

    var description: String {
        "\(operand.rawValue) × \(weights.rawValue) weights → \(result.rawValue), \(inputs) → \(outputs)"
    }
}

/// A layer's weights as its source gave them: matrices `[outputs, inputs]`, one above the other.
struct StackedWeights {
    let parts: [StoredWeight]
    /// Values are rounded to this before they are kept, once.
    let rounding: Precision
    /// Values that are handed out at a time, to stay in a core's own cache.
    private static let valuesAtOnce = 1 << 16

    /// Hands out all rows in their order, some at a time: nothing is made of all of them but what they are packed into,
    /// since the system clears new memory at the speed that packing has.
    ///
    /// - Parameters:
    ///   - dtype: one that holds the rounded values.
    ///   - step: parts begin at its multiples.
    ///   - body: gets the first row's number, `[rows, inputs]` and room for what it makes of them, valid until it returns.
    /// - Throws: `FileError.malformed` for values that are not finite where their file must not have them.
    func forEachPart(
        _ shape: ProductShape, as dtype: DType, step: Int = 32,
        _ body: (_ first: Int, _ rows: Tensor, Scratch) throws(TensorError) -> Void
    ) throws(TensorError) {
        precondition(parts.allSatisfy { $0.count == $0.shape[0] * shape.inputs })
        let (scratch, count) = (Scratch(), max(1, Self.valuesAtOnce / shape.inputs / step) * step)
        for first in stride(from: 0, to: shape.outputs, by: count) {
            let rows = first..<min(shape.outputs, first + count)
            scratch.reset()
            let values = scratch.tensor(dtype, [rows.count, shape.inputs])
            try read(rows, into: values, scratch)
            try body(first, values, scratch)
        }
    }

    /// - Parameter out: `[rows.count, inputs]` of a floating-point type.
    private func read(_ rows: Range<Int>, into out: Tensor, _ scratch: Scratch) throws(TensorError) {
        var first = 0
        for weight in parts {
            let own = rows.clamped(to: first..<first + weight.shape[0])
            defer { first += weight.shape[0] }
            if own.isEmpty { continue }
            let target = out.slice(own.lowerBound - rows.lowerBound..<own.upperBound - rows.lowerBound)
            let rounded = rounding == .bf16 && out.dtype == .f32 ? scratch.tensor(.bf16, target.shape) : target
            try weight.read(own.lowerBound - first..<own.upperBound - first, into: rounded, scratch)
            if rounded.dtype != target.dtype { target.convert(from: rounded) }
        }
    }
}

/// Weights in the layout of one way to multiply them, and that way.
///
/// Multiplies on the calling thread, on many threads at once. A row's result depends on the row and the number of
/// rows in the call, never on the thread.
protocol PackedProduct: Sendable {
    /// Bytes of the weights.
    var byteCount: Int { get }

    /// `y = activation(x · Wᵀ + b)`; `x` and `y` are `rows` rows of the shape's types, and overlap nothing.
    func multiply(_ x: Tensor, rows: Int, into y: Tensor, _ scratch: Scratch) throws(TensorError)
}

/// The ways to multiply, best first: a layer takes the first row that serves it.
///
/// A row here is all that another library, a kernel of our own or a weight format needs to be used by every layer.
struct ProductRow: Sendable {
    let name: String
    /// Whether it computes this product with this instruction set, and well.
    let serves: @Sendable (ProductShape, InstructionSet) -> Bool
    /// - Parameter bias: `[outputs]` f32.
    let pack: @Sendable (ProductShape, StackedWeights, _ bias: Tensor?) throws(TensorError) -> any PackedProduct

    static let all = [tiles("AMX bf16", TileKernel(.amx), on: .amx)].compactMap(\.self) + library + int8

    /// Products by the tiles of a kernel; nil where the CPU has none.
    static func tiles(_ name: String, _ kernel: TileKernel?, on set: InstructionSet) -> ProductRow? {
        guard let kernel else { return nil }
        return ProductRow(
            name: name, serves: { shape, asked in asked >= set && TileProduct.serves(shape) },
            pack: { shape, weights, bias throws(TensorError) in try TileProduct(shape, weights, bias, kernel) })
    }

    /// Products of whole numbers, which every set has; the best set that was asked for comes first.
    private static let int8 = InstructionSet.supported.reversed().map { set in
        let kernel = Int8Kernel(set)
        return ProductRow(
            name: "int8 \(kernel)", serves: { shape, asked in asked >= set && Int8Product.serves(shape) },
            pack: { shape, weights, bias throws(TensorError) in try Int8Product(shape, weights, bias, kernel) })
    }

    private static let library = [
        ProductRow(
            name: "oneDNN bf16", serves: { shape, _ in shape.operand == .bf16 && shape.weights == .bf16 },
            pack: { shape, weights, bias throws(TensorError) in try DNNLProduct(shape, weights, bias) }),
        ProductRow(
            name: "oneDNN f32", serves: { shape, _ in shape.operand == .f32 && shape.weights == .f32 },
            pack: { shape, weights, bias throws(TensorError) in try DNNLProduct(shape, weights, bias) }),
    ]
}
