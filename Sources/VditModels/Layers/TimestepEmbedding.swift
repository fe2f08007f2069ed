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

/// Tokens that share a timestep, in token order: what modulation is computed once for.
struct TimestepRuns: Sendable {
    /// The distinct timesteps.
    let timesteps: [Float]
    /// Maximal runs of tokens with one timestep: the tokens, and the index of the timestep.
    let runs: [(tokens: Range<Int>, index: Int)]

    /// - Parameter values: one timestep for all tokens, or one per token.
    init(_ values: [Float], tokens: Int) {
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

    /// The parts of a chunk of tokens that share a timestep.
    func within(_ chunk: Range<Int>) -> [(tokens: Range<Int>, index: Int)] {
        runs.compactMap { run in
            let part = run.tokens.clamped(to: chunk)
            return part.isEmpty ? nil : (part, run.index)
        }
    }
}
