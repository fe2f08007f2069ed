import Foundation
import TestSupport
import Testing

@testable import VditTensor

/// Products of 8-bit whole numbers: the golden numbers, and the same bits whatever multiplies.
@Suite struct Int8ProductTests {
    static let kernels = Int8Kernel.all

    static func shape(
        _ inputs: Int, _ outputs: Int, operand: DType = .f32, result: DType = .f32, hasBias: Bool = false,
        activation: Linear.Activation = .none
    ) -> ProductShape {
        ProductShape(
            inputs: inputs, outputs: outputs, operand: operand, result: result, weights: .int8, hasBias: hasBias,
            activation: activation)
    }

    static func whole(_ tensor: Tensor) -> [Int32] {
        tensor.withBytes { bytes in
            (0..<tensor.count).map { i in
                tensor.dtype == .i8
                    ? Int32(Int8(bitPattern: bytes[i])) : bytes.loadUnaligned(fromByteOffset: 4 * i, as: Int32.self)
            }
        }
    }

    static let sizes = ["1x1x1", "3x5x7", "5x31x17", "16x64x48", "37x77x131", "33x256x33", "7x515x19", "3x4096x5"]

    /// Scales, whole numbers, exact sums and outputs, as NumPy has them.
    @Test(arguments: sizes)
    func goldenProductsAreReproduced(size: String) throws {
        let golden = try SafetensorsReader(Golden.path("int8/linear-w8a8.safetensors"))
        func tensor(_ name: String) throws -> Tensor { try golden.tensor("\(size).\(name)").copy() }
        let (x, w, bias) = (try tensor("x"), try tensor("w"), try tensor("bias"))
        let (rows, inputs, outputs) = (x.shape[0], x.shape[1], w.shape[0])
        let (xq, wq) = (try tensor("xq"), try tensor("wq"))
        let scales = try tensor("ws")
        let sums = Self.whole(try tensor("sum")).map(Float.init)
        for kernel in Self.kernels {
            for (matrix, values, expected) in [(x, xq, try tensor("xs")), (w, wq, scales)] {
                let found = kernel.quantised(matrix, Scratch())
                for (a, b) in zip(found.scales.floats(), expected.floats()) { #expect(abs(a - b) <= b.ulp) }
                let apart = zip(Self.whole(found.values), Self.whole(values)).map { abs($0 - $1) }
                #expect(apart.allSatisfy { $0 <= 1 } && apart.count { $0 == 1 } <= apart.count / 500, "\(kernel)")
            }
            // Rows of the given numbers are their own rounding where the largest is 127.
            let given = Tensor(Self.whole(xq).map(Float.init), shape: x.shape)
            let ones = Tensor([Float](repeating: 1, count: outputs))
            let exact = Int8Product(Self.shape(inputs, outputs), wq, scales: ones, nil, kernel)
            let y = Tensor(.f32, [rows, outputs])
            exact.multiply(given, rows: rows, into: y, Scratch())
            #expect(y.floats() == sums, "\(kernel)")

            let layer = Int8Product(Self.shape(inputs, outputs, hasBias: true), wq, scales: scales, bias, kernel)
            layer.multiply(x, rows: rows, into: y, Scratch())
            #expect(try relativeError(y.floats(), tensor("output").floats()) < 2e-6, "\(kernel)")
            #expect(try relativeError(y.floats(), tensor("exact").floats()) < 3.5e-2, "\(kernel)")
        }
    }

    /// Sums that would not fit where two products are added in 16 bits.
    @Test func theLargestSumsAreExact() {
        let (inputs, outputs) = (4096, 40)
        let values = Tensor(.i8, [outputs, inputs])
        let expected = (0..<outputs).map { Float(($0 % 2 == 0 ? 127 : -127) * 127 * inputs) }
        for i in 0..<values.count { values.pointer(as: Int8.self)[i] = i / inputs % 2 == 0 ? 127 : -127 }
        let x = Tensor([Float](repeating: 127, count: inputs), shape: [1, inputs])
        let ones = Tensor([Float](repeating: 1, count: outputs))
        for kernel in Self.kernels {
            let y = Tensor(.f32, [1, outputs])
            Int8Product(Self.shape(inputs, outputs), values, scales: ones, nil, kernel)
                .multiply(x, rows: 1, into: y, Scratch())
            #expect(y.floats() == expected, "\(kernel)")
        }
    }

    @Test(arguments: [1, 5, 17, 256], [(3, 16), (96, 40), (520, 545), (1536, 33)])
    func everyKernelGivesTheSameBits(rows: Int, size: (inputs: Int, outputs: Int)) throws {
        var random = SeededRandom.fresh()
        let (inputs, outputs) = size
        let x = TileProductTests.normal([rows, inputs], &random)
        let weights = StackedWeights(
            parts: [.values(TileProductTests.normal([outputs, inputs], scale: 1 / Float(inputs).squareRoot(), &random))],
            rounding: .int8)
        let bias = TileProductTests.normal([outputs], &random)
        for (activation, result) in [(Linear.Activation.none, DType.f32), (.geluTanh, .bf16), (.silu, .f32)] {
            for operand in [DType.f32, .bf16] {
                let outputs = try Self.kernels.map { kernel in
                    let shape = Self.shape(
                        inputs, outputs, operand: operand, result: result, hasBias: true, activation: activation)
                    let y = Tensor(result, [rows, outputs])
                    y.fill(byte: 0xff)
                    try Int8Product(shape, weights, bias, kernel)
                        .multiply(x.converted(to: operand), rows: rows, into: y, Scratch())
                    return y.floats()
                }
                #expect(outputs.allSatisfy { $0 == outputs[0] }, "\(activation), \(operand), seed \(random.seed)")
                #expect(outputs[0].allSatisfy { $0.isFinite })
            }
        }
    }

    /// The scalar kernel's activations are those of float64.
    @Test func activationsAreWhatTheyAreCalled() throws {
        let inputs = (-60...60).map { Float($0) / 4 }
        let kernel = Int8Kernel(.scalar)
        for activation in [Linear.Activation.silu, .geluTanh] {
            // A bias is all there is of a layer without inputs to speak of.
            let product = Int8Product(
                Self.shape(1, inputs.count, hasBias: true, activation: activation), Tensor(.i8, [inputs.count, 1]),
                scales: Tensor(.f32, [inputs.count]), Tensor(inputs), kernel)
            let y = Tensor(.f32, [1, inputs.count])
            product.multiply(Tensor([0], shape: [1, 1]), rows: 1, into: y, Scratch())
            for (found, right) in zip(y.floats(), inputs.map(activation.value)) {
                #expect(abs(found - right) <= 1e-6 * max(1, abs(right)))
            }
        }
    }

    /// A row's result depends on the row alone: neither its chunk nor its place in it.
    @Test func aRowIsTheSameInAnyChunk() throws {
        var random = SeededRandom.fresh()
        let x = TileProductTests.normal([70, 200], &random)
        let weights = StackedWeights(parts: [.values(TileProductTests.normal([48, 200], &random))], rounding: .int8)
        for kernel in Self.kernels {
            let product = try Int8Product(Self.shape(200, 48), weights, nil, kernel)
            let whole = Tensor(.f32, [70, 48]), part = Tensor(.f32, [9, 48])
            product.multiply(x, rows: 70, into: whole, Scratch())
            product.multiply(x.slice(41..<50), rows: 9, into: part, Scratch())
            #expect(whole.slice(41..<50).floats() == part.floats(), "seed \(random.seed)")
        }
    }

    /// What is not finite is seen in its row and nowhere else; a row of nothing gives the bias.
    @Test func rowsThatCannotBeRounded() throws {
        var random = SeededRandom.fresh()
        let x = TileProductTests.normal([5, 80], &random)
        x.withMutableFloats { values in
            values[80 + 3] = .nan
            values[2 * 80 + 79] = -.infinity
            for i in 0..<80 { values[3 * 80 + i] = i % 2 == 0 ? 0 : 1e-33 }
        }
        let weights = StackedWeights(parts: [.values(TileProductTests.normal([7, 80], &random))], rounding: .int8)
        let bias = TileProductTests.normal([7], &random)
        for kernel in Self.kernels {
            let y = Tensor(.f32, [5, 7])
            try Int8Product(Self.shape(80, 7, hasBias: true), weights, bias, kernel)
                .multiply(x, rows: 5, into: y, Scratch())
            #expect(y[1].floats().allSatisfy { $0.isNaN } && y[2].floats().allSatisfy { $0.isNaN }, "\(kernel)")
            #expect(y[3].floats() == bias.floats(), "\(kernel)")
            #expect(y[0].isFinite && y[4].isFinite, "\(kernel)")
        }
    }

    @Test func moreInputsThanSumsHoldAreNotServed() {
        #expect(Int8Product.serves(Self.shape(Int8Kernel.mostInputs, 8)))
        #expect(!Int8Product.serves(Self.shape(Int8Kernel.mostInputs + 1, 8)))
        #expect(!Int8Product.serves(Self.shape(8, 8, activation: .geluErf)))
    }
}
