import CVditKernels

/// How weights of less than 16 bits lie in a file: blocks of a few elements that share scales.
///
/// All arithmetic is fp32, in the order that the format's own reader has it, so that values are equal bit for bit.
/// - Source: gguf-py 0.19.0 for the types of GGUF; the OCP 8-bit floating point formats as safetensors stores them.
public enum BlockFormat: String, Sendable, CaseIterable {
    case q8_0 = "Q8_0", q4_0 = "Q4_0", q4_1 = "Q4_1", q5_0 = "Q5_0", q5_1 = "Q5_1", iq4NL = "IQ4_NL"
    case q2K = "Q2_K", q3K = "Q3_K", q4K = "Q4_K", q5K = "Q5_K", q6K = "Q6_K", iq4XS = "IQ4_XS"
    case f8E4M3 = "F8_E4M3", f8E5M2 = "F8_E5M2"
    /// Integers, with a scale beside them.
    case i8 = "I8"

    /// Elements of a block: a row is whole blocks.
    public var elementCount: Int {
        switch self {
        case .q8_0, .q4_0, .q4_1, .q5_0, .q5_1, .iq4NL: 32
        case .q2K, .q3K, .q4K, .q5K, .q6K, .iq4XS: 256
        case .f8E4M3, .f8E5M2, .i8: 1
        }
    }

    /// Bytes of a block.
    public var byteCount: Int {
        switch self {
        case .q8_0: 34
        case .q4_0, .iq4NL: 18
        case .q4_1: 20
        case .q5_0: 22
        case .q5_1: 24
        case .q2K: 84
        case .q3K: 110
        case .q4K: 144
        case .q5K: 176
        case .q6K: 210
        case .iq4XS: 136
        case .f8E4M3, .f8E5M2, .i8: 1
        }
    }

    /// Bytes of a row of so many elements, a multiple of a block's.
    public func byteCount(ofRow columns: Int) -> Int { columns / elementCount * byteCount }

    /// Whether it costs a video model so much that a person should hear of it.
    public var isCoarse: Bool { self == .q2K || self == .q3K }

    /// The number that GGUF knows the type by; nil for those of safetensors.
    var ggufNumber: UInt32? {
        switch self {
        case .q4_0: 2
        case .q4_1: 3
        case .q5_0: 6
        case .q5_1: 7
        case .q8_0: 8
        case .q2K: 10
        case .q3K: 11
        case .q4K: 12
        case .q5K: 13
        case .q6K: 14
        case .iq4NL: 20
        case .iq4XS: 23
        case .f8E4M3, .f8E5M2, .i8: nil
        }
    }

    /// Values of whole blocks.
    ///
    /// - Parameters:
    ///   - blocks: `count / elementCount` of them.
    ///   - values: gets `count` values.
    func decode(_ blocks: UnsafeRawPointer, count: Int, into values: UnsafeMutablePointer<Float>) {
        switch self {
        case .q8_0: _ = Self.decodeQ8(blocks, count: count, into: values, as: .f32)
        case .f8E4M3: Self.look(up: blocks, count, Self.e4m3, values)
        case .f8E5M2: Self.look(up: blocks, count, Self.e5m2, values)
        case .i8:
            let bytes = blocks.assumingMemoryBound(to: Int8.self)
            for index in 0..<count { values[index] = Float(bytes[index]) }
        default:
            let decode = blockDecoder
            for block in 0..<count / elementCount {
                decode(
                    blocks.assumingMemoryBound(to: UInt8.self) + block * byteCount, values + block * elementCount)
            }
        }
    }

    /// Every instruction set gives the same values: the one the process runs with, or the plainest.
    private static let set = (try? InstructionSet.chosen()) ?? .scalar

    /// Values of Q8_0 blocks, whose scale is finite where they are.
    ///
    /// - Parameters:
    ///   - values: gets `count` values.
    ///   - dtype: theirs, f32 or bf16.
    /// - Returns: the first value that is not finite.
    static func decodeQ8(
        _ blocks: UnsafeRawPointer, count: Int, into values: UnsafeMutableRawPointer, as dtype: DType,
        on set: InstructionSet = set
    ) -> Int? {
        let type = dtype == .bf16 ? VDIT_BF16 : VDIT_F32
        let wrong = Int(vdit_q8_0_decode_for(set.isa)(blocks, Int64(count / 32), values, type))
        return wrong < count / 32 ? 32 * wrong : nil
    }

    private static func look(
        up codes: UnsafeRawPointer, _ count: Int, _ table: [Float], _ values: UnsafeMutablePointer<Float>
    ) {
        let codes = codes.assumingMemoryBound(to: UInt8.self)
        table.withUnsafeBufferPointer { table in
            for index in 0..<count { values[index] = table[Int(codes[index])] }
        }
    }

    /// Values of the 256 codes: sign, four bits of exponent, three of fraction; no infinity, all bits set is NaN.
    static let e4m3 = eightBitFloats(exponentBits: 4) { $0 & 0x7f == 0x7f ? .nan : nil }
    /// The upper byte of an fp16.
    static let e5m2 = eightBitFloats(exponentBits: 5) { code in
        code & 0x7c != 0x7c ? nil : code & 3 != 0 ? .nan : code < 128 ? .infinity : -.infinity
    }

    private static func eightBitFloats(exponentBits: Int, special: (Int) -> Float?) -> [Float] {
        let fractionBits = 7 - exponentBits
        let (ones, bias) = (1 << fractionBits, (1 << (exponentBits - 1)) - 1)
        return (0..<256).map { code in
            if let value = special(code) { return value }
            let (exponent, fraction) = ((code & 0x7f) >> fractionBits, Float(code & (ones - 1)) / Float(ones))
            let size = exponent == 0
                ? Float(sign: .plus, exponent: 1 - bias, significand: 1) * fraction
                : Float(sign: .plus, exponent: exponent - bias, significand: 1) * (1 + fraction)
            return code < 128 ? size : -size
        }
    }
}

/// An IEEE half.
func half(_ bits: UInt16) -> Float {
    let sign = UInt32(bits & 0x8000) << 16
    let (exponent, fraction) = (UInt32(bits >> 10 & 31), UInt32(bits & 0x3ff))
    switch exponent {
    case 0:
        let size = Float(fraction) * 0x1p-24
        return sign == 0 ? size : -size
    case 31: return Float(bitPattern: sign | 0x7f80_0000 | fraction << 13)
    default: return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
    }
}
