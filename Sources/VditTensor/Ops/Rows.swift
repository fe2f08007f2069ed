import CVditKernels

/// The work on rows of activations between matrix products. Each call runs on the calling thread, inside an
/// item of `WorkPool`.
public struct RowKernels: Sendable {
    // A constant table of C function pointers.
    nonisolated(unsafe) private let table: UnsafePointer<vdit_row_kernels>

    public init(_ instructionSet: InstructionSet) {
        table = vdit_row_kernels_for(instructionSet.isa)
    }

    /// `out = (x − mean) / sqrt(variance + epsilon) · scale + shift` along the last axis.
    ///
    /// - Parameters:
    ///   - x: `[rows, columns]` f32.
    ///   - scale: `[columns]` f32; nil is 1. `shift` likewise, nil is 0.
    ///   - out: `[rows, columns]` f32 or bf16.
    public func layerNorm(
        _ x: Tensor, epsilon: Float, scale: Tensor?, shift: Tensor?, into out: Tensor
    ) {
        precondition(x.dtype == .f32 && out.count == x.count)
        table.pointee.layer_norm(
            x.pointer(as: Float.self), Int64(x.rowCount), Int64(x.columns), epsilon,
            scale?.pointer(as: Float.self), shift?.pointer(as: Float.self), out.rawPointer,
            out.operandFloatType)
    }

    /// `out = x / sqrt(mean square + epsilon) · scale + shift` along the last axis; as `layerNorm` otherwise.
    public func rmsNorm(
        _ x: Tensor, epsilon: Float, scale: Tensor?, shift: Tensor?, into out: Tensor
    ) {
        precondition(x.dtype == .f32 && out.count == x.count)
        table.pointee.rms_norm(
            x.pointer(as: Float.self), Int64(x.rowCount), Int64(x.columns), epsilon,
            scale?.pointer(as: Float.self), shift?.pointer(as: Float.self), out.rawPointer,
            out.operandFloatType)
    }

    /// `x += gate · y`, gate `[columns]` or nil for 1; all f32.
    public func gatedAdd(_ x: Tensor, _ y: Tensor, gate: Tensor?) {
        precondition(x.dtype == .f32 && y.dtype == .f32 && x.count == y.count)
        table.pointee.gated_add(
            x.pointer(as: Float.self), y.pointer(as: Float.self), gate?.pointer(as: Float.self),
            Int64(x.rowCount), Int64(x.columns))
    }

    /// Which axis comes first in the output of `splitHeads`.
    public enum HeadLayout: Sendable {
        /// Into `[heads, tokens, headDim]`, at token `firstToken`.
        case headMajor(firstToken: Int)
        /// Into `[rows, heads, headDim]`.
        case tokenMajor
    }

    /// Splits rows into heads, after an RMS norm and a rotary embedding where given.
    ///
    /// - Parameters:
    ///   - x: `[rows, …]` f32 whose columns from `column` on are `heads · headDim` values.
    ///   - weight: of the RMS norm, `[heads · headDim]` over all heads together or `[headDim]` over each alone; nil for
    ///     no norm.
    ///   - rotary: cosine and sine, turning the interleaved pairs `(2i, 2i + 1)`: `[rows, headDim / 2]`, or
    ///     `[rows, heads · headDim / 2]` where every head has its own angles.
    ///   - out: f32 or bf16.
    public func splitHeads(
        _ x: Tensor, column: Int, heads: Int, headDim: Int, weight: Tensor?, epsilon: Float,
        rotary: (cosine: Tensor, sine: Tensor)?, into out: Tensor, _ layout: HeadLayout
    ) {
        let columns = heads * headDim
        let rows = x.shape[0]
        precondition(x.dtype == .f32 && column + columns <= x.columns)
        let normColumns = weight?.count ?? columns
        precondition(normColumns == columns || normColumns == headDim)
        let pairs = rotary?.cosine.columns ?? headDim / 2
        precondition(pairs == headDim / 2 || pairs == columns / 2)
        let rowStride: Int
        let headStride: Int
        var destination = out.rawPointer
        switch layout {
        case .headMajor(let firstToken):
            precondition(out.shape[0] == heads && out.shape[2] == headDim)
            precondition(firstToken + rows <= out.shape[1])
            rowStride = headDim
            headStride = out.shape[1] * headDim
            destination += firstToken * headDim * out.dtype.byteCount
        case .tokenMajor:
            precondition(out.count == rows * columns)
            rowStride = columns
            headStride = headDim
        }
        table.pointee.split_heads(
            x.pointer(as: Float.self) + column, Int64(x.columns), Int64(rows), Int64(heads),
            Int64(headDim), weight?.pointer(as: Float.self), Int64(normColumns), epsilon,
            rotary?.cosine.pointer(as: Float.self), rotary?.sine.pointer(as: Float.self), Int64(pairs),
            destination, out.operandFloatType, Int64(rowStride), Int64(headStride))
    }
}

extension Tensor {
    /// The C name of an activation's type; activations are f32 or bf16.
    var operandFloatType: vdit_float_type {
        precondition(dtype == .f32 || dtype == .bf16)
        return dtype == .f32 ? VDIT_F32 : VDIT_BF16
    }

    /// Whether every value is finite; true for integer types.
    public var isFinite: Bool {
        switch dtype {
        case .f32, .bf16, .f16: vdit_all_finite(rawPointer, dtype.floatType!, Int64(count)) != 0
        case .f64: pointerRange(of: Double.self).allSatisfy(\.isFinite)
        default: true
        }
    }

    private func pointerRange<T>(of type: T.Type) -> UnsafeBufferPointer<T> {
        UnsafeBufferPointer(start: pointer(as: type), count: count)
    }
}
