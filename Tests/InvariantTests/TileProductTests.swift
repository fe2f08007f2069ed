import Foundation
import TestSupport
import Testing

@testable import VditTensor

/// Products by tiles of our own, emulated where the CPU has none, against sums in float64.
@Suite struct TileProductTests {
    static let kernels = [
        TileKernel.emulated, InstructionSet.amx.isSupported ? TileKernel(.amx) : nil,
    ].compactMap(\.self)

    static func normal(_ shape: [Int], scale: Float = 1, _ random: inout SeededRandom) -> Tensor {
        Tensor((0..<shape.reduce(1, *)).map { _ in random.normal() * scale }, shape: shape)
    }

    @Test(arguments: [1, 17, 64, 256], [(8, 16), (96, 40), (520, 545), (1536, 33)])
    func aLinearLayerIsItsSums(rows: Int, size: (inputs: Int, outputs: Int)) throws {
        var random = SeededRandom.fresh()
        let (inputs, outputs) = size
        let x = Self.normal([rows, inputs], &random).converted(to: .bf16)
        let weights = Self.normal([outputs, inputs], scale: 1 / Float(inputs).squareRoot(), &random)
        let bias = Self.normal([outputs], &random)
        for kernel in Self.kernels {
            for (activation, result) in [(Linear.Activation.none, DType.f32), (.geluTanh, .bf16), (.silu, .f32)] {
                let shape = ProductShape(
                    inputs: inputs, outputs: outputs, operand: .bf16, result: result, weights: .bf16, hasBias: true,
                    activation: activation)
                let row = try #require(ProductRow.tiles("test", kernel, on: .scalar))
                #expect(row.serves(shape, .scalar))
                let product = try row.pack(shape, StackedWeights(parts: [.values(weights)], rounding: .bf16), bias)
                let y = Tensor(result, [rows, outputs])
                y.fill(byte: 0xff)
                try product.multiply(x, rows: rows, into: y, Scratch())
                let (a, w, b) = (x.floats(), weights.converted(to: .bf16).floats(), bias.floats())
                let expected = (0..<rows * outputs).map { i -> Float in
                    let (row, column) = (i / outputs, i % outputs)
                    var sum = Double(b[column])
                    for d in 0..<inputs { sum += Double(a[row * inputs + d]) * Double(w[column * inputs + d]) }
                    return activation.value(Float(sum))
                }
                #expect(
                    relativeError(y.floats(), expected) < (result == .bf16 ? 4e-3 : 1e-5),
                    "\(activation), seed \(random.seed)")
            }
        }
    }

    /// A row's result depends on the row alone: neither its chunk nor its place in it.
    @Test func aRowIsTheSameInAnyChunk() throws {
        var random = SeededRandom.fresh()
        let x = Self.normal([70, 200], &random).converted(to: .bf16)
        let weights = Self.normal([48, 200], &random)
        let shape = ProductShape(
            inputs: 200, outputs: 48, operand: .bf16, result: .f32, weights: .bf16, hasBias: false, activation: .none)
        for kernel in Self.kernels {
            let product = try TileProduct(shape, StackedWeights(parts: [.values(weights)], rounding: .bf16), nil, kernel)
            let whole = Tensor(.f32, [70, 48]), part = Tensor(.f32, [9, 48])
            product.multiply(x, rows: 70, into: whole, Scratch())
            product.multiply(x.slice(41..<50), rows: 9, into: part, Scratch())
            #expect(whole.slice(41..<50).floats() == part.floats(), "seed \(random.seed)")
        }
    }

    @Test(arguments: [(1, 1), (2, 2), (3, 1), (3, 2)])
    func aConvolutionIsThatOfTheLibrary(kernelSize: Int, taps: Int) throws {
        var random = SeededRandom.fresh()
        let (height, width, from, to) = (11, 37, 32, 64)
        let shape = ConvolutionShape(inChannels: from, outChannels: to, kernel: kernelSize)
        let panels = (0..<taps).map { _ in Self.normal([to, from, kernelSize, kernelSize], scale: 0.05, &random) }
        let frames = (0..<taps).map { _ in Self.normal([height, width, from], &random).converted(to: .bf16) }
        let compute = ComputeContext(pool: WorkPool(threads: 2), instructionSet: .scalar, precision: .bf16)
        func run(_ tiles: TileKernel?) throws -> [Float] {
            let weights = try ConvolutionWeights(shape, panels: panels, operand: .bf16, tiles: tiles)
            let tiled = try TiledConvolution(weights, height: height, width: width, compute: compute)
            let out = Tensor(.f32, [height, width, to])
            out.fill(byte: 0xff)
            try tiled.run([
                ConvolutionProgram(
                    inputs: frames.map { .init($0, top: -(kernelSize / 2), left: -(kernelSize / 2)) },
                    products: (0..<taps).map { .init(input: $0, panel: $0) },
                    outputs: [
                        .init(
                            terms: Array(0..<taps), bias: nil,
                            target: FrameTarget(stream: out, operand: nil, preparation: .plain))
                    ])
            ])
            return out.floats()
        }
        let expected = try run(nil)
        for kernel in Self.kernels {
            #expect(relativeError(try run(kernel), expected) < 1e-5, "seed \(random.seed)")
        }
    }
}

extension Linear.Activation {
    func value(_ x: Float) -> Float {
        switch self {
        case .none: x
        case .silu: x / (1 + exp(-x))
        case .geluTanh: 0.5 * x * (1 + tanh(0.7978845608 * (x + 0.044715 * x * x * x)))
        case .geluErf: 0.5 * x * (1 + erf(x * 0.70710678))
        }
    }
}
