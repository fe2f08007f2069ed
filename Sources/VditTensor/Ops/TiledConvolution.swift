import CVditKernels

/// A convolution over frames of one size, tile by tile on a pool.
///
/// Tiles are chosen from the size alone, and each is computed by one worker in a fixed order: results do
/// not depend on the number of threads.
public final class TiledConvolution: Sendable {
    private let weights: ConvolutionWeights
    private let product: any PlaneProduct
    private let panels: [Tensor]
    private let grid: TileGrid
    /// Columns of a tile's planes; elements from one to the next of its input and of its products.
    private let planeWidth, inputPlane, productPlane: Int
    private let rows: FrameRows
    private let pool: WorkPool

    /// - Parameter height: rows of the products (of the output, before any phase scaling).
    public init(
        _ weights: ConvolutionWeights, height: Int, width: Int, compute: ComputeContext
    ) throws(TensorError) {
        self.weights = weights
        rows = FrameRows(compute.instructionSet)
        pool = compute.pool
        let shape = weights.shape
        grid = TileGrid(
            height: height, width: width, channels: max(shape.inChannels, shape.outChannels),
            elements: weights.isTiled ? TileGrid.ofTiles : TileGrid.ofLibrary, step: shape.pixelsPerColumn)
        planeWidth = grid.tileWidth / shape.pixelsPerColumn
        (product, panels) = try weights.product(height: grid.tileHeight, width: planeWidth)
        inputPlane = product.inputCount.rounded(upTo: 32)
        productPlane = product.productCount.rounded(upTo: 16)
    }

    /// Runs the programs, which may not depend on each other, and returns when all frames are written.
    public func run(_ programs: [ConvolutionProgram]) throws(TensorError) {
        let tiles = grid.count
        try pool.run(programs.count * tiles) { (item, scratch) throws(TensorError) in
            try runTile(programs[item / tiles], grid.tile(item % tiles), scratch)
        }
    }

    private func runTile(
        _ program: ConvolutionProgram, _ tile: TileGrid.Tile, _ scratch: Scratch
    ) throws(TensorError) {
        let planes = weights.shape.planes
        let workspace = scratch.tensor(.u8, [product.scratchBytes])
        // A product is the only one of its input, nearly always: it is made when it is wanted, where it is still warm.
        let input = scratch.tensor(weights.operand, [planes, inputPlane])
        var gathered: Int?
        var products: [Tensor] = []
        for step in program.products {
            if gathered != step.input { gather(program.inputs[step.input], tile, into: input) }
            gathered = step.input
            let result = scratch.tensor(.f32, [planes, productPlane])
            let panel = panels[step.panel]
            for plane in 0..<planes {
                try product.run(
                    input.rawPointer + plane * inputPlane * input.dtype.byteCount,
                    panel.rawPointer + plane * panel.byteCount / planes,
                    into: result.pointer(as: Float.self) + plane * productPlane, workspace)
            }
            products.append(result)
        }
        let value = scratch.tensor(.f32, [2, weights.shape.outChannels])
        for output in program.outputs {
            finish(output, products, addend(of: output, tile, scratch), tile, value)
        }
    }

    private func gather(_ input: ConvolutionProgram.Input, _ tile: TileGrid.Tile, into planes: Tensor) {
        let shape = weights.shape
        var gather = vdit_vae_gather()
        gather.first = input.first.map { UnsafeRawPointer($0.rawPointer) }
        gather.second = input.second.map { UnsafeRawPointer($0.rawPointer) }
        gather.sign = input.sign
        if let frame = input.first ?? input.second {
            gather.from = frame.rowType
            (gather.height, gather.width) = (Int64(frame.shape[0]), Int64(frame.shape[1]))
        }
        gather.to = planes.rowType
        gather.channels = Int64(shape.inChannels)
        gather.top = Int64(tile.top * shape.stride + input.top)
        gather.left = Int64(tile.left * shape.stride + input.left)
        gather.tile_height = Int64(shape.span(grid.tileHeight))
        gather.tile_width = Int64(shape.isFast ? planeWidth : shape.span(planeWidth))
        gather.plane = Int64(shape.isFast ? inputPlane : 0)
        gather.replicated = shape.edge == .replicated ? 1 : 0
        rows.table.pointee.gather(&gather, planes.rawPointer)
    }

    /// Rows to add: a pointer and the elements from one row to the next.
    private typealias Rows = (start: UnsafePointer<Float>, stride: Int)

    private func addend(
        of output: ConvolutionProgram.Output, _ tile: TileGrid.Tile, _ scratch: Scratch
    ) -> Rows? {
        let channels = weights.shape.outChannels
        switch output.addend {
        case .none:
            return nil
        case .frame(let frame):
            precondition(output.scale == 1 && frame.shape[2] == channels)
            let offset = (tile.top * frame.shape[1] + tile.left) * channels
            return (UnsafePointer(frame.pointer(as: Float.self) + offset), frame.shape[1] * channels)
        case .channels(let frame, let table):
            let result = scratch.tensor(.f32, [grid.tileHeight, grid.tileWidth, channels])
            let inChannels = frame.shape[2]
            for row in 0..<tile.height {
                for column in 0..<tile.width {
                    let pixel = (tile.top + row) * frame.shape[1] + tile.left + column
                    let source = frame.pointer(as: Float.self) + pixel * inChannels
                    let target =
                        result.pointer(as: Float.self) + (row * grid.tileWidth + column) * channels
                    for channel in 0..<channels { target[channel] = source[Int(table[channel])] }
                }
            }
            return (UnsafePointer(result.pointer(as: Float.self)), grid.tileWidth * channels)
        }
    }

    private func finish(
        _ output: ConvolutionProgram.Output, _ products: [Tensor], _ addend: Rows?,
        _ tile: TileGrid.Tile, _ value: Tensor
    ) {
        let channels = weights.shape.outChannels
        let terms = output.terms.map { products[$0].pointer(as: Float.self) }
        var finish = vdit_vae_finish()
        finish.term_count = Int32(terms.count)
        finish.sign = output.sign
        finish.plane = Int64(weights.shape.isFast ? productPlane : 0)
        finish.value = value.pointer(as: Float.self)
        finish.bias = output.bias.map { UnsafePointer($0.pointer(as: Float.self)) }
        finish.noise_scale = output.noise.map { UnsafePointer($0.scale.pointer(as: Float.self)) }
        finish.pixel_stride = Int64(output.scale * channels)
        for row in 0..<tile.height {
            let start = row * product.pitch * channels
            finish.terms.0 = UnsafePointer(terms[0] + start)
            if terms.count > 1 { finish.terms.1 = UnsafePointer(terms[1] + start) }
            if terms.count > 2 { finish.terms.2 = UnsafePointer(terms[2] + start) }
            finish.noise = output.noise.map {
                UnsafePointer($0.plane.pointer(as: Float.self) + (tile.top + row) * grid.width + tile.left)
            }
            finish.residual = addend.map { $0.start + row * $0.stride }
            let y = (tile.top + row) * output.scale + output.row
            let x = tile.left * output.scale + output.column
            output.target.fill(
                &finish, at: (y * grid.width * output.scale + x) * channels)
            rows.table.pointee.finish(&finish, Int64(tile.width), Int64(channels))
        }
    }
}

/// A partition of a plane into tiles of one size, the last ones cut off at the edge.
struct TileGrid: Sendable {
    struct Tile {
        let top, left, height, width: Int
    }

    let height, width, tileHeight, tileWidth: Int

    /// Elements of a tile's products: as many as sit in a core's second-level cache with their operands. Tiles read
    /// weights faster than the cache beyond has them, unless each serves more pixels.
    static let ofLibrary = 49_152, ofTiles = 98_304

    /// Tiles of so many elements, and enough of them to share; their width is a multiple of `step`.
    init(height: Int, width: Int, channels: Int, elements: Int, step: Int) {
        let target = min(max(elements / channels, 96), max(64, height * width / 16))
        let widest = 128 / step
        let across = (width + widest - 1) / widest
        self.height = height
        self.width = width
        tileWidth = ((width + across - 1) / across).rounded(upTo: step)
        let wanted = max(1, min(height, target / tileWidth))
        // Of the heights near the wanted one, that which overhangs the edge least.
        let candidates = max(1, wanted - wanted / 3)...min(height, wanted + wanted / 3)
        let overhang = { (rows: Int) in (height + rows - 1) / rows * rows }
        tileHeight = candidates.min { (overhang($0), -$0) < (overhang($1), -$1) } ?? wanted
    }

    private var columns: Int { (width + tileWidth - 1) / tileWidth }
    var count: Int { (height + tileHeight - 1) / tileHeight * columns }

    func tile(_ index: Int) -> Tile {
        let top = index / columns * tileHeight
        let left = index % columns * tileWidth
        return Tile(
            top: top, left: left, height: min(tileHeight, height - top),
            width: min(tileWidth, width - left))
    }
}

extension Int {
    fileprivate func rounded(upTo multiple: Int) -> Int { (self + multiple - 1) / multiple * multiple }
}
