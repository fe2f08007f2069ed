import CVditKernels

extension DType {
    /// The C kernels' name of a floating-point type.
    var floatType: vdit_float_type? {
        switch self {
        case .f32: VDIT_F32
        case .bf16: VDIT_BF16
        case .f16: VDIT_F16
        case .f64: VDIT_F64
        default: nil
        }
    }
}

extension Tensor {
    /// A floating-point tensor in another floating-point type, rounded to nearest even. A copy even when
    /// the type is the same.
    public func converted(to dtype: DType) -> Tensor {
        let result = Tensor(dtype, shape)
        result.convert(from: self)
        return result
    }

    /// Fills this tensor with another's values in this tensor's type; both floating point, counts equal.
    public func convert(from source: Tensor) {
        guard let from = source.dtype.floatType, let to = dtype.floatType else {
            preconditionFailure("\(source.dtype) to \(dtype) is not a floating-point conversion")
        }
        precondition(count == source.count)
        vdit_convert(source.rawPointer, from, rawPointer, to, Int64(count))
    }
}
