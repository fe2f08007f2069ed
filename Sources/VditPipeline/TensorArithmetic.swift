import VditTensor

/// `Σ weight · tensor`, elementwise over fp32 tensors of one shape; summed in double and rounded once.
///
/// A term of weight 0 is left out, so what it holds cannot reach the sum.
func combination(_ terms: [(weight: Double, tensor: Tensor)]) -> Tensor {
    let result = Tensor(.f32, terms[0].tensor.shape)
    let count = result.count
    let chunk = 2048
    var sums = [Double](repeating: 0, count: chunk)
    result.withMutableFloats { output in
        sums.withUnsafeMutableBufferPointer { sums in
            for start in stride(from: 0, to: count, by: chunk) {
                let length = min(chunk, count - start)
                for index in 0..<length { sums[index] = 0 }
                for (weight, tensor) in terms where weight != 0 {
                    precondition(tensor.count == count)
                    tensor.withFloats { values in
                        for index in 0..<length {
                            sums[index] += weight * Double(values[start + index])
                        }
                    }
                }
                for index in 0..<length { output[start + index] = Float(sums[index]) }
            }
        }
    }
    return result
}

extension Tensor {
    /// Of all values of an f32 tensor, with n − 1; summed in double.
    var standardDeviation: Double {
        withFloats { values in
            let mean = values.reduce(0.0) { $0 + Double($1) } / Double(values.count)
            let squares = values.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) }
            return (squares / Double(max(1, values.count - 1))).squareRoot()
        }
    }
}
