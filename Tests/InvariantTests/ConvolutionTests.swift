import TestSupport
import Testing

@testable import VditTensor

/// Convolutions over tiles against sums over their taps in float64.
@Suite struct ConvolutionTests {
    /// Even and odd widths, one column, several tiles across; channels with and without the fast algorithm.
    @Test(
        arguments: InstructionSet.supported,
        [(5, 37, 32, 40), (3, 1, 32, 32), (9, 140, 48, 64), (1, 2, 64, 33), (7, 11, 24, 32), (4, 6, 32, 3)])
    func aConvolutionIsTheSumOfItsTaps(
        _ set: InstructionSet, size: (height: Int, width: Int, from: Int, to: Int)
    ) throws {
        var random = SeededRandom.fresh()
        let (height, width, from, to) = size
        let panel = TileProductTests.normal([to, from, 3, 3], scale: 0.1, &random)
        let frames = (0..<2).map { _ in TileProductTests.normal([height, width, from], &random) }
        let bias = TileProductTests.normal([to], &random)
        let residual = TileProductTests.normal([height, width, to], &random)
        for edge in [ConvolutionShape.Edge.zeros, .replicated] {
            for (operand, tolerance) in [(DType.f32, 2e-6), (.bf16, 8e-3)] {
                let compute = ComputeContext(
                    pool: WorkPool(threads: 2), instructionSet: set, precision: operand == .f32 ? .fp32 : .bf16)
                let shape = ConvolutionShape(inChannels: from, outChannels: to, kernel: 3, edge: edge)
                let weights = try ConvolutionWeights(shape, panels: [panel], operand: operand, on: set)
                let tiled = try TiledConvolution(weights, height: height, width: width, compute: compute)
                let out = Tensor(.f32, [height, width, to])
                out.fill(byte: 0xff)
                let inputs = frames.map { $0.converted(to: operand) }
                try tiled.run([
                    ConvolutionProgram(
                        inputs: [.init(inputs[0], plus: inputs[1], sign: -1, top: -1, left: -1)],
                        products: [.init(input: 0, panel: 0)],
                        outputs: [
                            .init(
                                terms: [0], bias: bias, addend: .frame(residual),
                                target: FrameTarget(stream: out, operand: nil, preparation: .plain))
                        ])
                ])
                let expected = Self.sums(inputs.map { $0.floats() }, panel, bias, residual, edge, size)
                #expect(relativeError(out.floats(), expected) < tolerance, "\(edge) \(operand) seed \(random.seed)")
            }
        }
    }

    private static func sums(
        _ frames: [[Float]], _ panel: Tensor, _ bias: Tensor, _ residual: Tensor, _ edge: ConvolutionShape.Edge,
        _ size: (height: Int, width: Int, from: Int, to: Int)
    ) -> [Float] {
        let (taps, bias, residual) = (panel.floats(), bias.floats(), residual.floats())
        func place(_ at: Int, _ extent: Int) -> Int? {
            if (0..<extent).contains(at) { return at }
            return edge == .replicated ? min(max(at, 0), extent - 1) : nil
        }
        var result: [Float] = []
        for y in 0..<size.height {
            for x in 0..<size.width {
                for channel in 0..<size.to {
                    var sum = Double(bias[channel]) + Double(residual[result.count])
                    for tap in 0..<9 {
                        guard let row = place(y + tap / 3 - 1, size.height) else { continue }
                        guard let column = place(x + tap % 3 - 1, size.width) else { continue }
                        for c in 0..<size.from {
                            let at = (row * size.width + column) * size.from + c
                            sum += (Double(frames[0][at]) - Double(frames[1][at]))
                                * Double(taps[(channel * size.from + c) * 9 + tap])
                        }
                    }
                    result.append(Float(sum))
                }
            }
        }
        return result
    }
}
