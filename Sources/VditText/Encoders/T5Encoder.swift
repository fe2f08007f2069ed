import VditFiles
import VditTensor

/// The encoder of T5 v1.1 and UMT5.
///
/// Weights stay in their file: a layer is read while all sequences go through it, and given back to the system.
/// Residual stream, norms and softmax are fp32 whatever the precision.
/// - Source: transformers, `UMT5EncoderModel` and `T5EncoderModel`.
public struct T5Encoder: TextEncoder {
    let config: T5EncoderConfig
    private let weights: WeightStore
    private let names: T5WeightNames

    public var width: Int { config.width }
    public var vocabularySize: Int { config.vocabularySize }
    public var endID: Int? { config.endID }
    public var maxTokens: Int? { nil }
    public var name: String { config.name }

    /// - Throws: `TensorError.weights` when the weights are not those the configuration describes.
    init(config: T5EncoderConfig, weights: WeightStore) throws(TensorError) {
        self.config = config
        self.weights = weights
        names = T5WeightNames(in: weights)
        try weights.check(names.expected(config), ignoring: names.isIgnored)
    }

    public func verifyUnchanged() throws(FileError) { try weights.verifyUnchanged() }

    public func encode(
        _ sequences: [[Int32]], compute: ComputeContext, progress: (_ done: Int, _ layers: Int) -> Void
    ) throws(TensorError) -> [Tensor] {
        let groups = StackedSequences.groups(sequences.map(\.count))
        var results: [Tensor] = []
        for (index, group) in groups.enumerated() {
            results += try encode(Array(sequences[group]), compute) { layer in
                progress(index * config.layers + layer, groups.count * config.layers)
            }
        }
        return results
    }

    private func encode(
        _ sequences: [[Int32]], _ compute: ComputeContext, _ progress: (Int) -> Void
    ) throws(TensorError) -> [Tensor] {
        let run = try EncoderRun(sequences.map(\.count), heads: config.heads, headDim: config.headDim, compute)
        let x = run.tensor(.f32, config.width)
        for (ids, rows) in zip(sequences, run.stack.ranges) {
            try weights.read(rows: ids, of: names.embedding, into: x.slice(rows))
        }
        weights.release(names.embedding)
        var buffers = Buffers(run, config)
        for layer in 0..<config.layers {
            try self.layer(layer, x, run, &buffers)
            progress(layer + 1)
        }
        let norm = try vector(names.finalNorm)
        let out = run.tensor(.f32, config.width)
        run.forEachBlock { rows, _ in
            run.rows.rmsNorm(x.slice(rows), epsilon: config.epsilon, weight: norm, into: out.slice(rows))
        }
        return run.results(out)
    }

    /// Activations, and the bias of the layers that share one.
    private struct Buffers {
        let normed, qkv, attended, projected, hidden: Tensor
        /// `[buckets, heads]` f32.
        var bias: Tensor

        init(_ run: EncoderRun, _ config: T5EncoderConfig) {
            let operand = run.compute.operandType
            normed = run.tensor(operand, config.width)
            qkv = run.tensor(.f32, 3 * config.inner)
            attended = run.tensor(operand, config.inner)
            projected = run.tensor(.f32, config.width)
            hidden = run.tensor(operand, config.feedForward)
            bias = Tensor(.f32, [config.distances.count, config.heads])
        }
    }

    private func layer(_ layer: Int, _ x: Tensor, _ run: EncoderRun, _ buffers: inout Buffers) throws(TensorError) {
        // The next layer's weights come from the disk while this one's are multiplied with.
        if layer + 1 < config.layers { for name in self.names.layer(layer + 1).matrices { weights.prefetch(name) } }
        let names = names.layer(layer)
        let (normed, qkv, attended) = (buffers.normed, buffers.qkv, buffers.attended)
        let (projected, hidden) = (buffers.projected, buffers.hidden)
        try norm(x, names.attentionNorm, run, into: normed)
        try stream([names.query, names.key, names.value]) { (weights) throws(TensorError) in
            try run.products(normed, weights.map { StreamedLinear.Weights($0) }, into: qkv)
        }
        if config.hasBias(layer) { buffers.bias = try weights.tensor(names.bias).converted(to: .f32) }
        let (table, distances) = (buffers.bias, config.distances)
        try run.attend(
            qkv, scale: 1,
            bias: { head, tokens, scratch in distances.bias(table, head: head, tokens: tokens, scratch) },
            into: attended)
        try stream([names.output]) { (weights) throws(TensorError) in
            try run.products(attended, [StreamedLinear.Weights(weights[0])], into: projected)
        }
        run.forEachBlock { rows, _ in run.rows.gatedAdd(x.slice(rows), projected.slice(rows), gate: nil) }

        try norm(x, names.feedForwardNorm, run, into: normed)
        try stream([names.gate, names.up]) { (weights) throws(TensorError) in
            let both = [StreamedLinear.Weights(weights[0], activation: .geluTanh), StreamedLinear.Weights(weights[1])]
            try run.linear(normed, both) { rows, columns, products in
                products[0].withMutableFloats { gate in
                    products[1].withFloats { up in
                        for index in gate.indices { gate[index] *= up[index] }
                    }
                }
                hidden.assign(rows: rows, columns: columns, products[0])
            }
        }
        try stream([names.down]) { (weights) throws(TensorError) in
            try run.products(hidden, [StreamedLinear.Weights(weights[0])], into: projected)
        }
        run.forEachBlock { rows, _ in run.rows.gatedAdd(x.slice(rows), projected.slice(rows), gate: nil) }
    }

    private func norm(_ x: Tensor, _ name: String, _ run: EncoderRun, into out: Tensor) throws(TensorError) {
        let weight = try vector(name)
        run.forEachBlock { rows, _ in
            run.rows.rmsNorm(x.slice(rows), epsilon: config.epsilon, weight: weight, into: out.slice(rows))
        }
    }

    private func vector(_ name: String) throws(TensorError) -> Tensor { try weights.tensor(name).converted(to: .f32) }

    /// Hands weights to `body` as they lie in the file, and gives their memory back after it.
    private func stream(
        _ names: [String], _ body: ([Tensor]) throws(TensorError) -> Void
    ) throws(TensorError) {
        var tensors: [Tensor] = []
        for name in names { tensors.append(try weights.tensor(name)) }
        try body(tensors)
        for name in names { weights.release(name) }
    }
}
