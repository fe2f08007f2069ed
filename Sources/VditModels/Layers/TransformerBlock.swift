import VditAttention
import VditTensor

/// Rows of one width that go through a transformer's blocks side by side: the tokens of the video, or those of
/// the text where it takes part in self-attention.
public struct TokenStream: Sendable {
    /// Names its intermediates; those of the first stream go by the block's name alone.
    public let name: String
    /// Its tokens' places in the joint sequence of self-attention; row `i` is token `tokens.lowerBound + i`.
    public let tokens: Range<Int>
    /// Columns of its residual stream.
    public let width: Int
    /// Rows that one task takes through all row-wise work of a layer. A product's result depends on the number
    /// of its rows, so this may depend on nothing but the number of tokens.
    public let chunkRows: Int

    /// - Parameter chunkRows: if nil, enough rows for the products to run at full speed and few enough to balance.
    public init(_ name: String, tokens: Range<Int>, width: Int, chunkRows: Int? = nil) {
        self.name = name
        self.tokens = tokens
        self.width = width
        self.chunkRows = chunkRows ?? Self.balanced(tokens.count)
    }

    /// Of 64 to 256 rows, those that sixteen threads are done with first where a chunk costs eight rows beside its own;
    /// among the many chunks of more tokens any number of threads ends together.
    private static func balanced(_ count: Int) -> Int {
        if count >= 8192 { return 256 }
        func cost(_ rows: Int) -> Int { ((count - 1) / rows / 16 + 1) * (rows + 8) }
        return stride(from: 256, through: 64, by: -32).min { cost($0) < cost($1) } ?? 256
    }

    /// `0 ..< tokens.count` in chunks, the last one shorter.
    var chunks: [Range<Int>] {
        stride(from: 0, to: tokens.count, by: chunkRows).map { $0..<min(tokens.count, $0 + chunkRows) }
    }
}

/// The rows of a stream that one task works on, and what it works with.
public struct RowChunk {
    /// Index of the stream.
    public let stream: Int
    /// Its rows within the stream.
    public let rows: Range<Int>
    /// Their places in the joint sequence of self-attention.
    public let tokens: Range<Int>
    /// `[rows, width]` f32, the residual stream: a view, read and written in place.
    public let x: Tensor
    /// The task's own memory.
    public let scratch: Scratch

    let trace: Trace?
    let prefix: () -> String
    let streamRows: Int

    /// Records `[rows, …]` of an intermediate where the pass is traced; nothing otherwise.
    public func record(_ name: String, _ values: Tensor) {
        trace?.record(prefix() + name, rows: values, at: rows.lowerBound, of: streamRows)
    }
}

/// What the blocks write for self-attention to read: each `[heads, tokens, headDim]` of the operand type, over the
/// joint sequence of all streams.
public struct AttentionOperands: Sendable {
    public let q: Tensor
    public let k: Tensor
    public let v: Tensor
    /// `[tokens, heads · headDim]` of the operand type, where the pass takes gates and the stack has some.
    public var gate: Tensor?
}

/// One block of one pass: its weights with all that the pass gives it (modulation of the timestep, positions,
/// conditioning).
///
/// Everything but self-attention works on rows alone, so a block is two functions of a chunk of rows. They run on
/// many threads at once, inside items of `WorkPool`, each chunk exactly once. A block with one set of weights per
/// stream picks by `chunk.stream`.
public protocol TransformerBlock: Sendable {
    /// What a trained sparse attention puts its linear part through, where the block has it.
    var projection: Linear? { get }

    /// From the residual stream to q, k and v: writes all heads of `chunk.tokens`.
    func beforeAttention(_ chunk: RowChunk, into operands: AttentionOperands) throws(TensorError)

    /// From the attended values to the block's output, in place on the residual stream.
    ///
    /// - Parameter attended: `[rows, heads, headDim]` of the operand type or f32.
    func afterAttention(_ chunk: RowChunk, attended: Tensor) throws(TensorError)
}

extension TransformerBlock {
    public var projection: Linear? { nil }
}

/// One forward pass of a transformer, as `BlockLoop` runs it: what a family is made of.
///
/// A family with one stream (Wan, LTX), with text in front of the video or behind it that has weights of its own
/// or shares them, in some blocks or in all (CogVideoX, HunyuanVideo), or is narrower than the video (Mochi), is
/// a stack of this kind.
public protocol BlockStack: Sendable {
    /// The joint sequence. The streams' tokens are disjoint and cover it.
    var layout: TokenLayout { get }
    var heads: Int { get }
    var headDim: Int { get }
    /// What its blocks have for a sparse attention: `AttentionOperands.gate` or `TransformerBlock.projection`.
    var trained: TrainedAttention? { get }
    /// The video first.
    var streams: [TokenStream] { get }
    var blockCount: Int { get }

    /// Fills the residual stream's rows.
    func embed(_ chunk: RowChunk) throws(TensorError)

    /// A block made ready for this pass, once per pass and on the calling thread, outside of any task.
    func block(_ index: Int) throws(TensorError) -> any TransformerBlock

    /// Takes the last block's rows to the model's output.
    func head(_ chunk: RowChunk) throws(TensorError)

    /// What step caches may compare between calls.
    func signal(_ kind: CallSignal) -> Tensor?
}

extension BlockStack {
    public func signal(_ kind: CallSignal) -> Tensor? { nil }
}

extension BlockStack {
    public var trained: TrainedAttention? { nil }
}
