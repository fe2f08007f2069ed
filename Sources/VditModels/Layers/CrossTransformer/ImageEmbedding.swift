import VditTensor

/// The image tokens' projection of Wan 2.1 image-to-video models: norm, linear, exact GELU, linear, norm, both
/// norms affine with epsilon 1e-5; first-last-frame models add a learned position first.
struct ImageEmbedding: Sendable {
    private let norm1: (scale: Tensor, shift: Tensor)
    private let norm2: (scale: Tensor, shift: Tensor)
    private let first: Linear
    private let second: Linear
    private let positions: Tensor?

    /// - Parameter hasPositions: whether there are learned ones.
    init(_ loader: WeightLoader, _ name: String, hasPositions: Bool) throws(TensorError) {
        norm1 = (try loader.vector("\(name).norm1.weight"), try loader.vector("\(name).norm1.bias"))
        norm2 = (try loader.vector("\(name).norm2.weight"), try loader.vector("\(name).norm2.bias"))
        first = try loader.linear(
            "\(name).ff.net.0.proj", result: loader.compute.operandType, activation: .geluErf)
        second = try loader.linear("\(name).ff.net.2", result: .f32)
        positions = hasPositions ? try loader.vector("\(name).pos_embed") : nil
    }

    /// - Parameter tokens: `[imageTokens, imageDim]`, of all images.
    /// - Returns: `[imageTokens, inner]` of the operand type.
    func callAsFunction(
        _ tokens: Tensor, rows: RowKernels, operand: DType, _ scratch: Scratch
    ) throws -> Tensor {
        let x = tokens.converted(to: .f32)
        if let positions {
            guard positions.count == x.count else {
                throw ModelError.invalid(
                    "image embedding", found: "\(tokens.shape[0]) tokens",
                    expected: "\(positions.count / tokens.shape[1]), one per learned position",
                    kind: .badData)
            }
            rows.gatedAdd(x, positions.reshaped(x.shape), gate: nil)
        }
        let input = Tensor(operand, x.shape)
        rows.layerNorm(x, epsilon: 1e-5, scale: norm1.scale, shift: norm1.shift, into: input)
        let hidden = Tensor(operand, [x.shape[0], first.outputs])
        try first(input, into: hidden, scratch)
        let projected = Tensor(.f32, [x.shape[0], second.outputs])
        try second(hidden, into: projected, scratch)
        let result = Tensor(operand, projected.shape)
        rows.layerNorm(projected, epsilon: 1e-5, scale: norm2.scale, shift: norm2.shift, into: result)
        return result
    }
}
