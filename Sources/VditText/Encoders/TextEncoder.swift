import VditFiles
import VditTensor

/// A transformer that turns token ids into hidden states.
public protocol TextEncoder: Sendable {
    /// Values of a hidden state.
    var width: Int { get }
    /// Ids are below this.
    var vocabularySize: Int { get }
    /// What ends a sequence, where the configuration says.
    var endID: Int? { get }
    /// Most tokens of a sequence; nil for any number.
    var maxTokens: Int? { get }
    /// "umt5-xxl", "t5", "bert": for records.
    var name: String { get }

    /// The hidden states of some sequences, every token of a sequence attending to all of it.
    ///
    /// A sequence's result does not depend on the others, nor on the number of threads.
    /// - Parameters:
    ///   - sequences: ids below `vocabularySize`, none empty.
    ///   - progress: called after each layer with the layers done and their number.
    /// - Returns: `[tokens, width]` f32 for each.
    func encode(
        _ sequences: [[Int32]], compute: ComputeContext, progress: (_ done: Int, _ layers: Int) -> Void
    ) throws(TensorError) -> [Tensor]

    /// - Throws: `FileError` when a file of weights is not the one that was opened.
    func verifyUnchanged() throws(FileError)
}

/// Sequences laid one after another, each from a multiple of `StreamedLinear.rowBlock` on, so that a sequence's rows
/// share no block with another's.
struct StackedSequences: Sendable {
    /// The rows of each sequence's real tokens.
    let ranges: [Range<Int>]
    /// Rows of all, a multiple of the block.
    let rowCount: Int

    init(_ lengths: [Int]) {
        let block = StreamedLinear.rowBlock
        var ranges: [Range<Int>] = []
        var start = 0
        for length in lengths {
            ranges.append(start..<start + length)
            start += (length + block - 1) / block * block
        }
        self.ranges = ranges
        rowCount = start
    }

    /// Cuts lengths into groups that keep activations small, whatever the number of prompts.
    static func groups(_ lengths: [Int]) -> [Range<Int>] {
        var groups: [Range<Int>] = []
        var (start, rows) = (0, 0)
        for (index, length) in lengths.enumerated() {
            if index > start, rows + length > rowsOfGroup {
                groups.append(start..<index)
                (start, rows) = (index, 0)
            }
            rows += length + StreamedLinear.rowBlock
        }
        return groups + [start..<lengths.count]
    }

    /// With UMT5-XXL's widths, 400 MB of activations in bf16.
    private static let rowsOfGroup = 4096
}

/// The blocks of rows, sequences and heads that an encoder's phases run over.
struct EncoderRun: Sendable {
    let stack: StackedSequences
    let compute: ComputeContext
    let rows: RowKernels
    let linear: StreamedLinear
    private let attention: [Int: SequenceAttention]
    private let heads: Int
    private let headDim: Int

    init(_ lengths: [Int], heads: Int, headDim: Int, _ compute: ComputeContext) throws(TensorError) {
        stack = StackedSequences(lengths)
        self.compute = compute
        rows = RowKernels(compute.instructionSet)
        linear = StreamedLinear(compute)
        var attention: [Int: SequenceAttention] = [:]
        for length in Set(lengths) {
            attention[length] = try SequenceAttention(tokens: length, headDim: headDim, compute: compute)
        }
        self.attention = attention
        self.heads = heads
        self.headDim = headDim
    }

    /// A zeroed tensor with all rows.
    func tensor(_ dtype: DType, _ columns: Int) -> Tensor { Tensor(dtype, [stack.rowCount, columns]) }

    /// Runs `body` for every block of rows.
    func forEachBlock(_ body: @Sendable (Range<Int>, Scratch) -> Void) {
        let block = StreamedLinear.rowBlock
        compute.pool.run(stack.rowCount / block) { item, scratch in body(item * block..<(item + 1) * block, scratch) }
    }

    /// Products of several weights side by side: `[rows, weights · outputs]`.
    func products(_ x: Tensor, _ weights: [StreamedLinear.Weights], into y: Tensor) throws(TensorError) {
        let outputs = y.columns / weights.count
        try linear(x, weights) { rows, columns, products in
            for (index, product) in products.enumerated() {
                let start = index * outputs
                y.assign(rows: rows, columns: start + columns.lowerBound..<start + columns.upperBound, product)
            }
        }
    }

    /// The same with weights that are packed and have biases; `y` of the layer's result type.
    func apply(_ layer: Linear, to x: Tensor, into y: Tensor) throws(TensorError) {
        let block = StreamedLinear.rowBlock
        try compute.pool.run(stack.rowCount / block) { (item, scratch) throws(TensorError) in
            let rows = item * block..<(item + 1) * block
            try layer(x.slice(rows), into: y.slice(rows), scratch)
        }
    }

    /// Attention of every sequence to itself.
    ///
    /// - Parameters:
    ///   - qkv: `[rows, 3 · heads · headDim]` f32.
    ///   - bias: `[2 · tokens − 1]` f32 for a head and a number of tokens, see `SequenceAttention`.
    ///   - out: `[rows, heads · headDim]` of the operand type.
    func attend(
        _ qkv: Tensor, scale: Float, bias: (@Sendable (_ head: Int, _ tokens: Int, Scratch) -> Tensor)?,
        into out: Tensor
    ) throws(TensorError) {
        let inner = heads * headDim
        try compute.pool.run(stack.ranges.count * heads) { (item, scratch) throws(TensorError) in
            let (range, head) = (stack.ranges[item / heads], item % heads)
            guard let attention = attention[range.count] else { return }
            let parts = (0..<3).map { part in
                let tensor = scratch.tensor(out.dtype, [range.count, headDim])
                rows.splitHeads(
                    qkv.slice(range), column: part * inner + head * headDim, heads: 1, headDim: headDim, weight: nil,
                    epsilon: 0, rotary: nil, into: tensor, .tokenMajor)
                return tensor
            }
            let values = try attention(
                q: parts[0], k: parts[1], v: parts[2], scale: scale, bias: bias?(head, range.count, scratch), scratch)
            out.assign(rows: range, columns: head * headDim..<(head + 1) * headDim, values)
        }
    }

    /// The rows of each sequence in tensors of their own.
    func results(_ x: Tensor) -> [Tensor] { stack.ranges.map { x.slice($0).copy() } }
}
