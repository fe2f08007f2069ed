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

/// The embedding of a timestep: a sinusoid, a linear layer, SiLU, a linear layer; in fp32, as diffusers keeps it
/// whatever the checkpoint's type.
public struct TimestepEmbedder: Sendable {
    private let first: Linear
    private let second: Linear

    /// - Parameter name: of the pair `linear_1`, `linear_2`.
    public init(_ loader: WeightLoader, _ name: String) throws(TensorError) {
        first = try loader.linear("\(name).linear_1", result: .f32, activation: .silu, isFP32: true)
        second = try loader.linear("\(name).linear_2", result: .f32, isFP32: true)
    }

    /// - Returns: the sinusoid, and the embedding `[1, width]` f32.
    public func callAsFunction(
        _ timestep: Float, _ scratch: Scratch
    ) throws(TensorError) -> (sinusoid: Tensor, embedding: Tensor) {
        let sinusoid = timestepSinusoid(timestep, size: first.inputs)
        let hidden = Tensor(.f32, [1, first.outputs])
        let embedding = Tensor(.f32, [1, second.outputs])
        try first(sinusoid, into: hidden, scratch)
        try second(hidden, into: embedding, scratch)
        return (sinusoid, embedding)
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
