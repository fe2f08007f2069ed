import VditTensor

/// What stands in front of a modulation.
public enum RowNorm: Sendable {
    case layer, rms
}

/// What a timestep makes of a block's rows: a norm in front of a product is scaled and shifted, what comes out of it
/// is added through a gate. What is nil does nothing.
struct Modulation: Sendable {
    struct Part: Sendable {
        var scale: Tensor?
        var shift: Tensor?
        var gate: Tensor?
    }
    let attention: Part
    let feedForward: Part
}

/// A chunk of a stream's rows, each with the modulation of its timestep.
struct ModulatedRows {
    private let chunk: RowChunk
    private let kernels: RowKernels
    private let parts: [(rows: Range<Int>, modulation: Modulation)]

    /// - Parameter modulations: one for each distinct timestep of `runs`.
    init(_ chunk: RowChunk, _ runs: TimestepRuns, _ modulations: [Modulation], _ kernels: RowKernels) {
        (self.chunk, self.kernels) = (chunk, kernels)
        parts = runs.within(chunk.rows).map { ($0.rows, modulations[$0.index]) }
    }

    /// `norm(x) · scale + shift` of the chunk.
    ///
    /// - Returns: of this type, in scratch.
    func normed(
        _ which: KeyPath<Modulation, Modulation.Part>, _ norm: RowNorm, epsilon: Float, as type: DType
    ) -> Tensor {
        let out = chunk.scratch.tensor(type, chunk.x.shape)
        for (rows, modulation) in parts {
            let part = modulation[keyPath: which]
            kernels.norm(
                norm, chunk.x.slice(rows), epsilon: epsilon, scale: part.scale, shift: part.shift,
                into: out.slice(rows))
        }
        return out
    }

    /// Adds `gate · y` to the residual stream.
    func add(_ y: Tensor, _ which: KeyPath<Modulation, Modulation.Part>) {
        for (rows, modulation) in parts {
            kernels.gatedAdd(chunk.x.slice(rows), y.slice(rows), gate: modulation[keyPath: which].gate)
        }
    }

    /// Adds `gate · rms(y)` to the residual stream.
    func addNormed(_ y: Tensor, _ which: KeyPath<Modulation, Modulation.Part>, epsilon: Float) {
        let normed = chunk.scratch.tensor(.f32, y.shape)
        for (rows, modulation) in parts {
            kernels.rmsNorm(
                y.slice(rows), epsilon: epsilon, scale: modulation[keyPath: which].gate, shift: nil,
                into: normed.slice(rows))
        }
        kernels.gatedAdd(chunk.x, normed, gate: nil)
    }
}

extension RowKernels {
    /// Either norm along the last axis.
    func norm(
        _ norm: RowNorm, _ x: Tensor, epsilon: Float, scale: Tensor?, shift: Tensor?, into out: Tensor
    ) {
        switch norm {
        case .layer: layerNorm(x, epsilon: epsilon, scale: scale, shift: shift, into: out)
        case .rms: rmsNorm(x, epsilon: epsilon, scale: scale, shift: shift, into: out)
        }
    }
}
