/// The element type of a tensor, named as safetensors names it.
public enum DType: String, Sendable, CaseIterable, Codable {
    case f64 = "F64"
    case f32 = "F32"
    case f16 = "F16"
    case bf16 = "BF16"
    case i64 = "I64"
    case i32 = "I32"
    case i16 = "I16"
    case i8 = "I8"
    case u64 = "U64"
    case u32 = "U32"
    case u16 = "U16"
    case u8 = "U8"
    case bool = "BOOL"

    /// Bytes of one element.
    public var byteCount: Int {
        switch self {
        case .f64, .i64, .u64: 8
        case .f32, .i32, .u32: 4
        case .f16, .bf16, .i16, .u16: 2
        case .i8, .u8, .bool: 1
        }
    }

    public var isFloatingPoint: Bool {
        switch self {
        case .f64, .f32, .f16, .bf16: true
        default: false
        }
    }
}

/// The operand type of matrix products. Accumulation, softmax, norms and the residual stream are fp32 in all.
public enum Precision: String, Sendable, CaseIterable, Codable {
    case fp32
    case bf16
    /// bf16, and the linear layers of a transformer's blocks but the first and the last in 8-bit whole numbers: weights
    /// with a scale for each output, activations with one for each token.
    case int8

    /// Element type of weights and matrix operands; of int8, where it does not apply.
    public var dtype: DType { self == .fp32 ? .f32 : .bf16 }

    /// What is computed in where int8 does not apply.
    public var unquantised: Precision { self == .int8 ? .bf16 : self }
}
