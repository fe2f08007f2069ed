import COneDNN
import CVditKernels

/// What a 2-D convolution computes, apart from the size of the frames it runs over.
public struct ConvolutionShape: Sendable, Hashable {
    public var inChannels: Int
    public var outChannels: Int
    /// Rows and columns of the kernel (it is square).
    public var kernel: Int
    public var stride: Int

    public init(inChannels: Int, outChannels: Int, kernel: Int, stride: Int = 1) {
        self.inChannels = inChannels
        self.outChannels = outChannels
        self.kernel = kernel
        self.stride = stride
    }
}

/// A compiled convolution of one tile.
final class ConvolutionPrimitive: @unchecked Sendable {  // oneDNN primitives may run on any thread
    let handle: OpaquePointer

    init(
        _ shape: ConvolutionShape, tileHeight: Int, tileWidth: Int, operand: DType
    ) throws(TensorError) {
        var handle: OpaquePointer?
        let status = vdit_dnnl_conv_create(
            Int64(shape.inChannels), Int64(shape.outChannels), Int64(shape.kernel),
            Int64(shape.kernel), Int64(shape.stride), Int64(tileHeight), Int64(tileWidth),
            operand.dnnlType, &handle)
        guard status == 0, let handle else {
            throw .library(name: "oneDNN", call: "convolution of \(shape)", status: Int(status))
        }
        self.handle = handle
    }

    deinit { vdit_dnnl_conv_destroy(handle) }

    var weightBytes: Int { Int(vdit_dnnl_conv_weight_bytes(handle)) }
    var scratchBytes: Int { Int(vdit_dnnl_conv_scratch_bytes(handle)) }
}

/// The kernels of a convolution, packed for oneDNN: one panel per temporal tap or combination of taps.
public final class ConvolutionWeights: Sendable {
    public let shape: ConvolutionShape
    /// f32 or bf16.
    public let operand: DType
    let panels: [Tensor]
    let layout: ConvolutionPrimitive

    /// - Parameter panels: each `[out, in, kernel, kernel]` f32.
    public init(
        _ shape: ConvolutionShape, panels: [Tensor], operand: DType
    ) throws(TensorError) {
        let layout = try ConvolutionPrimitive(
            shape, tileHeight: 8, tileWidth: 32, operand: operand)
        var packed: [Tensor] = []
        for panel in panels {
            precondition(
                panel.count == shape.outChannels * shape.inChannels * shape.kernel * shape.kernel)
            let target = Tensor(.u8, [layout.weightBytes])
            try check(
                vdit_dnnl_conv_pack(
                    layout.handle, panel.pointer(as: Float.self), target.rawPointer),
                "convolution pack")
            packed.append(target)
        }
        self.shape = shape
        self.operand = operand
        self.panels = packed
        self.layout = layout
    }

    /// Bytes of the packed panels.
    public var byteCount: Int { panels.reduce(0) { $0 + $1.byteCount } }
}

/// One tile-shaped computation: inputs cut from frames, products of inputs and panels, outputs that sum
/// products. Temporal taps, the fast algorithm over time and the phases of an upsampling are all this.
public struct ConvolutionProgram: Sendable {
    /// `first + sign · second`, zero outside the frame; a missing frame counts as zeros.
    public struct Input: Sendable {
        public var first: Tensor?
        public var second: Tensor?
        public var sign: Float
        /// The kernel's upper left corner for output pixel (0, 0), relative to the frame's.
        public var top: Int
        public var left: Int

        public init(_ first: Tensor?, plus second: Tensor? = nil, sign: Float = 1, top: Int, left: Int) {
            self.first = first
            self.second = second
            self.sign = sign
            self.top = top
            self.left = left
        }
    }

    public struct Product: Sendable {
        public var input: Int
        public var panel: Int

        public init(input: Int, panel: Int) {
            self.input = input
            self.panel = panel
        }
    }

    /// What is added to an output.
    public enum Addend: Sendable {
        case none
        /// A frame of the output's shape, f32.
        case frame(Tensor)
        /// A frame put through the run's shortcut convolution (1×1), f32.
        case shortcut(Tensor)
        /// Channel `table[c]` of the pixel of a frame at the products' resolution, f32.
        case channels(Tensor, table: [Int32])
    }

    public struct Output: Sendable {
        /// Products: `terms[0] + sign · (terms[1] + terms[2])`. The last is used by this output alone.
        public var terms: [Int]
        public var sign: Float
        /// `[outChannels]` f32.
        public var bias: Tensor?
        public var addend: Addend
        public var sink: FrameSink
        /// Output pixels are `scale` apart in the sink, starting at (`row`, `column`).
        public var scale: Int
        public var row: Int
        public var column: Int

        public init(
            terms: [Int], sign: Float = 1, bias: Tensor?, addend: Addend = .none, sink: FrameSink,
            scale: Int = 1, row: Int = 0, column: Int = 0
        ) {
            self.terms = terms
            self.sign = sign
            self.bias = bias
            self.addend = addend
            self.sink = sink
            self.scale = scale
            self.row = row
            self.column = column
        }
    }

    public var inputs: [Input]
    public var products: [Product]
    public var outputs: [Output]

    public init(inputs: [Input], products: [Product], outputs: [Output]) {
        self.inputs = inputs
        self.products = products
        self.outputs = outputs
    }
}

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
        finish.pixel_stride = Int64(output.scale * channels)
        for row in 0..<tile.height {
            let start = row * grid.tileWidth * channels
            finish.terms.0 = UnsafePointer(terms[0] + start)
            if terms.count > 1 { finish.terms.1 = UnsafePointer(terms[1] + start) }
            if terms.count > 2 { finish.terms.2 = UnsafePointer(terms[2] + start) }
            finish.value = terms[terms.count - 1] + start
            finish.residual = addend.map { $0.start + row * $0.stride }
            let y = (tile.top + row) * output.scale + output.row
            let x = tile.left * output.scale + output.column
            output.sink.fill(
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
