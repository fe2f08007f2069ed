import VditAttention
import VditTensor

/// Takes a pass through a transformer's blocks, in two parallel phases a block:
///
/// 1. **rows**: a task takes a chunk of one stream through everything that works on rows alone, while the chunk
///    stays in cache: what follows a block's self-attention, then what precedes the next one's.
/// 2. **attention**: `ForwardPass.attend` over the joint sequence of all streams.
///
/// Every task's result is a function of its index alone, so nothing depends on the number of threads.
public struct BlockLoop: Sendable {
    private let compute: ComputeContext

    public init(_ compute: ComputeContext) { self.compute = compute }

    /// - Parameter rows: of each stream, the rows to work on, in whole chunks: all of them if nil. Where several
    ///   processes share a pass, each has its own part, `attend` exchanges the rest of q, k and v, and which heads
    ///   a process attends with is that function's business.
    /// - Throws: what the stack and `pass` throw, and `ModelError.nonFinite` where `pass` asks for it.
    public func run(_ stack: some BlockStack, _ pass: ForwardPass, rows: [Range<Int>]? = nil) throws {
        let run = BlockRun(stack, compute, rows: rows, trained: pass.trained)
        var opening = Opening.embed
        var next = 0
        while next < stack.blockCount {
            var decision = BlockDecision.run(upTo: stack.blockCount)
            if let decide = pass.decideBlocks {
                // A decision may depend on the rows: they catch up first.
                try run.rows(opening, .nothing, pass, last: next - 1)
                opening = .nothing
                decision = try decide(
                    BlockState(
                        next: next, count: stack.blockCount, streams: run.streams, signal: stack.signal))
            }
            precondition(decision.end > next && decision.end <= stack.blockCount)
            switch decision {
            case .skip(_, let residuals):
                run.add(residuals)
            case .run(let end, let residual):
                let start = residual == nil ? [] : run.streams.map { $0.copy() }
                for index in next..<end {
                    try pass.onLayer?(index)
                    let block = try stack.block(index)
                    try run.rows(opening, .before(block, index), pass, last: index - 1)
                    opening = .after(block, index, attended: try run.attend(block, index, pass))
                }
                if let residual {
                    try run.rows(opening, .nothing, pass, last: end - 1)
                    opening = .nothing
                    try residual(run.change(since: start))
                }
            }
            next = decision.end
        }
        try run.rows(opening, .head, pass, last: stack.blockCount - 1)
    }
}

/// What a phase of row work does first: what the rows have not done yet.
private enum Opening: Sendable {
    case embed
    case after(any TransformerBlock, Int, attended: Tensor)
    case nothing
}

/// What it does then.
private enum Closing: Sendable {
    case before(any TransformerBlock, Int)
    case head
    case nothing
}

/// The tensors of one pass, and its phases.
private struct BlockRun<Stack: BlockStack> {
    let stack: Stack
    let compute: ComputeContext
    /// `[rows, width]` f32 of each stream.
    let streams: [Tensor]
    private let operands: AttentionOperands
    private let chunks: [(stream: Int, rows: Range<Int>)]

    init(_ stack: Stack, _ compute: ComputeContext, rows: [Range<Int>]?, trained: TrainedAttention?) {
        precondition(stack.streams.reduce(0) { $0 + $1.tokens.count } == stack.layout.tokens)
        self.stack = stack
        self.compute = compute
        streams = stack.streams.map { Tensor(.f32, [$0.tokens.count, $0.width]) }
        let (type, shape) = (compute.operandType, [stack.heads, stack.layout.tokens, stack.headDim])
        operands = AttentionOperands(
            q: Tensor(type, shape), k: Tensor(type, shape), v: Tensor(type, shape),
            gate: trained == .gates && stack.trained == trained
                ? Tensor(type, [stack.layout.tokens, stack.heads * stack.headDim]) : nil)
        chunks = stack.streams.enumerated().flatMap { index, stream in
            let part = rows?[index] ?? 0..<stream.tokens.count
            return stream.chunks.filter { $0.overlaps(part) }.map { chunk in
                precondition(part.clamped(to: chunk) == chunk, "a part is whole chunks")
                return (index, chunk)
            }
        }
    }

    /// - Parameter last: the block whose output the rows hold then; −1 is the embedding.
    func rows(_ opening: Opening, _ closing: Closing, _ pass: ForwardPass, last: Int) throws {
        if case .nothing = opening, case .nothing = closing { return }
        let trace = pass.trace
        try compute.pool.run(chunks.count) { item, scratch throws(TensorError) in
            func chunk(_ block: Int?) -> RowChunk {
                let (index, rows) = chunks[item]
                let stream = stack.streams[index]
                let first = stream.tokens.lowerBound
                return RowChunk(
                    stream: index, rows: rows, tokens: first + rows.lowerBound..<first + rows.upperBound,
                    x: streams[index].slice(rows), scratch: scratch, trace: trace,
                    prefix: { (block.map { "block\($0)." } ?? "") + (index == 0 ? "" : stream.name + ".") },
                    streamRows: stream.tokens.count)
            }
            switch opening {
            case .embed: try stack.embed(chunk(nil))
            case .after(let block, let index, let attended):
                let chunk = chunk(index)
                try block.afterAttention(chunk, attended: attended.slice(chunk.tokens))
            case .nothing: break
            }
            switch closing {
            case .before(let block, let index): try block.beforeAttention(chunk(index), into: operands)
            case .head: try stack.head(chunk(nil))
            case .nothing: break
            }
        }
        if pass.checksLayers, !streams.allSatisfy(\.isFinite) { throw ModelError.nonFinite(layer: last) }
    }

    /// - Returns: `[tokens, heads, headDim]`.
    func attend(_ block: any TransformerBlock, _ index: Int, _ pass: ForwardPass) throws -> Tensor {
        if let trace = pass.trace {
            trace.record("block\(index).attn1.q_after_norm_rope", operands.q)
            trace.record("block\(index).attn1.k_after_norm_rope", operands.k)
            trace.record("block\(index).attn1.v", operands.v)
        }
        return try pass.attend(
            AttentionCall(
                q: operands.q, k: operands.k, v: operands.v,
                gate: operands.gate?.reshaped([stack.layout.tokens, stack.heads, stack.headDim]),
                projection: pass.trained == .projections ? block.projection : nil, layout: stack.layout,
                site: AttentionSite(layer: index, branch: pass.branch), step: pass.step, steps: pass.steps,
                pool: compute.pool, instructionSet: compute.instructionSet)
        ).values
    }

    /// Adds to every stream its residual.
    func add(_ residuals: [Tensor]) {
        precondition(residuals.map(\.shape) == streams.map(\.shape))
        let kernels = RowKernels(compute.instructionSet)
        compute.pool.run(chunks.count) { item, _ in
            let (stream, rows) = chunks[item]
            kernels.gatedAdd(streams[stream].slice(rows), residuals[stream].slice(rows), gate: nil)
        }
    }

    /// What every stream gained since a copy of it was made.
    func change(since start: [Tensor]) -> [Tensor] {
        let kernels = RowKernels(compute.instructionSet)
        return zip(streams, start).map { now, then in
            let minus = Tensor(Array(repeating: -1, count: now.columns))
            let change = now.copy()
            kernels.gatedAdd(change, then, gate: minus)
            return change
        }
    }
}
