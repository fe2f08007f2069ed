import Foundation
import Synchronization
import Testing
import VDiT

/// The block loop runs transformers of any number of token streams: here the video, a narrower text in front of it
/// with weights of its own, and text behind it that shares the video's weights in every second block.
@Suite struct BlockLoopTests {
    /// What one stream uses in one block. Norms are RMS without weights, but q's and k's, which are per head.
    struct Weights: Sendable {
        let qkv: Tensor
        let normQ: Tensor
        let normK: Tensor
        let out: Tensor
        let feedForward: Tensor

        init(block: Int, stream: String, width: Int) throws {
            let inner = Toy.heads * Toy.headDim
            let all = RandomWeights(
                [
                    ("qkv.w", [3 * inner, width]), ("q.w", [1, Toy.headDim]), ("k.w", [1, Toy.headDim]),
                    ("out.w", [width, inner]), ("ff.w", [width, width]),
                ], seed: UInt64(block * 100 + stream.utf8.count))
            func tensor(_ name: String) throws -> Tensor { try all.tensor(name).converted(to: .f32) }
            qkv = try tensor("qkv.w")
            (normQ, normK) = (try tensor("q.w"), try tensor("k.w"))
            (out, feedForward) = (try tensor("out.w"), try tensor("ff.w"))
        }
    }

    struct Toy: BlockStack {
        static let (heads, headDim) = (2, 16)
        let layout: TokenLayout
        let streams: [TokenStream]
        let blockCount = 4
        /// By block and stream.
        let weights: [[Weights]]
        /// By block, stream, and product: q, k and v together, output, feed-forward.
        let products: [[[Linear]]]
        /// What the streams begin with, and where the video's rows end.
        let inputs: [Tensor]
        let result: Tensor

        var heads: Int { Self.heads }
        var headDim: Int { Self.headDim }

        init(_ layout: TokenLayout) throws {
            self.layout = layout
            var streams = [TokenStream("video", tokens: layout.video, width: 32, chunkRows: 32)]
            if layout.textBefore > 0 {
                streams.append(TokenStream("before", tokens: 0..<layout.textBefore, width: 24, chunkRows: 8))
            }
            if layout.textAfter > 0 {
                let tokens = layout.video.upperBound..<layout.tokens
                streams.append(TokenStream("after", tokens: tokens, width: 32))
            }
            self.streams = streams
            weights = try (0..<blockCount).map { block in
                try streams.map { stream in
                    let isShared = block % 2 == 1 && stream.name == "after"
                    return try Weights(block: block, stream: isShared ? "video" : stream.name, width: stream.width)
                }
            }
            products = try weights.map { block in
                try block.map { weights in
                    try [weights.qkv, weights.out, weights.feedForward].map {
                        try Linear(weights: [$0], biases: [], operand: .f32, on: try .chosen())
                    }
                }
            }
            inputs = try streams.map { stream in
                try RandomWeights([("x.w", [stream.tokens.count, stream.width])], seed: 3)
                    .tensor("x.w").converted(to: .f32)
            }
            result = Tensor(.f32, inputs[0].shape)
        }

        func embed(_ chunk: RowChunk) { chunk.x.assign(inputs[chunk.stream].slice(chunk.rows)) }

        func block(_ index: Int) -> any TransformerBlock {
            Block(products: products[index], weights: weights[index])
        }

        func head(_ chunk: RowChunk) {
            if chunk.stream == 0 { normalised(chunk.x, width: 32).write(to: result.slice(chunk.rows)) }
        }
    }

    struct Block: TransformerBlock {
        let products: [[Linear]]
        let weights: [Weights]

        func beforeAttention(_ chunk: RowChunk, into operands: AttentionOperands) throws(TensorError) {
            let (heads, headDim) = (Toy.heads, Toy.headDim)
            let weights = weights[chunk.stream]
            let input = chunk.scratch.tensor(.f32, chunk.x.shape)
            normalised(chunk.x, width: chunk.x.columns).write(to: input)
            let all = chunk.scratch.tensor(.f32, [chunk.rows.count, 3 * heads * headDim])
            try products[chunk.stream][0](input, into: all, chunk.scratch)
            chunk.record("qkv", all)
            let split = all.floats()
            for (index, (out, norm)) in
                [(operands.q, weights.normQ), (operands.k, weights.normK), (operands.v, nil)].enumerated()
            {
                for row in 0..<chunk.rows.count {
                    for head in 0..<heads {
                        let start = ((row * 3 + index) * heads + head) * headDim
                        var values = split[start..<start + headDim].map(Double.init)
                        if let norm {
                            values = zip(rms(values), norm.floats()).map { $0 * Double($1) }
                        }
                        values.write(to: out[head][chunk.tokens.lowerBound + row])
                    }
                }
            }
        }

        func afterAttention(_ chunk: RowChunk, attended: Tensor) throws(TensorError) {
            let rows = chunk.rows.count
            let y = chunk.scratch.tensor(.f32, chunk.x.shape)
            try products[chunk.stream][1](attended.reshaped([rows, Toy.heads * Toy.headDim]), into: y, chunk.scratch)
            sum(chunk.x, y).write(to: chunk.x)
            let input = chunk.scratch.tensor(.f32, chunk.x.shape)
            normalised(chunk.x, width: chunk.x.columns).write(to: input)
            try products[chunk.stream][2](input, into: y, chunk.scratch)
            sum(chunk.x, y).write(to: chunk.x)
        }
    }

    /// The same model in plain loops and float64, the joint sequence in one array.
    static func reference(_ toy: Toy) -> [Double] {
        let (heads, headDim) = (Toy.heads, Toy.headDim)
        var x = toy.inputs.map { $0.floats().map(Double.init) }
        for weights in toy.weights {
            var parts = Array(repeating: Array(repeating: [Double](), count: toy.layout.tokens), count: 3)
            for (index, stream) in toy.streams.enumerated() {
                for (row, token) in stream.tokens.enumerated() {
                    let input = rms(Array(x[index][row * stream.width..<(row + 1) * stream.width]))
                    let all = product(weights[index].qkv, input)
                    for part in 0..<3 {
                        let values = Array(all[part * heads * headDim..<(part + 1) * heads * headDim])
                        let norm = [weights[index].normQ, weights[index].normK, nil][part]?.floats()
                        parts[part][token] = norm.map { norm in
                            (0..<heads).flatMap { head in
                                zip(rms(Array(values[head * headDim..<(head + 1) * headDim])), norm)
                                    .map { $0 * Double($1) }
                            }
                        } ?? values
                    }
                }
            }
            for (index, stream) in toy.streams.enumerated() {
                for (row, token) in stream.tokens.enumerated() {
                    var attended = [Double](repeating: 0, count: heads * headDim)
                    for head in 0..<heads {
                        let columns = head * headDim..<(head + 1) * headDim
                        let scores = parts[1].map { key in
                            exp(columns.reduce(0) { $0 + parts[0][token][$1] * key[$1] } / 4)
                        }
                        let total = scores.reduce(0, +)
                        for column in columns {
                            attended[column] = zip(scores, parts[2]).reduce(0) { $0 + $1.0 * $1.1[column] } / total
                        }
                    }
                    let range = row * stream.width..<(row + 1) * stream.width
                    var values = zip(x[index][range], product(weights[index].out, attended)).map(+)
                    values = zip(values, product(weights[index].feedForward, rms(values))).map(+)
                    x[index].replaceSubrange(range, with: values)
                }
            }
        }
        return stride(from: 0, to: x[0].count, by: 32).flatMap { rms(Array(x[0][$0..<$0 + 32])) }
    }

    static let layouts = [(0, 0), (5, 0), (0, 70), (11, 9)].map {
        TokenLayout(frames: 3, height: 5, width: 6, textBefore: $0.0, textAfter: $0.1)
    }

    static func dense(_ call: AttentionCall) -> AttentionOutput {
        blockSparseAttention(call, .dense(tokens: call.tokens), values: .f32)
    }

    static func run(
        _ layout: TokenLayout, threads: Int = 2, _ change: (inout ForwardPass) -> Void = { _ in }
    ) throws -> [Float] {
        let toy = try Toy(layout)
        var pass = ForwardPass(timesteps: [500]) { dense($0) }
        change(&pass)
        let compute = ComputeContext(pool: WorkPool(threads: threads), instructionSet: try .chosen(), precision: .fp32)
        try BlockLoop(compute).run(toy, pass)
        return toy.result.floats()
    }

    @Test(arguments: layouts)
    func streamsAttendToEachOtherInTheLayoutsOrder(_ layout: TokenLayout) throws {
        let (found, expected) = (try Self.run(layout), Self.reference(try Toy(layout)))
        let worst = zip(found, expected).map { abs(Double($0) - $1) }.max() ?? 1
        #expect(found.count == expected.count && worst < 2e-5)
    }

    @Test func threadsAndDecisionsThatRunEverythingChangeNoBit() throws {
        let layout = Self.layouts[3]
        let whole = try Self.run(layout)
        for threads in [1, 3] { #expect(try Self.run(layout, threads: threads) == whole) }
        var asked: [Int] = []
        let pieces = try Self.run(layout) { pass in
            pass.decideBlocks = { state in
                asked.append(state.next)
                #expect(state.count == 4 && state.streams.map(\.columns) == [32, 24, 32])
                return .run(upTo: min(4, state.next + 3)) { #expect($0.map(\.columns) == [32, 24, 32]) }
            }
        }
        #expect(asked == [0, 3] && pieces == whole)
    }

    @Test func skippedBlocksAddTheirResidualAndAttendNothing() throws {
        let layout = Self.layouts[3]
        nonisolated(unsafe) var kept: [Tensor] = []
        let whole = try Self.run(layout) { pass in
            pass.decideBlocks = { state in
                state.next == 0 ? .run(upTo: 1) : .run(upTo: 4) { kept = $0.map { $0.copy() } }
            }
        }
        var layers: [Int] = []
        var attended: [Int] = []
        let cached = try Self.run(layout) { pass in
            pass.onLayer = { layers.append($0) }
            pass.attend = { call in
                attended.append(call.site.layer)
                return Self.dense(call)
            }
            pass.decideBlocks = { $0.next == 0 ? .run(upTo: 1) : .skip(upTo: 4, adding: kept) }
        }
        #expect(layers == [0] && attended == [0])
        let worst = zip(cached, whole).map { abs($0 - $1) }.max() ?? 1
        #expect(worst < 1e-6)
    }

    @Test func intermediatesAreKeptWholeByBlockAndStream() throws {
        let trace = Trace()
        _ = try Self.run(Self.layouts[3]) { $0.trace = trace }
        for (name, rows) in [("qkv", 90), ("before.qkv", 11), ("after.qkv", 9)] {
            #expect(trace.recorded["block3.\(name)"]?.shape == [rows, 96])
        }
    }

    /// Two loops, each with half of every stream's chunks, give the whole when `attend` exchanges q, k and v.
    @Test func partsOfThePassAreTheWholeTogether() throws {
        let layout = Self.layouts[3]
        let whole = try Self.run(layout)
        let parts: [[Range<Int>]] = [[0..<64, 0..<8, 0..<9], [64..<90, 8..<11, 9..<9]]
        let exchange = Exchange(layout)
        let results = Mutex<[Int: [Float]]>([:])
        DispatchQueue.concurrentPerform(iterations: 2) { index in
            guard let toy = try? Toy(layout), let set = try? InstructionSet.chosen() else { return }
            let tokens = zip(toy.streams, parts[index]).flatMap { stream, rows in
                rows.map { stream.tokens.lowerBound + $0 }
            }
            let compute = ComputeContext(pool: WorkPool(threads: 1), instructionSet: set, precision: .fp32)
            let pass = ForwardPass(timesteps: [500]) { Self.dense(exchange.join($0, tokens)) }
            try? BlockLoop(compute).run(toy, pass, rows: parts[index])
            let mine = toy.result.slice(parts[index][0]).floats()
            results.withLock { $0[index] = mine }
        }
        let both = results.withLock { ($0[0] ?? []) + ($0[1] ?? []) }
        #expect(both == whole)
    }

    /// Where two processes put their tokens of q, k and v and wait for the other's.
    final class Exchange: @unchecked Sendable {
        private let condition = NSCondition()
        private var arrived = 0
        private let all: [[Tensor]]

        // Two sets in turn, so that a fast half cannot write over what a slow one still reads.
        init(_ layout: TokenLayout) {
            all = (0..<2).map { _ in
                (0..<3).map { _ in Tensor(.f32, [Toy.heads, layout.tokens, Toy.headDim]) }
            }
        }

        func join(_ call: AttentionCall, _ tokens: [Int]) -> AttentionCall {
            let all = all[call.site.layer % 2]
            for (mine, whole) in zip([call.q, call.k, call.v], all) {
                for head in 0..<Toy.heads {
                    for token in tokens { whole[head][token].assign(mine[head][token]) }
                }
            }
            condition.lock()
            arrived += 1
            condition.broadcast()
            while arrived < 2 * (call.site.layer + 1) { condition.wait() }
            condition.unlock()
            return AttentionCall(
                q: all[0], k: all[1], v: all[2], layout: call.layout, site: call.site, step: call.step,
                steps: call.steps, pool: call.pool, instructionSet: call.instructionSet)
        }
    }
}

/// RMS norm without a weight.
private func rms(_ values: [Double]) -> [Double] {
    let mean = values.reduce(0) { $0 + $1 * $1 } / Double(values.count)
    return values.map { $0 / (mean + 1e-6).squareRoot() }
}

private func normalised(_ x: Tensor, width: Int) -> [Double] {
    let values = x.floats().map(Double.init)
    return stride(from: 0, to: values.count, by: width).flatMap { rms(Array(values[$0..<$0 + width])) }
}

private func sum(_ x: Tensor, _ y: Tensor) -> [Double] { zip(x.floats(), y.floats()).map { Double($0 + $1) } }

private func product(_ weights: Tensor, _ x: [Double]) -> [Double] {
    let values = weights.floats()
    return (0..<weights.shape[0]).map { row in
        x.indices.reduce(0) { $0 + Double(values[row * x.count + $1]) * x[$1] }
    }
}

extension [Double] {
    fileprivate func write(to out: Tensor) { out.assign(Tensor(map { Float($0) }, shape: out.shape)) }
}
