import COneDNN
import CVditKernels

/// A convolution over frames of one size, tile by tile on a pool.
///
/// Tiles are chosen from the size alone, and each is computed by one worker in a fixed order: results do
/// not depend on the number of threads.
public final class TiledConvolution: Sendable {
    private let weights: ConvolutionWeights
    private let shortcut: ConvolutionWeights?
    private let primitive: ConvolutionPrimitive
    private let shortcutPrimitive: ConvolutionPrimitive?
    private let panels: [Tensor]
    private let shortcutPanels: [Tensor]
    private let grid: TileGrid
    private let rows: FrameRows
    private let pool: WorkPool

    /// - Parameters:
    ///   - height: rows of the products (of the output, before any phase scaling).
    ///   - shortcut: the 1×1 convolution behind `Addend.shortcut`.
    public init(
        _ weights: ConvolutionWeights, shortcut: ConvolutionWeights? = nil, height: Int, width: Int,
        compute: ComputeContext
    ) throws(TensorError) {
        self.weights = weights
        self.shortcut = shortcut
        rows = FrameRows(compute.instructionSet)
        pool = compute.pool
        let channels = max(weights.shape.inChannels, weights.shape.outChannels)
        grid = TileGrid(height: height, width: width, channels: channels)
        primitive = try ConvolutionPrimitive(
            weights.shape, tileHeight: grid.tileHeight, tileWidth: grid.tileWidth,
            operand: weights.operand)
        panels = try Self.fit(weights, to: primitive)
        if let shortcut {
            let primitive = try ConvolutionPrimitive(
                shortcut.shape, tileHeight: grid.tileHeight, tileWidth: grid.tileWidth,
                operand: shortcut.operand)
            shortcutPrimitive = primitive
            shortcutPanels = try Self.fit(shortcut, to: primitive)
        } else {
            shortcutPrimitive = nil
            shortcutPanels = []
        }
    }

    private static func fit(
        _ weights: ConvolutionWeights, to primitive: ConvolutionPrimitive
    ) throws(TensorError) -> [Tensor] {
        let layout = weights.layout.handle
        if vdit_dnnl_conv_same_weights(layout, primitive.handle) != 0 { return weights.panels }
        var fitted: [Tensor] = []
        for panel in weights.panels {
            let target = Tensor(.u8, [primitive.weightBytes])
            try check(
                vdit_dnnl_conv_repack(layout, panel.rawPointer, primitive.handle, target.rawPointer),
                "convolution repack")
            fitted.append(target)
        }
        return fitted
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
        let shape = weights.shape
        let operand = weights.operand
        let (height, width) = (grid.tileHeight, grid.tileWidth)
        let span = { (extent: Int) in (extent - 1) * shape.stride + shape.kernel }
        let workspace = scratch.tensor(
            .u8, [max(primitive.scratchBytes, shortcutPrimitive?.scratchBytes ?? 0)])

        let inputs = program.inputs.map { input in
            let tensor = scratch.tensor(operand, [span(height), span(width), shape.inChannels])
            gather(
                input.first, input.second, sign: input.sign,
                top: tile.top * shape.stride + input.top,
                left: tile.left * shape.stride + input.left, into: tensor)
            return tensor
        }
        var products: [Tensor] = []
        for product in program.products {
            let result = scratch.tensor(.f32, [height, width, shape.outChannels])
            try check(
                vdit_dnnl_conv_run(
                    primitive.handle, inputs[product.input].rawPointer,
                    panels[product.panel].rawPointer, result.pointer(as: Float.self),
                    workspace.rawPointer), "convolution")
            products.append(result)
        }
        for output in program.outputs {
            let addend = try addend(of: output, tile, workspace, scratch)
            finish(output, products, addend, tile)
        }
    }

    private func gather(
        _ first: Tensor?, _ second: Tensor?, sign: Float, top: Int, left: Int, into tile: Tensor
    ) {
        var gather = vdit_vae_gather()
        gather.first = first.map { UnsafeRawPointer($0.rawPointer) }
        gather.second = second.map { UnsafeRawPointer($0.rawPointer) }
        gather.sign = sign
        if let frame = first ?? second {
            gather.from = frame.rowType
            (gather.height, gather.width) = (Int64(frame.shape[0]), Int64(frame.shape[1]))
        }
        gather.to = tile.rowType
        gather.channels = Int64(tile.shape[2])
        (gather.top, gather.left) = (Int64(top), Int64(left))
        (gather.tile_height, gather.tile_width) = (Int64(tile.shape[0]), Int64(tile.shape[1]))
        rows.table.pointee.gather(&gather, tile.rawPointer)
    }

    /// Rows to add: a pointer and the elements from one row to the next.
    private typealias Rows = (start: UnsafePointer<Float>, stride: Int)

    private func addend(
        of output: ConvolutionProgram.Output, _ tile: TileGrid.Tile, _ workspace: Tensor,
        _ scratch: Scratch
    ) throws(TensorError) -> Rows? {
        let channels = weights.shape.outChannels
        let dense = { scratch.tensor(.f32, [self.grid.tileHeight, self.grid.tileWidth, channels]) }
        switch output.addend {
        case .none:
            return nil
        case .frame(let frame):
            precondition(output.scale == 1 && frame.shape[2] == channels)
            let offset = (tile.top * frame.shape[1] + tile.left) * channels
            return (UnsafePointer(frame.pointer(as: Float.self) + offset), frame.shape[1] * channels)
        case .shortcut(let frame):
            guard let shortcut, let shortcutPrimitive else { preconditionFailure("no shortcut") }
            let input = scratch.tensor(
                shortcut.operand,
                [grid.tileHeight, grid.tileWidth, shortcut.shape.inChannels])
            gather(frame, nil, sign: 1, top: tile.top, left: tile.left, into: input)
            let result = dense()
            try check(
                vdit_dnnl_conv_run(
                    shortcutPrimitive.handle, input.rawPointer, shortcutPanels[0].rawPointer,
                    result.pointer(as: Float.self), workspace.rawPointer), "shortcut")
            return (UnsafePointer(result.pointer(as: Float.self)), grid.tileWidth * channels)
        case .channels(let frame, let table):
            let result = dense()
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
        _ tile: TileGrid.Tile
    ) {
        let channels = weights.shape.outChannels
        let terms = output.terms.map { products[$0].pointer(as: Float.self) }
        var finish = vdit_vae_finish()
        finish.term_count = Int32(terms.count)
        finish.sign = output.sign
        finish.bias = output.bias.map { UnsafePointer($0.pointer(as: Float.self)) }
        finish.noise_scale = output.noise.map { UnsafePointer($0.scale.pointer(as: Float.self)) }
        finish.pixel_stride = Int64(output.scale * channels)
        for row in 0..<tile.height {
            let start = row * grid.tileWidth * channels
            finish.terms.0 = UnsafePointer(terms[0] + start)
            if terms.count > 1 { finish.terms.1 = UnsafePointer(terms[1] + start) }
            if terms.count > 2 { finish.terms.2 = UnsafePointer(terms[2] + start) }
            finish.value = terms[terms.count - 1] + start
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

    /// Tiles whose operands and results sit in a core's second-level cache, and enough of them to share.
    init(height: Int, width: Int, channels: Int) {
        let target = min(max(49_152 / channels, 96), max(64, height * width / 16))
        let across = (width + 127) / 128
        self.height = height
        self.width = width
        tileWidth = (width + across - 1) / across
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
