import VditAttention
import VditTensor

/// One transformer block: self-attention, cross-attention to the prompt (and image), feed-forward.
///
/// These are its weights and what becomes of the conditioning; `InPass` runs it.
struct CrossBlock: Sendable {
    let config: any CrossTransformerConfig
    let rows: RowKernels
    let epsilon: Float
    let queryKeyEpsilon: Float

    let qkv: Linear
    let normQ: Tensor
    let normK: Tensor
    let attentionOut: Linear
    /// Of video sparse attention, in checkpoints that were trained with it; the result is of the operand type.
    let gate: Linear?
    /// Of sparse-linear attention, likewise; it stays fp32.
    let projection: Linear?

    let norm2: (scale: Tensor, shift: Tensor)?
    let crossQ: Linear
    let crossNormQ: Tensor
    let crossOut: Linear

    let feedForward: FeedForward
    /// `[6, inner]`: shift, scale and gate of self-attention, then of the feed-forward.
    private let table: Tensor

    init(_ loader: WeightLoader, config: any CrossTransformerConfig, index: Int) throws(TensorError) {
        self.config = config
        rows = RowKernels(loader.compute.instructionSet)
        epsilon = Float(config.epsilon)
        queryKeyEpsilon = Float(config.queryKeyEpsilon)
        let names = config.names
        let block = "\(names.blocks).\(index)"
        let operand = loader.compute.operandType
        let (a1, a2) = ("\(block).attn1", "\(block).attn2")
        qkv = try loader.linear("\(a1).to_q", "\(a1).to_k", "\(a1).to_v", result: .f32)
        normQ = try loader.vector("\(a1).norm_q.weight")
        normK = try loader.vector("\(a1).norm_k.weight")
        attentionOut = try loader.linear("\(a1).to_out.0", result: .f32)
        let trained = config.trained
        gate = trained == .gates ? try loader.linear("\(block).\(TrainedAttention.gates.layer)", result: operand) : nil
        projection = trained == .projections
            ? try loader.linear("\(block).\(TrainedAttention.projections.layer)", result: .f32, isFP32: true) : nil

        norm2 = config.crossAttentionNorm
            ? (try loader.vector("\(block).norm2.weight"), try loader.vector("\(block).norm2.bias")) : nil
        crossQ = try loader.linear("\(a2).to_q", result: .f32)
        crossNormQ = try loader.vector("\(a2).norm_q.weight")
        crossOut = try loader.linear("\(a2).to_out.0", result: .f32)

        feedForward = try FeedForward(loader, "\(block).\(names.feedForward)", .plain(.geluTanh))
        table = try loader.vector("\(block).scale_shift_table").reshaped([6, config.inner])
    }

    /// Bytes of packed weights.
    var byteCount: Int {
        [qkv, attentionOut, gate, projection, crossQ, crossOut].reduce(feedForward.byteCount) {
            $0 + ($1?.byteCount ?? 0)
        }
    }

    /// What a chunk's cross-attention reads: packed for the kernel, made once per video.
    struct CrossContext: Sendable {
        let text: PackedKeys
        let image: PackedKeys?
    }

    /// The block's modulation for one timestep.
    ///
    /// - Parameter projected: `[6 · inner]` f32, `time_proj` of the timestep.
    func modulation(_ projected: Tensor) -> Modulation {
        let sum = projected.copy().reshaped([6, config.inner])
        rows.gatedAdd(sum, table, gate: nil)
        for index in [1, 4] {  // a norm is multiplied by 1 + scale
            sum[index].withMutableFloats { values in
                for i in values.indices { values[i] += 1 }
            }
        }
        return Modulation(
            attention: .init(scale: sum[1], shift: sum[0], gate: sum[2]),
            feedForward: .init(scale: sum[4], shift: sum[3], gate: sum[5]))
    }
}
