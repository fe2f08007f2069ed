import COneDNN

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
