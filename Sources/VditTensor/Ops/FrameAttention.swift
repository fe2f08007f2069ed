import COneDNN
import CVditKernels

/// Single-head attention of one frame's pixels over those of as many frames, for frames of one size.
///
/// Query rows are taken a chunk at a time, so that no `[pixels, pixels]` matrix exists. Works for head
/// widths beyond what the block-sparse kernel takes (a VAE's middle block has 384 and more).
public final class FrameAttention: @unchecked Sendable {  // primitives are immutable; see `attend`
    private static let chunk = 64
    private let pixels, keys, channels: Int
    private let operand: DType
    private let scores: OpaquePointer
    private let values: OpaquePointer
    private let packedKeys: Tensor
    private let packedValues: Tensor
    private let rows: FrameRows
    private let pool: WorkPool

    /// - Parameter keys: pixels that are attended to.
    public init(
        pixels: Int, keys: Int, channels: Int, compute: ComputeContext
    ) throws(TensorError) {
        self.pixels = pixels
        self.keys = keys
        self.channels = channels
        operand = compute.operandType
        pool = compute.pool
        rows = FrameRows(compute.instructionSet)
        scores = try Self.product(columns: keys, depth: channels, operand)
        do throws(TensorError) {
            values = try Self.product(columns: channels, depth: keys, operand)
        } catch {
            vdit_dnnl_matmul_destroy(scores)
            throw error
        }
        packedKeys = Tensor(.u8, [Int(vdit_dnnl_matmul_weight_bytes(scores))])
        packedValues = Tensor(.u8, [Int(vdit_dnnl_matmul_weight_bytes(values))])
    }

    deinit {
        vdit_dnnl_matmul_destroy(scores)
        vdit_dnnl_matmul_destroy(values)
    }

    private static func product(
        columns: Int, depth: Int, _ operand: DType
    ) throws(TensorError) -> OpaquePointer {
        var matmul: OpaquePointer?
        let status = vdit_dnnl_matmul_create(
            Int64(chunk), Int64(columns), Int64(depth),
            operand.dnnlType, VDIT_DNNL_F32, 0, VDIT_DNNL_NO_ACTIVATION, nil, &matmul)
        guard status == 0, let matmul else {
            throw .library(name: "oneDNN", call: "matmul", status: Int(status))
        }
        return matmul
    }

    /// `softmax(q kᵀ / √channels) v`. `q` and `out` are `[pixels, channels]`, `k` and `v` `[keys, channels]`, in the
    /// operand type.
    ///
    /// One call at a time: the packed keys and values belong to the call.
    public func attend(q: Tensor, k: Tensor, v: Tensor, into out: Tensor) throws(TensorError) {
        let type = operand.dnnlType
        let transposed = Tensor(operand, [channels, keys])
        transpose(v, into: transposed)
        try check(vdit_dnnl_matmul_pack(scores, k.rawPointer, type, packedKeys.rawPointer), "matmul pack")
        try check(vdit_dnnl_matmul_pack(values, transposed.rawPointer, type, packedValues.rawPointer), "matmul pack")
        let chunk = Self.chunk
        let scale = 1 / Float(channels).squareRoot()
        try pool.run((pixels + chunk - 1) / chunk) { (item, scratch) throws(TensorError) in
            let first = item * chunk
            let count = min(chunk, pixels - first)
            let workspace = scratch.tensor(
                .u8,
                [
                    Int(
                        max(
                            vdit_dnnl_matmul_scratch_bytes(scores),
                            vdit_dnnl_matmul_scratch_bytes(values)))
                ])
            let queries = scratch.tensor(operand, [chunk, channels])
            queries.slice(0..<count).assign(q.slice(first..<first + count))
            let row = scratch.tensor(.f32, [chunk, keys])
            let probabilities = scratch.tensor(operand, [chunk, keys])
            let result = scratch.tensor(.f32, [chunk, channels])
            try check(
                vdit_dnnl_matmul_run(
                    scores, queries.rawPointer, packedKeys.rawPointer, nil, row.rawPointer,
                    workspace.rawPointer), "matmul")
            for query in 0..<count {
                rows.table.pointee.softmax(
                    row.pointer(as: Float.self) + query * keys, Int64(keys), scale,
                    probabilities[query].rawPointer, probabilities.rowType)
            }
            try check(
                vdit_dnnl_matmul_run(
                    values, probabilities.rawPointer, packedValues.rawPointer, nil,
                    result.rawPointer, workspace.rawPointer), "matmul")
            out.slice(first..<first + count).convert(from: result.slice(0..<count))
        }
    }

    private func transpose(_ source: Tensor, into target: Tensor) {
        let (pixels, channels) = (keys, channels)
        pool.run((channels + 15) / 16) { item, _ in
            let range = item * 16..<min(channels, item * 16 + 16)
            if source.dtype == .bf16 {
                copy(UInt16.self, source, target, range, pixels, channels)
            } else {
                copy(UInt32.self, source, target, range, pixels, channels)
            }
        }
    }
}

private func copy<Word>(
    _ type: Word.Type, _ source: Tensor, _ target: Tensor, _ range: Range<Int>, _ pixels: Int,
    _ channels: Int
) {
    let from = source.pointer(as: type)
    let to = target.pointer(as: type)
    for pixel in 0..<pixels {
        for channel in range { to[channel * pixels + pixel] = from[pixel * channels + channel] }
    }
}
