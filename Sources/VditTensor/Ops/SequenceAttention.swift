import COneDNN

/// Attention of every token of a short sequence to every other, one head a call:
/// `softmax(scale · q kᵀ + bias) v`.
///
/// Takes any head width, and a bias that depends on the distance between two tokens, which the block-sparse kernel does
/// not. Runs on the calling thread, inside an item of `WorkPool`; may run on many threads at once.
public struct SequenceAttention: Sendable {
    private let tokens: Int
    private let headDim: Int
    private let operand: DType
    private let scores: MatrixProduct
    private let values: MatrixProduct
    private let rows: RowKernels
    private let planning: PlanningKernels

    public init(tokens: Int, headDim: Int, compute: ComputeContext) throws(TensorError) {
        self.tokens = tokens
        self.headDim = headDim
        operand = compute.operandType
        scores = try MatrixProduct(rows: tokens, inputs: headDim, outputs: tokens, operand: operand)
        values = try MatrixProduct(rows: tokens, inputs: tokens, outputs: headDim, operand: operand)
        rows = RowKernels(compute.instructionSet)
        planning = PlanningKernels(compute.instructionSet)
    }

    /// - Parameters:
    ///   - q, k, v: `[tokens, headDim]` of the operand type.
    ///   - bias: `[2 · tokens − 1]` f32: what is added to the score of a key that lies `i − (tokens − 1)` after its
    ///     query, or nil for nothing. With a bias, `scale` is 1.
    /// - Returns: `[tokens, headDim]` f32, in scratch.
    public func callAsFunction(
        q: Tensor, k: Tensor, v: Tensor, scale: Float, bias: Tensor?, _ scratch: Scratch
    ) throws(TensorError) -> Tensor {
        precondition(bias == nil || scale == 1 && bias?.count == 2 * tokens - 1)
        let workspace = scratch.tensor(.u8, [max(scores.scratchBytes, values.scratchBytes)])
        let weights = scratch.tensor(.f32, [tokens, tokens])
        let packedKeys = scratch.tensor(.u8, [scores.packedBytes])
        try scores.pack(k, into: packedKeys)
        try scores.run(q, packedKeys, into: weights, workspace)
        if let bias {
            for query in 0..<tokens {
                let first = tokens - 1 - query
                let ofQuery = bias.slice(first..<first + tokens).reshaped([1, tokens])
                rows.gatedAdd(weights.slice(query..<query + 1), ofQuery, gate: nil)
            }
        }
        planning.softmax(weights, scale: scale)
        var probabilities = weights
        if operand != .f32 {
            probabilities = scratch.tensor(operand, [tokens, tokens])
            probabilities.convert(from: weights)
        }
        let transposed = scratch.tensor(operand, [headDim, tokens])
        transposed.assignTransposed(v)
        let packedValues = scratch.tensor(.u8, [values.packedBytes])
        try values.pack(transposed, into: packedValues)
        let result = scratch.tensor(.f32, [tokens, headDim])
        try values.run(probabilities, packedValues, into: result, workspace)
        return result
    }
}

extension RowKernels {
    /// `x / sqrt(mean(x²) + epsilon) · weight` along the last axis.
    ///
    /// - Parameters:
    ///   - x: `[rows, columns]` f32.
    ///   - weight: `[columns]` f32.
    ///   - out: `[rows, columns]` f32 or bf16; overlaps nothing.
    public func rmsNorm(_ x: Tensor, epsilon: Float, weight: Tensor, into out: Tensor) {
        // The kernel holds one head at a time.
        let headDim = (1...min(64, x.columns)).last { x.columns % $0 == 0 } ?? 1
        splitHeads(
            x, column: 0, heads: x.columns / headDim, headDim: headDim, weight: weight, epsilon: epsilon, rotary: nil,
            into: out, .tokenMajor)
    }
}
