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

    /// Whether two output pixels of a row are made of four products instead of six: F(2, 3) of Winograd, "Arithmetic
    /// Complexity of Computations" (1980). What is done around the products takes as long as they do where channels are
    /// few.
    var isFast: Bool { kernel == 3 && stride == 1 && inChannels % 16 == 0 && min(inChannels, outChannels) >= 32 }

    /// A tile's input, panels and products are so many planes, multiplied each by itself: of every second column where
    /// the convolution is fast.
    var planes: Int { isFast ? 4 : 1 }
    /// Columns of the kernel that multiplies a plane.
    var planeColumns: Int { isFast ? 1 : kernel }
    /// Output pixels of a row that come of a plane's column.
    var pixelsPerColumn: Int { isFast ? 2 : 1 }

    /// What multiplies each plane, `[out, in, kernel, planeColumns]` f32.
    func planes(of panel: Tensor) -> [Tensor] {
        guard isFast else { return [panel] }
        let taps = panel.floats()
        func plane(_ made: (_ row: ArraySlice<Float>) -> Float) -> Tensor {
            Tensor(Swift.stride(from: 0, to: taps.count, by: kernel).map { made(taps[$0..<$0 + kernel]) })
        }
        func outer(_ row: ArraySlice<Float>) -> Float { 0.5 * (row[row.startIndex] + row[row.endIndex - 1]) }
        func middle(_ row: ArraySlice<Float>) -> Float { 0.5 * row[row.startIndex + 1] }
        return [
            plane { $0[$0.startIndex] }, plane { outer($0) + middle($0) }, plane { outer($0) - middle($0) },
            plane { $0[$0.endIndex - 1] },
        ]
    }
}

/// A convolution of one plane compiled by oneDNN.
final class ConvolutionPrimitive: PlaneProduct, @unchecked Sendable {  // oneDNN primitives may run on any thread
    let handle: OpaquePointer
    let pitch: Int
    let inputCount: Int
    let productCount: Int

    init(_ shape: ConvolutionShape, height: Int, width: Int, operand: DType) throws(TensorError) {
        var handle: OpaquePointer?
        let status = vdit_dnnl_conv_create(
            Int64(shape.inChannels), Int64(shape.outChannels), Int64(shape.kernel), Int64(shape.planeColumns),
            Int64(shape.stride), Int64(height), Int64(width), operand.dnnlType, &handle)
        guard status == 0, let handle else {
            throw .library(name: "oneDNN", call: "convolution of \(shape)", status: Int(status))
        }
        self.handle = handle
        pitch = width
        inputCount = shape.span(height) * ((width - 1) * shape.stride + shape.planeColumns) * shape.inChannels
        productCount = height * width * shape.outChannels
    }

    deinit { vdit_dnnl_conv_destroy(handle) }

    var panelBytes: Int { Int(vdit_dnnl_conv_weight_bytes(handle)) }
    var scratchBytes: Int { Int(vdit_dnnl_conv_scratch_bytes(handle)) }

    func run(
        _ input: UnsafeRawPointer, _ panel: UnsafeRawPointer, into products: UnsafeMutablePointer<Float>,
        _ workspace: Tensor
    ) throws(TensorError) {
        try check(vdit_dnnl_conv_run(handle, input, panel, products, workspace.rawPointer), "convolution")
    }
}

/// The kernels of a convolution, packed for what multiplies them: one panel per temporal tap or combination of taps.
public final class ConvolutionWeights: Sendable {
    public let shape: ConvolutionShape
    /// f32 or bf16.
    public let operand: DType
    /// The planes of each, one after the other.
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
            self.panels = panels.map { panel in
                let planes = shape.planes(of: panel).map { TilePlaneProduct.pack($0, shape, tiles) }
                let target = Tensor(.u8, [planes.count, planes[0].byteCount])
                for (index, plane) in planes.enumerated() {
                    target[index].rawPointer.copyMemory(from: plane.rawPointer, byteCount: plane.byteCount)
                }
                return target
            }
            return
        }
        let primitive = try ConvolutionPrimitive(shape, height: 8, width: 32, operand: operand)
        layout = .library(primitive)
        var packed: [Tensor] = []
        for panel in panels {
            let target = Tensor(.u8, [shape.planes, primitive.panelBytes])
            for (index, plane) in shape.planes(of: panel).enumerated() {
                try check(
                    vdit_dnnl_conv_pack(primitive.handle, plane.pointer(as: Float.self), target[index].rawPointer),
                    "convolution pack")
            }
            packed.append(target)
        }
        self.panels = packed
    }

    /// Bytes of the packed panels.
    public var byteCount: Int { panels.reduce(0) { $0 + $1.byteCount } }

    /// Whether they are multiplied by tiles of our own.
    var isTiled: Bool {
        if case .tiles = layout { true } else { false }
    }

    /// What multiplies planes of one size, and the panels as it reads them.
    func product(height: Int, width: Int) throws(TensorError) -> (product: any PlaneProduct, panels: [Tensor]) {
        switch layout {
        case .tiles(let kernel):
            return (TilePlaneProduct(shape, kernel, height: height, width: width), panels)
        case .library(let layout):
            let primitive = try ConvolutionPrimitive(shape, height: height, width: width, operand: operand)
            return (primitive, try fit(layout, to: primitive))
        }
    }

    private func fit(
        _ layout: ConvolutionPrimitive, to primitive: ConvolutionPrimitive
    ) throws(TensorError) -> [Tensor] {
        if vdit_dnnl_conv_same_weights(layout.handle, primitive.handle) != 0 { return panels }
        var fitted: [Tensor] = []
        for panel in panels {
            let target = Tensor(.u8, [shape.planes, primitive.panelBytes])
            for plane in 0..<shape.planes {
                try check(
                    vdit_dnnl_conv_repack(
                        layout.handle, panel[plane].rawPointer, primitive.handle, target[plane].rawPointer),
                    "convolution repack")
            }
            fitted.append(target)
        }
        return fitted
    }
}
