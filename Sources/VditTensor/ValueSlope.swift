import CVditKernels
import Glibc

/// How the values of a head lean with its keys: `S = Σ (k − mean)ᵀ v / keys`, each key less the mean of its run.
///
/// The first-order term of a pooled rest: its values become those of its means and `scale · q·S` for a query q.
struct ValueSlope: Sendable {
    /// `[headDim, headDim]` f32.
    private let matrix: Tensor
    private let set: InstructionSet

    init(headDim: Int, _ set: InstructionSet) {
        matrix = Tensor(.f32, [headDim, headDim])
        self.set = set
    }

    private typealias Floats = UnsafeMutablePointer<Float>

    /// Makes it from all keys of the head, in their order.
    ///
    /// - Parameters:
    ///   - order: `order[position]` is a row of `k` and `v`; nil is the identity.
    ///   - offsets: where runs begin and end in positions.
    ///   - means: `[runs, headDim]` f32 of the keys.
    func sum(
        k: HeadView, v: HeadView, order: [Int32]?, offsets: [Int32], means: Tensor, scratch: Scratch
    ) {
        let (keys, dim, most) = (k.tokens, k.headDim, 64)
        matrix.fill(byte: 0)
        let rows = [scratch.tensor(.f32, [most, dim]), scratch.tensor(.f32, [most, dim])]
            .map { $0.pointer(as: Float.self) }
        let columns = scratch.tensor(.f32, [dim, most]).pointer(as: Float.self)
        let means = means.pointer(as: Float.self)
        var run = 0
        order.withPointer { order in
            for first in stride(from: 0, to: keys, by: most) {
                let count = min(most, keys - first)
                k.rows(order, first).widen(count, dim, into: rows[0])
                v.rows(order, first).widen(count, dim, into: rows[1])
                for i in 0..<count {
                    if first + i == Int(offsets[run + 1]) { run += 1 }
                    for c in 0..<dim { columns[c * count + i] = rows[0][i * dim + c] - means[run * dim + c] }
                }
                vdit_add_low_rank_for(set.isa)(
                    matrix.pointer(as: Float.self), columns, rows[1], Int64(dim), Int64(dim), Int64(count),
                    1 / Float(keys))
            }
        }
    }

    /// A query block's attention with a rest of first order: kept blocks and rest apart, the rest's values moved by
    /// `scale · q·S`, both merged by their denominators.
    func attend(_ call: vdit_attend_call, kernel: AttentionKernel, scratch: Scratch) {
        let (count, dim) = (Int(call.rows), Int(call.head_dim))
        let q = scratch.tensor(.f32, [count, dim])
        call.q.widen(count, dim, into: q.pointer(as: Float.self))
        let memory = kernel.memory(for: [call], scratch)

        func part(kept: Int32, rest: Int32, masses: Bool = false) -> (values: Floats, lse: Floats) {
            let values = scratch.tensor(.f32, [count, dim]).pointer(as: Float.self)
            let lse = scratch.tensor(.f32, [count]).pointer(as: Float.self)
            var part = call
            part.q = vdit_token_rows(data: q.rawPointer, type: VDIT_F32, stride: Int64(dim), order: nil, first: 0)
            (part.kept_count, part.rest_count) = (kept, rest)
            if !masses { part.masses = nil }
            (part.out, part.out_type, part.out_stride, part.lse) = (.init(values), VDIT_F32, Int64(dim), lse)
            kernel.table.pointee.attend(&part, 1, memory.rawPointer)
            return (values, lse)
        }
        // Masses are those of the zeroth order: shares of all that is attended to.
        if call.masses != nil { _ = part(kept: call.kept_count, rest: call.rest_count, masses: true) }
        let rest = part(kept: 0, rest: call.rest_count)
        vdit_add_low_rank_for(set.isa)(
            rest.values, q.pointer(as: Float.self), matrix.pointer(as: Float.self), Int64(count), Int64(dim), Int64(dim),
            call.scale)
        let kept = call.kept_count > 0 ? part(kept: call.kept_count, rest: 0) : nil
        for i in 0..<count {
            let row = call.q.row(i)
            let values = rest.values + i * dim
            var logSumExp = rest.lse[i]
            if let kept {
                let most = max(logSumExp, kept.lse[i])
                logSumExp = most + logf(expf(logSumExp - most) + expf(kept.lse[i] - most))
                let (moved, exact) = (expf(rest.lse[i] - logSumExp), expf(kept.lse[i] - logSumExp))
                for c in 0..<dim { values[c] = moved * values[c] + exact * kept.values[i * dim + c] }
            }
            vdit_convert(
                values, VDIT_F32, call.out + row * Int(call.out_stride) * call.out_type.byteCount, call.out_type,
                Int64(dim))
            call.lse?[row] = logSumExp
        }
    }
}

extension vdit_token_rows {
    func row(_ index: Int) -> Int { order.map { Int($0[index]) } ?? Int(first) + index }

    /// The first rows, one behind the other in f32.
    fileprivate func widen(_ count: Int, _ columns: Int, into out: UnsafeMutablePointer<Float>) {
        for index in 0..<count {
            vdit_convert(
                data + row(index) * Int(stride) * type.byteCount, type, out + index * columns, VDIT_F32, Int64(columns))
        }
    }
}

extension vdit_float_type {
    /// Of f32 or bf16.
    fileprivate var byteCount: Int { self == VDIT_F32 ? 4 : 2 }
}
