/// What a weight may be written as.
public enum StoredType: String, Sendable, CaseIterable {
    case f32, f16, bf16
    case q8_0

    /// The type that holds values of a tensor's type as they are; nil for types that are no weights'.
    public init?(_ dtype: DType) {
        switch dtype {
        case .f32: self = .f32
        case .f16: self = .f16
        case .bf16: self = .bf16
        default: return nil
        }
    }

    /// Nil for blocks.
    public var dtype: DType? {
        switch self {
        case .f32: .f32
        case .f16: .f16
        case .bf16: .bf16
        case .q8_0: nil
        }
    }

    /// Whether rows of a tensor are whole blocks.
    public func fits(_ shape: [Int]) -> Bool { self != .q8_0 || (shape.last ?? 1) % BlockFormat.q8_0.elementCount == 0 }

    /// - Parameter shape: one that fits.
    public func byteCount(_ shape: [Int]) -> Int {
        let count = shape.reduce(1, *)
        return dtype.map { count * $0.byteCount } ?? BlockFormat.q8_0.byteCount(ofRow: count)
    }

    /// What GGUF knows it by.
    var ggufNumber: UInt32 {
        switch self {
        case .f32: 0
        case .f16: 1
        case .bf16: 30
        case .q8_0: 8
        }
    }

    /// What GGUF knows files by that have most of their weights in it.
    var ggufFileType: UInt32 {
        switch self {
        case .f32: 0
        case .f16: 1
        case .bf16: 32
        case .q8_0: 7
        }
    }

    /// A tensor in this type, rounded once: of the type, or blocks as `[bytes]` u8.
    ///
    /// - Throws: `TensorError.mismatch` naming the tensor for a value the type cannot hold.
    public func stored(_ tensor: Tensor, name: String) throws(TensorError) -> Tensor {
        let result: Tensor
        if let dtype {
            if tensor.dtype == dtype { return tensor }
            result = tensor.converted(to: dtype)
        } else {
            result = Self.blocks(of: tensor.dtype == .f32 ? tensor : tensor.converted(to: .f32))
        }
        let isWhole = dtype == nil ? Self.scalesAreFinite(result) : result.firstNonFinite == nil
        guard isWhole else {
            throw .mismatch(tensor: name, found: "a value too large for \(rawValue)", expected: "another type")
        }
        return result
    }

    /// Blocks of Q8_0: a scale, a 127th of the largest value as fp16, and 32 integers.
    ///
    /// - Source: `Q8_0.quantize_blocks`, gguf-py 0.19.0.
    private static func blocks(of tensor: Tensor) -> Tensor {
        let count = tensor.count / 32
        let scales = Tensor(.f32, [count])
        let result = Tensor(.u8, [count * BlockFormat.q8_0.byteCount])
        let (values, out) = (tensor.pointer(as: Float.self), result.pointer(as: UInt8.self))
        scales.withMutableFloats { scales in
            for block in 0..<count {
                let block32 = values + 32 * block
                var largest: Float = 0
                for index in 0..<32 { largest = max(largest, abs(block32[index])) }
                scales[block] = largest / 127
                let inverse = scales[block] == 0 ? 0 : 1 / scales[block]
                let bytes = out + BlockFormat.q8_0.byteCount * block + 2
                for index in 0..<32 {
                    let q = (block32[index] * inverse).rounded(.toNearestOrAwayFromZero)
                    bytes[index] = UInt8(bitPattern: Int8(max(-127, min(127, q.isNaN ? 0 : q))))
                }
            }
        }
        let halves = scales.converted(to: .f16)
        for block in 0..<count {
            let bits = halves.pointer(as: UInt16.self)[block]
            let bytes = out + BlockFormat.q8_0.byteCount * block
            (bytes[0], bytes[1]) = (UInt8(truncatingIfNeeded: bits), UInt8(bits >> 8))
        }
        return result
    }

    private static func scalesAreFinite(_ blocks: Tensor) -> Bool {
        let bytes = blocks.pointer(as: UInt8.self)
        return stride(from: 1, to: blocks.count, by: BlockFormat.q8_0.byteCount).allSatisfy { bytes[$0] & 0x7c != 0x7c }
    }
}
