import VditTensor

/// `Σ weight · tensor`, elementwise over fp32 tensors of one shape; summed in double and rounded once.
///
/// A term of weight 0 is left out, so what it holds cannot reach the sum.
///
/// - Parameter pool: threads for tensors that are larger than latents.
func combination(_ terms: [(weight: Double, tensor: Tensor)], _ pool: WorkPool? = nil) -> Tensor {
    let result = Tensor(.f32, terms[0].tensor.shape)
    let (count, part) = (result.count, 1 << 16)
    for (_, tensor) in terms { precondition(tensor.count == count) }
    guard let pool else {
        combine(terms, 0..<count, into: result)
        return result
    }
    pool.run((count + part - 1) / part) { item, _ in
        combine(terms, item * part..<min(count, (item + 1) * part), into: result)
    }
    return result
}

private func combine(_ terms: [(weight: Double, tensor: Tensor)], _ range: Range<Int>, into result: Tensor) {
    let chunk = 2048
    var sums = [Double](repeating: 0, count: chunk)
    result.withMutableFloats { output in
        sums.withUnsafeMutableBufferPointer { sums in
            for start in stride(from: range.lowerBound, to: range.upperBound, by: chunk) {
                let length = min(chunk, range.upperBound - start)
                for index in 0..<length { sums[index] = 0 }
                for (weight, tensor) in terms where weight != 0 {
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
