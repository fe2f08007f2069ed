import COneDNN

/// What a 2-D convolution computes, apart from the size of the frames it runs over.
public struct ConvolutionShape: Sendable, Hashable {
    public var inChannels: Int
    public var outChannels: Int
    /// Rows and columns of the kernel (it is square).
    public var kernel: Int
    public var stride: Int
    public var edge: Edge

    /// What lies around a frame.
    public enum Edge: Sendable, Hashable {
        case zeros
        /// The nearest pixel of the frame.
        case replicated
    }

    public init(inChannels: Int, outChannels: Int, kernel: Int, stride: Int = 1, edge: Edge = .zeros) {
        self.inChannels = inChannels
        self.outChannels = outChannels
        self.kernel = kernel
        self.stride = stride
        self.edge = edge
    }

    /// Input pixels under so many output pixels in a row.
    func span(_ extent: Int) -> Int { (extent - 1) * stride + kernel }
}

/// A convolution of one tile compiled by oneDNN.
final class ConvolutionPrimitive: PlaneProduct, @unchecked Sendable {  // oneDNN primitives may run on any thread
    let handle: OpaquePointer
    let pitch: Int
    let inputCount: Int
    let productCount: Int

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
        pitch = tileWidth
        inputCount = shape.span(tileHeight) * shape.span(tileWidth) * shape.inChannels
        productCount = tileHeight * tileWidth * shape.outChannels
    }

    deinit { vdit_dnnl_conv_destroy(handle) }

    var weightBytes: Int { Int(vdit_dnnl_conv_weight_bytes(handle)) }
    var scratchBytes: Int { Int(vdit_dnnl_conv_scratch_bytes(handle)) }

    func run(_ input: Tensor, _ panel: Tensor, into products: Tensor, _ workspace: Tensor) throws(TensorError) {
        try check(
            vdit_dnnl_conv_run(
                handle, input.rawPointer, panel.rawPointer, products.pointer(as: Float.self),
                workspace.rawPointer), "convolution")
    }
}

/// The kernels of a convolution, packed for what multiplies them: one panel per temporal tap or combination of taps.
public final class ConvolutionWeights: Sendable {
    public let shape: ConvolutionShape
    /// f32 or bf16.
    public let operand: DType
    private let panels: [Tensor]
    private let layout: Layout

    private enum Layout {
        case tiles(TileKernel)
        case library(ConvolutionPrimitive)
    }

    /// - Parameters:
    ///   - panels: each `[out, in, kernel, kernel]` f32.
    ///   - set: what the CPU may be asked for.
    public convenience init(
        _ shape: ConvolutionShape, panels: [Tensor], operand: DType, on set: InstructionSet
    ) throws(TensorError) {
        try self.init(shape, panels: panels, operand: operand, tiles: TileKernel(set))
    }

    /// - Parameter tiles: multiplies where it serves.
    init(
        _ shape: ConvolutionShape, panels: [Tensor], operand: DType, tiles: TileKernel?
    ) throws(TensorError) {
        self.shape = shape
        self.operand = operand
        for panel in panels {
            precondition(
                panel.count == shape.outChannels * shape.inChannels * shape.kernel * shape.kernel)
        }
        if let tiles, operand == .bf16, TilePlaneProduct.serves(shape) {
            layout = .tiles(tiles)
            self.panels = panels.map { TilePlaneProduct.pack($0, shape, tiles) }
            return
        }
        let primitive = try ConvolutionPrimitive(
            shape, tileHeight: 8, tileWidth: 32, operand: operand)
        var packed: [Tensor] = []
        for panel in panels {
            let target = Tensor(.u8, [primitive.weightBytes])
            try check(
                vdit_dnnl_conv_pack(
                    primitive.handle, panel.pointer(as: Float.self), target.rawPointer),
                "convolution pack")
            packed.append(target)
        }
        layout = .library(primitive)
        self.panels = packed
    }

    /// Bytes of the packed panels.
    public var byteCount: Int { panels.reduce(0) { $0 + $1.byteCount } }

    /// Whether they are multiplied by tiles of our own.
    var isTiled: Bool {
        if case .tiles = layout { true } else { false }
    }

    /// What multiplies tiles of one size, and the panels as it reads them.
    func product(
        tileHeight: Int, tileWidth: Int
    ) throws(TensorError) -> (product: any PlaneProduct, panels: [Tensor]) {
        switch layout {
        case .tiles(let kernel):
            return (TilePlaneProduct(shape, kernel, tileHeight: tileHeight, tileWidth: tileWidth), panels)
        case .library(let layout):
            let primitive = try ConvolutionPrimitive(
                shape, tileHeight: tileHeight, tileWidth: tileWidth, operand: operand)
            return (primitive, try fit(layout, to: primitive))
        }
    }

    private func fit(
        _ layout: ConvolutionPrimitive, to primitive: ConvolutionPrimitive
    ) throws(TensorError) -> [Tensor] {
        if vdit_dnnl_conv_same_weights(layout.handle, primitive.handle) != 0 { return panels }
        var fitted: [Tensor] = []
        for panel in panels {
            let target = Tensor(.u8, [primitive.weightBytes])
            try check(
                vdit_dnnl_conv_repack(
                    layout.handle, panel.rawPointer, primitive.handle, target.rawPointer),
                "convolution repack")
            fitted.append(target)
        }
        return fitted
    }
}
