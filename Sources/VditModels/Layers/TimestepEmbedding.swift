import Glibc
import VditTensor

/// The sinusoid of a timestep: cosines first, then sines, of `t · 10000^(−k / half)`, in fp32 as diffusers
/// computes it (`Timesteps` with `flip_sin_to_cos` and no frequency shift).
func timestepSinusoid(_ timestep: Float, size: Int) -> Tensor {
    let half = size / 2
    var values = [Float](repeating: 0, count: size)
    for k in 0..<half {
        let frequency = expf(-Float(log(10_000.0)) * Float(k) / Float(half))
        values[k] = cosf(timestep * frequency)
        values[half + k] = sinf(timestep * frequency)
    }
    return Tensor(values, shape: [1, size])
}

/// A vector through a linear layer, SiLU and a linear layer; in fp32, as diffusers keeps what time and text become
/// whatever the checkpoint's type.
struct VectorEmbedder: Sendable {
    let inputs: Int
    private let first: Linear
    private let second: Linear

    /// - Parameter name: of the pair `linear_1`, `linear_2`.
    init(_ loader: WeightLoader, _ name: String) throws(TensorError) {
        first = try loader.linear("\(name).linear_1", result: .f32, activation: .silu, isFP32: true)
        second = try loader.linear("\(name).linear_2", result: .f32, isFP32: true)
        inputs = first.inputs
    }

    /// - Parameter vector: `[1, inputs]` f32.
    /// - Returns: `[1, width]` f32.
    func callAsFunction(_ vector: Tensor, _ scratch: Scratch) throws(TensorError) -> Tensor {
        let hidden = Tensor(.f32, [1, first.outputs])
        let embedding = Tensor(.f32, [1, second.outputs])
        try first(vector, into: hidden, scratch)
        try second(hidden, into: embedding, scratch)
        return embedding
    }
}

/// The embedding of a timestep: its sinusoid through a `VectorEmbedder`.
public struct TimestepEmbedder: Sendable {
    private let embedder: VectorEmbedder

    /// - Parameter name: of the pair `linear_1`, `linear_2`.
    public init(_ loader: WeightLoader, _ name: String) throws(TensorError) {
        embedder = try VectorEmbedder(loader, name)
    }

    /// - Returns: the sinusoid, and the embedding `[1, width]` f32.
    public func callAsFunction(
        _ timestep: Float, _ scratch: Scratch
    ) throws(TensorError) -> (sinusoid: Tensor, embedding: Tensor) {
        let sinusoid = timestepSinusoid(timestep, size: embedder.inputs)
        return (sinusoid, try embedder(sinusoid, scratch))
    }
}

/// Tokens that share a timestep, in token order: what modulation is computed once for.
public struct TimestepRuns: Sendable {
    /// The distinct timesteps.
    public let timesteps: [Float]
    /// Maximal runs of tokens with one timestep: the tokens, and the index of the timestep.
    public let runs: [(tokens: Range<Int>, index: Int)]

    /// - Parameter values: one timestep for all tokens, or one per token.
    public init(_ values: [Float], tokens: Int) {
        var distinct: [Float] = []
        var runs: [(tokens: Range<Int>, index: Int)] = []
        if values.count == 1 {
            distinct = values
            runs = [(0..<tokens, 0)]
        } else {
            var start = 0
            for token in 1...tokens where token == tokens || values[token] != values[start] {
                let index = distinct.firstIndex(of: values[start]) ?? distinct.count
                if index == distinct.count { distinct.append(values[start]) }
                runs.append((start..<token, index))
                start = token
            }
        }
        timesteps = distinct
        self.runs = runs
    }

    /// The parts of a chunk of tokens that share a timestep: rows counted from the chunk's first, and the index of
    /// the timestep.
    public func within(_ chunk: Range<Int>) -> [(rows: Range<Int>, index: Int)] {
        runs.compactMap { run in
            let part = run.tokens.clamped(to: chunk)
            if part.isEmpty { return nil }
            let first = part.lowerBound - chunk.lowerBound
            return (first..<first + part.count, run.index)
        }
    }
}
