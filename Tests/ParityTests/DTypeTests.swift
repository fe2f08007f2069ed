import Testing
import VDiT

/// Conversions between floating-point types, over every value a 16-bit type has.
@Suite struct DTypeTests {
    struct Format: Sendable, CustomTestStringConvertible {
        let dtype: DType
        let exponentBits: Int
        let mantissaBits: Int
        var testDescription: String { dtype.rawValue }

        /// The value by the definition of the format, in double, which holds all of them exactly.
        func value(_ bits: UInt16) -> Double {
            let exponent = Int(bits >> mantissaBits) & (1 << exponentBits - 1)
            let mantissa = Int(bits) & (1 << mantissaBits - 1)
            let bias = 1 << (exponentBits - 1) - 1
            let magnitude: Double
            if exponent == 1 << exponentBits - 1 {
                magnitude = mantissa == 0 ? .infinity : .nan
            } else if exponent == 0 {
                magnitude = Double(sign: .plus, exponent: 1 - bias - mantissaBits, significand: Double(mantissa))
            } else {
                magnitude = Double(
                    sign: .plus, exponent: exponent - bias - mantissaBits,
                    significand: Double(mantissa + 1 << mantissaBits))
            }
            return bits & 0x8000 == 0 ? magnitude : -magnitude
        }
    }

    static let formats = [
        Format(dtype: .bf16, exponentBits: 8, mantissaBits: 7),
        Format(dtype: .f16, exponentBits: 5, mantissaBits: 10),
    ]

    func tensor(_ bits: [UInt16], _ dtype: DType) -> Tensor {
        let tensor = Tensor(dtype, [bits.count])
        for (index, value) in bits.enumerated() { tensor.pointer(as: UInt16.self)[index] = value }
        return tensor
    }

    func bits(_ tensor: Tensor) -> [UInt16] { tensor.withBytes { Array($0.bindMemory(to: UInt16.self)) } }

    @Test(arguments: formats)
    func wideningIsExactForAllValues(format: Format) {
        let all = (0...UInt16.max).map { $0 }
        let source = tensor(all, format.dtype)
        let floats = source.converted(to: .f32).floats()
        let doubles = source.converted(to: .f64).withBytes { Array($0.bindMemory(to: Double.self)) }
        for (index, bits) in all.enumerated() {
            let expected = format.value(bits)
            if expected.isNaN {
                #expect(floats[index].isNaN && doubles[index].isNaN)
            } else if Double(floats[index]) != expected || doubles[index] != expected
                || floats[index].sign != expected.sign || doubles[index].sign != expected.sign
            {
                Issue.record("\(format.dtype) bits \(bits): \(floats[index]), expected \(expected)")
            }
        }
    }

    @Test(arguments: formats, [DType.f32, .f64])
    func narrowingWhatWasWidenedGivesTheSameBits(format: Format, wide: DType) {
        let all = (0...UInt16.max).map { $0 }
        let back = bits(tensor(all, format.dtype).converted(to: wide).converted(to: format.dtype))
        for (index, bits) in all.enumerated() {
            if format.value(bits).isNaN {
                #expect(format.value(back[index]).isNaN)
            } else if back[index] != bits {
                Issue.record("\(format.dtype) bits \(bits) became \(back[index])")
            }
        }
    }

    /// Between each pair of neighbours: just below the middle, the middle (a tie, to the even one), just above.
    @Test(arguments: formats, [Float(1), -1])
    func narrowingRoundsToNearestEven(format: Format, sign: Float) {
        let infinity = UInt16(1 << format.exponentBits - 1) << format.mantissaBits
        let largest = infinity - 1
        var values: [Float] = []
        var expected: [UInt16] = []
        let signBit: UInt16 = sign < 0 ? 0x8000 : 0
        for low in 0...largest {
            // Past the largest, the next step stands for infinity.
            let below = format.value(low)
            let above = low < largest ? format.value(low + 1) : below + (below - format.value(low - 1))
            let middle = Float((below + above) / 2)
            let even = low & 1 == 0 ? low : low + 1
            for (value, bits) in [(middle.nextDown, low), (middle, even), (middle.nextUp, low + 1)] {
                values.append(sign * value)
                expected.append(bits | signBit)
            }
        }
        let found = bits(Tensor(values).converted(to: format.dtype))
        for index in values.indices where found[index] != expected[index] {
            Issue.record("\(format.dtype): \(values[index]) became \(found[index]), expected \(expected[index])")
        }
    }

    @Test(arguments: formats)
    func narrowingKeepsWhatIsNotANumber(format: Format) {
        let patterns: [UInt32] = [0x7f80_0001, 0x7fc0_0000, 0x7fff_ffff, 0xff80_0001, 0xffff_ffff]
        let source = Tensor(patterns.map { Float(bitPattern: $0) })
        #expect(bits(source.converted(to: format.dtype)).allSatisfy { format.value($0).isNaN })
        let infinite = bits(Tensor([Float.infinity, -.infinity, 3.4e38, -3.4e38]).converted(to: .f16))
        #expect(infinite == [0x7c00, 0xfc00, 0x7c00, 0xfc00])
    }

    @Test func theTwoSixteenBitTypesConvertByWayOfFloat() {
        let all = (0...UInt16.max).map { $0 }
        for (from, to) in [(DType.bf16, DType.f16), (.f16, .bf16)] {
            let source = tensor(all, from)
            let direct = bits(source.converted(to: to))
            let staged = bits(source.converted(to: .f32).converted(to: to))
            #expect(direct == staged)
        }
    }
}
