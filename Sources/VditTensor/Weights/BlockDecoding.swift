/// The types of GGUF, a block at a time. Bytes are in the order of the file.
extension BlockFormat {
    typealias Bytes = UnsafePointer<UInt8>
    typealias Values = UnsafeMutablePointer<Float>

    var blockDecoder: (Bytes, Values) -> Void {
        switch self {
        case .q4_0: { Self.nibbles($0 + 2, Self.scale($0), 8, $1) }
        case .q4_1: Self.decodeQ4WithLeast
        case .q5_0: Self.decodeQ5
        case .q5_1: Self.decodeQ5WithLeast
        case .iq4NL: { Self.lookUp($0 + 2, Self.scale($0), $1) }
        case .q2K: Self.decodeQ2K
        case .q3K: Self.decodeQ3K
        case .q4K: { Self.decodeQ4K($0, high: nil, $0 + 16, $1) }
        case .q5K: { Self.decodeQ4K($0, high: $0 + 16, $0 + 48, $1) }
        case .q6K: Self.decodeQ6K
        case .iq4XS: Self.decodeIQ4XS
        case .q8_0, .f8E4M3, .f8E5M2, .i8: { _, _ in preconditionFailure("decoded all at once") }
        }
    }

    /// An fp16 at a place of a block.
    private static func scale(_ bytes: Bytes) -> Float { half(UInt16(bytes[0]) | UInt16(bytes[1]) << 8) }

    /// `d·(q − zero)`: element i < 16 is the low nibble of byte i, the others the high nibbles.
    private static func nibbles(_ bytes: Bytes, _ d: Float, _ zero: Int32, _ values: Values) {
        for index in 0..<16 {
            values[index] = d * Float(Int32(bytes[index] & 15) - zero)
            values[16 + index] = d * Float(Int32(bytes[index] >> 4) - zero)
        }
    }

    private static func decodeQ4WithLeast(_ block: Bytes, _ values: Values) {
        let (d, least) = (scale(block), scale(block + 2))
        for index in 0..<16 {
            values[index] = d * Float(block[4 + index] & 15) + least
            values[16 + index] = d * Float(block[4 + index] >> 4) + least
        }
    }

    /// The fifth bits of 32 elements.
    private static func fifthBits(_ bytes: Bytes) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[$1]) << UInt32(8 * $1) }
    }

    private static func decodeQ5(_ block: Bytes, _ values: Values) {
        let (d, high) = (scale(block), fifthBits(block + 2))
        for index in 0..<16 {
            let (low, up) = (high >> UInt32(index) & 1, high >> UInt32(16 + index) & 1)
            values[index] = d * Float(Int32(block[6 + index] & 15) + Int32(low << 4) - 16)
            values[16 + index] = d * Float(Int32(block[6 + index] >> 4) + Int32(up << 4) - 16)
        }
    }

    private static func decodeQ5WithLeast(_ block: Bytes, _ values: Values) {
        let (d, least, high) = (scale(block), scale(block + 2), fifthBits(block + 4))
        for index in 0..<16 {
            let (low, up) = (high >> UInt32(index) & 1, high >> UInt32(16 + index) & 1)
            values[index] = d * Float(UInt32(block[8 + index] & 15) + low << 4) + least
            values[16 + index] = d * Float(UInt32(block[8 + index] >> 4) + up << 4) + least
        }
    }

    private static let unevenSteps: [Float] = [
        -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
    ]

    private static func lookUp(_ bytes: Bytes, _ d: Float, _ values: Values) {
        unevenSteps.withUnsafeBufferPointer { steps in
            for index in 0..<16 {
                values[index] = d * steps[Int(bytes[index] & 15)]
                values[16 + index] = d * steps[Int(bytes[index] >> 4)]
            }
        }
    }

    private static func decodeIQ4XS(_ block: Bytes, _ values: Values) {
        let d = scale(block)
        let high = UInt16(block[2]) | UInt16(block[3]) << 8
        for group in 0..<8 {
            let low = block[4 + group / 2] >> (group % 2 == 0 ? 0 : 4) & 15
            let s = Int32(low) | Int32(high >> UInt16(2 * group) & 3) << 4
            lookUp(block + 8 + 16 * group, d * Float(s - 32), values + 32 * group)
        }
    }

    private static func decodeQ2K(_ block: Bytes, _ values: Values) {
        let (d, least) = (scale(block + 80), scale(block + 82))
        for group in 0..<16 {
            let (step, below) = (d * Float(block[group] & 15), least * Float(block[group] >> 4))
            let (half, shift) = (group / 8, UInt8(2 * (group % 8 / 2)))
            let bytes = block + 16 + 32 * half + 16 * (group % 2)
            for index in 0..<16 { values[16 * group + index] = step * Float(bytes[index] >> shift & 3) - below }
        }
    }

    private static func decodeQ3K(_ block: Bytes, _ values: Values) {
        let (scales, d) = (block + 96, scale(block + 108))
        for group in 0..<16 {
            let low = scales[group % 8] >> (group < 8 ? 0 : 4) & 15
            let high = scales[8 + group % 4] >> UInt8(2 * (group / 4)) & 3
            let step = d * Float(Int32(low | high << 4) - 32)
            let (half, shift, bit) = (group / 8, UInt8(2 * (group % 8 / 2)), UInt8(group / 2))
            let (bytes, mask) = (block + 32 + 32 * half + 16 * (group % 2), block + 16 * (group % 2))
            for index in 0..<16 {
                let q = Int32(bytes[index] >> shift & 3) - (mask[index] >> bit & 1 == 0 ? 4 : 0)
                values[16 * group + index] = step * Float(q)
            }
        }
    }

    /// Q4_K, and with a fifth bit of every element Q5_K.
    private static func decodeQ4K(_ block: Bytes, high: Bytes?, _ nibbles: Bytes, _ values: Values) {
        let (d, least, scales) = (scale(block), scale(block + 2), block + 4)
        for group in 0..<8 {
            let s, m: UInt8
            if group < 4 {
                (s, m) = (scales[group] & 63, scales[group + 4] & 63)
            } else {
                s = scales[group + 4] & 15 | (scales[group - 4] >> 6) << 4
                m = scales[group + 4] >> 4 | (scales[group] >> 6) << 4
            }
            let (step, below) = (d * Float(s), least * Float(m))
            let (bytes, shift, out) = (nibbles + 32 * (group / 2), UInt8(4 * (group % 2)), values + 32 * group)
            if let high {
                for index in 0..<32 {
                    let q = bytes[index] >> shift & 15 | (high[index] >> UInt8(group) & 1) << 4
                    out[index] = step * Float(q) - below
                }
            } else {
                for index in 0..<32 { out[index] = step * Float(bytes[index] >> shift & 15) - below }
            }
        }
    }

    private static func decodeQ6K(_ block: Bytes, _ values: Values) {
        let d = scale(block + 208)
        for group in 0..<16 {
            let step = d * Float(Int8(bitPattern: block[192 + group]))
            let (half, quarter) = (group / 8, group % 8 / 2)
            let low = block + 64 * half + 32 * (quarter % 2) + 16 * (group % 2)
            let high = block + 128 + 32 * half + 16 * (group % 2)
            let (shift, highShift) = (UInt8(quarter < 2 ? 0 : 4), UInt8(2 * quarter))
            for index in 0..<16 {
                let q = Int32(low[index] >> shift & 15) | Int32(high[index] >> highShift & 3) << 4
                values[16 * group + index] = step * Float(q - 32)
            }
        }
    }
}
