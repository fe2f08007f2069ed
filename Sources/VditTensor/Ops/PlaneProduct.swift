import CVditKernels

/// What multiplies a tile of pixels by a convolution's panel.
protocol PlaneProduct: Sendable {
    /// Pixels from a row of the products to the next: the plane's width at least.
    var pitch: Int { get }
    /// Elements of a plane's input and of its products, with what is read or written beyond them.
    var inputCount: Int { get }
    var productCount: Int { get }
    var scratchBytes: Int { get }

    /// - Parameters:
    ///   - input: the plane with its edges, `[rows, columns, inChannels]` of the operand type, dense.
    ///   - panel: packed as the weights are.
    ///   - products: `[rows, pitch, outChannels]` f32.
    func run(
        _ input: UnsafeRawPointer, _ panel: UnsafeRawPointer, into products: UnsafeMutablePointer<Float>,
        _ workspace: Tensor
    ) throws(TensorError)
}

/// A convolution of bf16 pixels by tiles: the product of the pixels around each and the panel. Rows of the input
/// follow each other in memory, so that those of the products do too, with the edges between them computed and unused.
final class TilePlaneProduct: PlaneProduct {
    private let kernel: TileKernel
    private let shape: ConvolutionShape
    private let rowTiles: Int
    /// Bytes from a pixel to each 32 channels of the pixels around it, in the order of the panel's depth.
    private let steps: [Int32]
    let pitch: Int
    let scratchBytes = 1

    /// Whether the products' tiles come out even.
    static func serves(_ shape: ConvolutionShape) -> Bool {
        shape.stride == 1 && shape.inChannels % 32 == 0 && shape.outChannels % 32 == 0
    }

    init(_ shape: ConvolutionShape, _ kernel: TileKernel, height: Int, width: Int) {
        self.shape = shape
        self.kernel = kernel
        let columns = shape.planeColumns
        let pitch = width + columns - 1
        self.pitch = pitch
        rowTiles = (height * pitch + 15) / 16
        steps = (0..<shape.kernel * columns).flatMap { tap in
            let pixel = tap / columns * pitch + tap % columns
            return stride(from: 0, to: shape.inChannels, by: 32).map { Int32(2 * (pixel * shape.inChannels + $0)) }
        }
    }

    var inputCount: Int {
        (rowTiles * 16 + (shape.kernel - 1) * pitch + shape.planeColumns - 1) * shape.inChannels
    }
    var productCount: Int { rowTiles * 16 * shape.outChannels }

    /// A panel `[to, from, rows, columns]` f32 as `run` reads it.
    static func pack(_ panel: Tensor, _ shape: ConvolutionShape, _ kernel: TileKernel) -> Tensor {
        let (from, taps) = (shape.inChannels, shape.kernel * shape.planeColumns)
        let matrix = Tensor(.f32, [shape.outChannels, taps * from])
        panel.withFloats { panel in
            matrix.withMutableFloats { matrix in
                for to in 0..<shape.outChannels {
                    let row = to * taps * from
                    for tap in 0..<taps {
                        for channel in 0..<from {
                            matrix[row + tap * from + channel] = panel[row + channel * taps + tap]
                        }
                    }
                }
            }
        }
        return kernel.packed(matrix.converted(to: .bf16))
    }

    func run(
        _ input: UnsafeRawPointer, _ panel: UnsafeRawPointer, into products: UnsafeMutablePointer<Float>,
        _ workspace: Tensor
    ) {
        let (from, to) = (shape.inChannels, Int64(shape.outChannels))
        steps.withUnsafeBufferPointer { steps in
            var product = vdit_tile_product(
                rows: input, row_bytes: Int64(2 * from), tile_bytes: Int64(32 * from),
                steps: steps.baseAddress, step_count: Int32(steps.count), row_tiles: Int32(rowTiles),
                matrix: panel, column_tiles: Int32(shape.outChannels / 16),
                sums: products, sum_row: to, sum_tile: 16 * to, sum_column: 16)
            kernel.multiply(&product)
        }
    }
}
