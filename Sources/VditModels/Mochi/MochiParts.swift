import Glibc
import VditAttention
import VditTensor

/// Mochi in front of its blocks and in them: narrower rows for the text, norms behind the products too, positions whose
/// frequencies are learned.
struct MochiParts: JointParts {
    static let patchName = "patch_embed.proj"

    private let config: MochiTransformerConfig
    private let compute: ComputeContext
    private let kernels: RowKernels
    private let time: TimestepEmbedder
    private let pool: MochiTextPool
    private let caption: Linear
    /// `[3, heads · headDim / 2]` f32: by time, row and column.
    private let frequencies: Tensor

    struct Prompt: PreparedConditioning {
        /// `[tokens, textWidth]` f32, the text's rows at every time.
        let text: Tensor
        /// `[1, inner]` f32, added to the time's vector.
        let pooled: Tensor
        var byteCount: Int { text.byteCount + pooled.byteCount }
    }

    init(
        _ config: MochiTransformerConfig, _ loader: WeightLoader, _ compute: ComputeContext
    ) throws(TensorError) {
        (self.config, self.compute) = (config, compute)
        kernels = RowKernels(compute.instructionSet)
        time = try TimestepEmbedder(loader, "time_embed.timestep_embedder")
        pool = try MochiTextPool(loader)
        caption = try loader.linear("time_embed.caption_proj", result: .f32)
        frequencies = try loader.vector("pos_frequencies").reshaped([3, config.inner / 2])
    }

    static func block(
        _ config: MochiTransformerConfig, _ index: Int, _ name: String, _ loader: WeightLoader
    ) throws(TensorError) -> JointBlock {
        let plain = loader.unquantised
        let attention = "\(name).attn1"
        let isLast = config.endsText(at: index)
        func lane(
            _ width: Int, _ qkv: [String], _ norms: (String, String), _ product: Int, _ rest: JointLane.Rest
        ) throws(TensorError) -> JointLane {
            JointLane(
                width: width, norm: .rms, epsilon: 1e-6, gate: .normed,
                attentionPlaces: ModulationPlaces(product: product, scale: 0, gate: 1),
                feedForwardPlaces: ModulationPlaces(product: product, scale: 2, gate: 3),
                qkv: try loader.linear(
                    "\(attention).\(qkv[0])", "\(attention).\(qkv[1])", "\(attention).\(qkv[2])", result: .f32),
                normQ: .rms(try plain.vector("\(attention).\(norms.0).weight")),
                normK: .rms(try plain.vector("\(attention).\(norms.1).weight")), queryKeyEpsilon: 1e-5, rest: rest)
        }
        func rest(_ out: String, _ feedForward: String) throws(TensorError) -> JointLane.Rest {
            .behind(
                out: try loader.linear("\(attention).\(out)", result: .f32),
                try FeedForward(loader, "\(name).\(feedForward)", .gated))
        }
        let video = try lane(
            config.inner, ["to_q", "to_k", "to_v"], ("norm_q", "norm_k"), 0, rest("to_out.0", "ff"))
        var text = try lane(
            config.textWidth, ["add_q_proj", "add_k_proj", "add_v_proj"], ("norm_added_q", "norm_added_k"), 1,
            isLast ? .nothing : rest("to_add_out", "ff_context"))
        if isLast {
            text.attentionPlaces = ModulationPlaces(product: 1, scale: 0)
            text.feedForwardPlaces = ModulationPlaces()
        }
        return JointBlock(
            heads: config.heads, headDim: config.headDim,
            modulations: [
                try plain.linear("\(name).norm1.linear", result: .f32),
                try plain.linear("\(name).norm1_context.\(isLast ? "linear_1" : "linear")", result: .f32),
            ], lanes: [video, text])
    }

    static func head(_ config: MochiTransformerConfig, _ loader: WeightLoader) throws(TensorError) -> JointHead {
        JointHead(
            epsilon: 1e-6, modulator: try loader.linear("norm_out.linear", result: .f32), scaleIndex: 0,
            projection: try loader.linear("proj_out", result: .f32), order: .last)
    }

    func prepare(_ conditioning: Conditioning) throws -> Prompt {
        let tokens = conditioning.validPrompt
        let text = Tensor(.f32, [tokens.shape[0], config.textWidth])
        try caption(tokens.converted(to: caption.operandType), into: text, Scratch())
        return Prompt(text: text, pooled: try pool(tokens))
    }

    func vector(
        _ timestep: Float, isText: Bool, _ prompt: Prompt, _ trace: Trace?
    ) throws(TensorError) -> Tensor {
        let vector = try time(timestep, Scratch()).embedding
        kernels.gatedAdd(vector, prompt.pooled, gate: nil)
        trace?.record("pooler.out", prompt.pooled)
        return vector
    }

    func text(_ timestep: Float, _ prompt: Prompt, _ trace: Trace?) -> Tensor { prompt.text }

    /// Every head has angles of its own: place · frequency, summed over time, row and column. Rows and columns are
    /// centres of a grid about 0 whose area is that of 192 × 192.
    func positions(_ layout: TokenLayout) -> JointPositions {
        let pairs = frequencies.columns
        let scale = sqrtf(Float(192 * 192) / Float(layout.tokensPerFrame))
        func centres(_ count: Int) -> [Float] {
            (0..<count).map { (Float($0) + 0.5) * scale - Float(count) * scale / 2 }
        }
        let (rows, columns) = (centres(layout.height), centres(layout.width))
        let shape = [layout.videoTokens, pairs]
        let table = RotaryTable(cosine: Tensor(.f32, shape), sine: Tensor(.f32, shape))
        compute.pool.run(layout.frames * layout.height) { line, _ in
            let tokens = line * layout.width..<(line + 1) * layout.width
            let (time, row) = (Float(line / layout.height), rows[line % layout.height])
            let (cosines, sines) = table.rows(tokens)
            frequencies.withFloats { frequencies in
                cosines.withMutableFloats { cosines in
                    sines.withMutableFloats { sines in
                        for (index, column) in columns.enumerated() {
                            for pair in 0..<pairs {
                                let angle = time * frequencies[pair] + row * frequencies[pairs + pair]
                                    + column * frequencies[2 * pairs + pair]
                                cosines[index * pairs + pair] = cosf(angle)
                                sines[index * pairs + pair] = sinf(angle)
                            }
                        }
                    }
                }
            }
        }
        return JointPositions(turning: table)
    }
}

/// A prompt as one vector: the mean of its tokens attends to itself and to them.
///
/// - Source: `MochiAttentionPool`, diffusers 0.42.1. A prompt without tokens has the mean 0.
struct MochiTextPool: Sendable {
    private let queries: Linear
    private let keysValues: Linear
    private let out: Linear

    init(_ loader: WeightLoader) throws(TensorError) {
        queries = try loader.linear("time_embed.pooler.to_q", result: .f32)
        keysValues = try loader.linear("time_embed.pooler.to_kv", result: .f32)
        out = try loader.linear("time_embed.pooler.to_out", result: .f32)
    }

    /// - Parameter tokens: the valid ones, `[tokens, textDim]`.
    /// - Returns: `[1, inner]` f32.
    func callAsFunction(_ tokens: Tensor) throws(TensorError) -> Tensor {
        let (count, width, scratch) = (tokens.shape[0], tokens.shape[1], Scratch())
        let rows = Tensor(.f32, [count + 1, width])
        rows.slice(1..<count + 1).assign(tokens.converted(to: .f32))
        rows.withMutableFloats { values in
            for column in 0..<width where count > 0 {
                var sum: Float = 0
                for row in 1...count { sum += values[row * width + column] }
                values[column] = sum / Float(count)
            }
        }
        let input = rows.as(queries.operandType, scratch)
        let query = Tensor(.f32, [1, width])
        try queries(input.slice(0..<1), into: query, scratch)
        let both = Tensor(.f32, [count + 1, 2 * width])
        try keysValues(input, into: both, scratch)
        let pooled = Tensor(Self.attended(query.floats(), both.floats(), rows: count + 1), shape: [1, width])
        let result = Tensor(.f32, [1, out.outputs])
        try out(pooled.as(out.operandType, scratch), into: result, scratch)
        return result
    }

    /// Attention of one query.
    ///
    /// - Parameter both: keys, then values of each row.
    private static func attended(_ query: [Float], _ both: [Float], rows: Int) -> [Float] {
        let width = query.count
        let size = width / MochiTransformerConfig.poolHeads
        var result = [Float](repeating: 0, count: width)
        for first in stride(from: 0, to: width, by: size) {
            let scores = (0..<rows).map { row in
                (first..<first + size).reduce(Float(0)) { $0 + query[$1] * both[row * 2 * width + $1] }
                    / Float(size).squareRoot()
            }
            let largest = scores.max() ?? 0
            let weights = scores.map { expf($0 - largest) }
            let sum = weights.reduce(0, +)
            for row in 0..<rows {
                for column in first..<first + size {
                    result[column] += weights[row] / sum * both[row * 2 * width + width + column]
                }
            }
        }
        return result
    }
}
