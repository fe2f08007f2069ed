import TestSupport
import Testing

@testable import VditTensor

/// Weights packed some rows at a time are those packed at once, whatever they are decoded from.
@Suite struct WeightPackingTests {
    /// Blocks of Q8_0 whose scales are given, as `[rows, columns]`.
    private static func blocks(_ rows: Int, _ columns: Int, scales: [UInt16], _ random: inout SeededRandom)
        -> EncodedTensor
    {
        let bytes = Tensor(.u8, [rows * columns / 32 * 34])
        let out = bytes.pointer(as: UInt8.self)
        for block in 0..<rows * columns / 32 {
            let scale = scales[block % scales.count]
            (out[34 * block], out[34 * block + 1]) = (UInt8(scale & 255), UInt8(scale >> 8))
            for index in 2..<34 { out[34 * block + index] = UInt8(truncatingIfNeeded: random.next()) }
        }
        return EncodedTensor(
            format: .q8_0, shape: [rows, columns], bytes: bytes, scales: nil, rotation: nil, name: "w", path: "a file")
    }

    /// What a block's numbers stand for, by the arithmetic of the format's own reader.
    private static func values(_ encoded: EncodedTensor) -> [Float] {
        let bytes = encoded.bytes.pointer(as: UInt8.self)
        return (0..<encoded.shape.reduce(1, *)).map { index in
            let block = bytes + index / 32 * 34
            return half(UInt16(block[0]) | UInt16(block[1]) << 8) * Float(Int8(bitPattern: block[2 + index % 32]))
        }
    }

    @Test(arguments: InstructionSet.supported)
    func everySetDecodesEveryScaleToTheSameBits(_ set: InstructionSet) {
        var random = SeededRandom.fresh()
        let scales = (0...UInt16.max).filter { $0 & 0x7c00 != 0x7c00 }
        let encoded = Self.blocks(scales.count, 32, scales: scales, &random)
        let expected = Tensor(Self.values(encoded))
        for dtype in [DType.f32, .bf16] {
            let found = Tensor(dtype, [expected.count])
            let wrong = BlockFormat.decodeQ8(
                encoded.bytes.rawPointer, count: found.count, into: found.rawPointer, as: dtype, on: set)
            let rounded = expected.converted(to: dtype)
            #expect(wrong == nil)
            let isSame = found.withBytes(Array.init) == rounded.withBytes(Array.init)
            #expect(isSame, "\(dtype), seed \(random.seed)")
        }
    }

    @Test(arguments: InstructionSet.supported, [UInt16(0x7c00), 0xfc00, 0x7e01])
    func aScaleThatIsNoNumberIsFound(_ set: InstructionSet, _ scale: UInt16) throws {
        var random = SeededRandom.fresh()
        for place in [0, 3, 11] {
            var scales = [UInt16](repeating: 0x3c00, count: 12)
            scales[place] = scale
            scales[11] = scale
            let encoded = Self.blocks(4, 96, scales: scales, &random)
            let found = Tensor(.bf16, [4, 96])
            let wrong = BlockFormat.decodeQ8(
                encoded.bytes.rawPointer, count: found.count, into: found.rawPointer, as: .bf16, on: set)
            #expect(wrong == 32 * place)
            // It is named by its place in the tensor, from whichever row reading begins.
            for dtype in [DType.f32, .bf16, .f16] {
                let error = #expect(throws: TensorError.self) {
                    try StoredWeight.blocks(encoded).read(place / 3..<4, into: Tensor(dtype, [4 - place / 3, 96]), Scratch())
                }
                #expect("\(try #require(error))".contains("element \(32 * place)"))
            }
        }
    }

    /// Parts that end inside a step, weights that begin inside one, and one that is blocks.
    @Test(arguments: [Precision.fp32, .bf16], [1, 32, 64, 1000])
    func rowsComeOnceAndInOrder(_ rounding: Precision, _ step: Int) throws {
        var random = SeededRandom.fresh()
        let inputs = 4096
        let plain = TileProductTests.normal([37, inputs], &random)
        let half = TileProductTests.normal([5, inputs], &random).converted(to: .f16)
        let encoded = Self.blocks(41, inputs, scales: [0x1234, 0x8001, 0x2abc], &random)
        let weights = StackedWeights(
            parts: [.values(plain), .blocks(encoded), .values(half)], rounding: rounding)
        let all = plain.floats() + Self.values(encoded) + half.floats()
        let expected = rounding == .bf16 ? Tensor(all).converted(to: .bf16).floats() : all
        let shape = ProductShape(
            inputs: inputs, outputs: 83, operand: .f32, result: .f32, weights: .f32, hasBias: false, activation: .none)
        for dtype in rounding == .bf16 ? [DType.f32, .bf16] : [.f32] {
            var found: [Float] = []
            try weights.forEachPart(shape, as: dtype, step: step) { first, rows, _ in
                #expect(first * inputs == found.count && first % step == 0 && rows.dtype == dtype)
                found += rows.floats()
            }
            #expect(found == expected, "\(dtype), seed \(random.seed)")
        }
    }

    /// Bytes in their places, scales behind them, then 128 times the sums; parts end inside groups of columns.
    @Test(arguments: [(96, 1536), (50, 1537), (33, 77), (17, 15), (31, 250)], [13, 16, 32])
    func wholeNumbersArePackedWhereProductsLookForThem(size: (outputs: Int, inputs: Int), step: Int) {
        var random = SeededRandom.fresh()
        let (outputs, inputs) = size
        let numbers = (0..<outputs * inputs).map { _ in
            random.next() % 3 == 0 ? Int8.min : Int8(truncatingIfNeeded: random.next())
        }
        let packed = Int8Kernel.unpacked(outputs: outputs, inputs: inputs)
        for first in stride(from: 0, to: outputs, by: step) {
            let rows = first..<min(outputs, first + step)
            let values = Tensor(.i8, [rows.count, inputs])
            for (index, number) in numbers[rows.lowerBound * inputs..<rows.upperBound * inputs].enumerated() {
                values.pointer(as: Int8.self)[index] = number
            }
            Int8Kernel.pack(values, scales: Tensor(rows.map(Float.init)), at: first, of: outputs, into: packed)
        }
        let (pairs, steps) = ((outputs + 31) / 32, (inputs + 63) / 64)
        var expected = [Int8](repeating: 0, count: pairs * steps * 2048)
        for output in 0..<outputs {
            for input in 0..<inputs {
                let tile = 2 * (output / 32 * steps + input / 64) + output % 32 / 16
                let place = 1024 * tile + input % 64 / 4 * 64 + output % 16 * 4 + input % 4
                expected[place] = numbers[output * inputs + input]
            }
        }
        let found = packed.pointer(as: UInt8.self)
        #expect(expected.indices.allSatisfy { Int8(bitPattern: found[$0]) == expected[$0] }, "seed \(random.seed)")
        let behind = packed.rawPointer + expected.count
        for output in 0..<outputs {
            let sum = numbers[output * inputs..<(output + 1) * inputs].reduce(0) { $0 + Int32($1) }
            #expect(behind.load(fromByteOffset: 4 * output, as: Float.self) == Float(output))
            #expect(behind.load(fromByteOffset: 4 * (32 * pairs + output), as: Int32.self) == 128 * sum)
        }
    }

    /// Where the system has large pages, those that fit into a matrix are used.
    @Test func whatHoldsALargePageBeginsAtOne() {
        let largePage = 2 << 20
        let tensors = [largePage, largePage + 1, largePage + 4097, 7_077_888].map { Tensor(.u8, [$0]) }
        for tensor in tensors {
            #expect(Int(bitPattern: tensor.rawPointer) % largePage == 0)
            #expect(tensor.withBytes { $0.allSatisfy { $0 == 0 } })
        }
    }

    static let sizes = [(1, 3), (48, 100), (64, 64), (65, 77), (130, 8), (200, 50), (1000, 136)]

    private static let types = [DType.f32] + (InstructionSet.avx512bf16.isSupported ? [.bf16] : [])

    @Test(arguments: sizes, types)
    func theLibraryPacksPartsAsItPacksAll(size: (outputs: Int, inputs: Int), dtype: DType) throws {
        var random = SeededRandom.fresh()
        let matrix = TileProductTests.normal([size.outputs, size.inputs], &random).converted(to: dtype)
        let product = try MatrixProduct(rows: 256, inputs: size.inputs, outputs: size.outputs, operand: dtype)
        let (whole, parts) = (Tensor(.u8, [product.packedBytes]), Tensor(.u8, [product.packedBytes]))
        try product.pack(matrix, into: whole)
        for step in [product.packingStep, 2 * product.packingStep] {
            parts.fill(byte: 0xff)
            for first in stride(from: 0, to: size.outputs, by: step).reversed() {
                try product.pack(matrix.slice(first..<min(first + step, size.outputs)), at: first, into: parts)
            }
            let isSame = parts.withBytes(Array.init) == whole.withBytes(Array.init)
            #expect(isSame, "seed \(random.seed)")
        }
    }

    @Test(arguments: sizes, [1, 16, 37, 64])
    func tilesOfPartsAreThoseOfAll(size: (outputs: Int, inputs: Int), step: Int) throws {
        var random = SeededRandom.fresh()
        let (outputs, inputs) = size
        let matrix = TileProductTests.normal([outputs, inputs], &random)
        for kernel in TileProductTests.kernels {
            let halves = matrix.converted(to: .bf16)
            let (whole, parts) = (kernel.packed(halves), kernel.unpacked(columns: outputs, depth: inputs))
            for first in stride(from: 0, to: outputs, by: step) {
                kernel.pack(halves.slice(first..<min(first + step, outputs)), at: first, into: parts)
            }
            let isSame = parts.withBytes(Array.init) == whole.withBytes(Array.init)
            #expect(isSame, "\(kernel), seed \(random.seed)")
            // Tile (pair, step, side), then pairs of the depth, columns, and the two of a pair.
            let (steps, words) = ((inputs + 31) / 32, whole.storage.base.assumingMemoryBound(to: UInt16.self))
            let misplaced = (0..<outputs * inputs).first { index in
                let (column, d) = (index / inputs, index % inputs)
                let tile = column / 32 * steps * 2 + d / 32 * 2 + column % 32 / 16
                let place = 512 * tile + d % 32 / 2 * 32 + column % 16 * 2 + d % 2
                return words[place] != halves.pointer(as: UInt16.self)[index]
            }
            #expect(misplaced == nil, "seed \(random.seed)")
        }
        let (values, scales) = Int8Kernel(.scalar).quantised(matrix, Scratch())
        let (whole, parts) = (
            Int8Kernel.unpacked(outputs: outputs, inputs: inputs), Int8Kernel.unpacked(outputs: outputs, inputs: inputs)
        )
        Int8Kernel.pack(values, scales: scales, at: 0, of: outputs, into: whole)
        for first in stride(from: 0, to: outputs, by: step) {
            let rows = first..<min(first + step, outputs)
            Int8Kernel.pack(values.slice(rows), scales: scales.slice(rows), at: first, of: outputs, into: parts)
        }
        let isSame = parts.withBytes(Array.init) == whole.withBytes(Array.init)
        #expect(isSame, "seed \(random.seed)")
    }
}
