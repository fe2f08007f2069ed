/// What a weight may be written as, or kept as in memory.
public enum StoredType: String, Sendable, CaseIterable {
    case f32, f16, bf16
    case q8_0, q5_0, q4_0

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
        case .q8_0, .q5_0, .q4_0: nil
        }
    }

    /// Of its blocks; nil for the others.
    public var format: BlockFormat? {
        switch self {
        case .q8_0: .q8_0
        case .q5_0: .q5_0
        case .q4_0: .q4_0
        case .f32, .f16, .bf16: nil
        }
    }

    /// Whether rows of a tensor are whole blocks.
    public func fits(_ shape: [Int]) -> Bool { (shape.last ?? 1) % (format?.elementCount ?? 1) == 0 }

    /// Whether a tensor of a transformer's block is made blocks of: vectors and small tables stay as they are.
    public func suits(_ name: String, _ shape: [Int]) -> Bool {
        name.hasSuffix(".weight") && shape.count > 1 && shape.reduce(1, *) > 1024 && fits(shape)
    }

    /// - Parameter shape: one that fits.
    public func byteCount(_ shape: [Int]) -> Int {
        let count = shape.reduce(1, *)
        return dtype.map { count * $0.byteCount } ?? format?.byteCount(ofRow: count) ?? 0
    }

    /// What GGUF knows it by.
    var ggufNumber: UInt32 {
        switch self {
        case .f32: 0
        case .f16: 1
        case .bf16: 30
        case .q8_0, .q5_0, .q4_0: format?.ggufNumber ?? 0
        }
    }

    /// What GGUF knows files by that have most of their weights in it.
    var ggufFileType: UInt32 {
        switch self {
        case .f32: 0
        case .f16: 1
        case .q4_0: 2
        case .q8_0: 7
        case .q5_0: 8
        case .bf16: 32
        }
    }

    /// A tensor in this type, rounded once: of the type, or blocks as `[bytes]` u8.
    ///
    /// - Throws: `TensorError.mismatch` naming the tensor for a value the type cannot hold.
    public func stored(_ tensor: Tensor, name: String) throws(TensorError) -> Tensor {
        let (result, isWhole): (Tensor, Bool)
        if let dtype {
            if tensor.dtype == dtype { return tensor }
            result = tensor.converted(to: dtype)
            isWhole = result.firstNonFinite == nil
        } else {
            (result, isWhole) = blocks(of: tensor.dtype == .f32 ? tensor : tensor.converted(to: .f32))
        }
        guard isWhole else {
            throw .mismatch(tensor: name, found: "a value too large for \(rawValue)", expected: "another type")
        }
        return result
    }

    /// Blocks of 32 values: a scale as fp16, and whole numbers. The scale makes the largest value a 127th of itself
    /// (Q8_0), or, with its sign, the least whole number there is (Q5_0, Q4_0).
    ///
    /// - Returns: `[bytes]` u8, and whether all scales are finite.
    /// - Source: `quantize_blocks` of each type, gguf-py 0.19.0.
    private func blocks(of tensor: Tensor) -> (Tensor, Bool) {
        let (count, size) = (tensor.count / 32, byteCount([32]))
        let scales = Tensor(.f32, [count])
        let result = Tensor(.u8, [count * size])
        let (values, out) = (tensor.pointer(as: Float.self), result.pointer(as: UInt8.self))
        scales.withMutableFloats { scales in
            for block in 0..<count {
                let (values, bytes) = (values + 32 * block, out + size * block)
                let scale = self == .q8_0 ? Self.largest(values) / 127 : Self.largest(values, signed: true) / -half
                let inverse = scale == 0 ? 0 : 1 / scale
                scales[block] = scale
                switch self {
                case .q8_0: Self.encodeQ8(values, inverse, bytes + 2)
                default: encodeNibbles(values, inverse, bytes + 2)
                }
            }
        }
        let halves = scales.converted(to: .f16)
        for block in 0..<count {
            let bits = halves.pointer(as: UInt16.self)[block]
            (out[size * block], out[size * block + 1]) = (UInt8(truncatingIfNeeded: bits), UInt8(bits >> 8))
        }
        return (result, halves.firstNonFinite == nil)
    }

    /// Of Q5_0 and Q4_0: half of the whole numbers there are.
    private var half: Float { self == .q5_0 ? 16 : 8 }

    /// Of 32 values, the one of the largest size.
    private static func largest(_ values: UnsafePointer<Float>, signed: Bool = false) -> Float {
        var largest: Float = 0
        for index in 0..<32 { largest = max(largest, abs(values[index])) }
        guard signed, let first = (0..<32).first(where: { abs(values[$0]) == largest }) else { return largest }
        return values[first]
    }

    private static func encodeQ8(_ values: UnsafePointer<Float>, _ inverse: Float, _ out: UnsafeMutablePointer<UInt8>) {
        for index in 0..<32 {
            let q = (values[index] * inverse).rounded(.toNearestOrAwayFromZero)
            out[index] = UInt8(bitPattern: Int8(max(-127, min(127, q.isNaN ? 0 : q))))
        }
    }

    /// Fifth bits of all, where there are any, then four bits of each.
    private func encodeNibbles(
        _ values: UnsafePointer<Float>, _ inverse: Float, _ out: UnsafeMutablePointer<UInt8>
    ) {
        func whole(_ value: Float) -> UInt32 {
            let q = Double(value) * Double(inverse) + Double(half) + 0.5
            return q.isNaN ? 0 : UInt32(max(0, min(2 * Double(half) - 1, q)))
        }
        var fifths: UInt32 = 0
        let nibbles = out + (self == .q5_0 ? 4 : 0)
        for index in 0..<16 {
            let (low, high) = (whole(values[index]), whole(values[16 + index]))
            nibbles[index] = UInt8(low & 15 | (high & 15) << 4)
            fifths |= (low >> 4) << UInt32(index) | (high >> 4) << UInt32(16 + index)
        }
        if self == .q5_0 { for byte in 0..<4 { out[byte] = UInt8(truncatingIfNeeded: fifths >> UInt32(8 * byte)) } }
    }
}
