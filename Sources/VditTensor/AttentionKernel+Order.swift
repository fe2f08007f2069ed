import CVditKernels

// Of two kernels that give the same bits, the one this CPU is faster with.

extension AttentionKernel {
    /// Tried once per process; about a millisecond.
    static let fasterAMX = AttentionKernel(vdit_attention_kernel(VDIT_ISA_AMX, VDIT_BF16)).faster

    /// The same work in another order, if there is such a kernel.
    var alternative: AttentionKernel? { table.pointee.alternative.map { AttentionKernel($0) } }

    /// This kernel or its alternative.
    package var faster: AttentionKernel {
        guard let alternative else { return self }
        return alternative.fewestSeconds < fewestSeconds ? alternative : self
    }

    /// Of a few calls with 128 queries and 2048 keys, all zeros.
    private var fewestSeconds: Double {
        let pool = WorkPool(threads: 1)
        let keys = Tensor(.bf16, [1, 2048, 128])
        let packed = PackedKeys(k: keys, v: keys, kernel: self, pool: pool)
        let q = Tensor(.bf16, [1, Self.rows, 128])
        let out = Tensor(.f32, [1, Self.rows, 128])
        return (0..<5).map { _ in
            let start = ContinuousClock.now
            pool.run(1) { _, scratch in
                packed.attend(
                    head: 0, q: HeadView(headMajor: q, head: 0), positions: 0..<Self.rows, kept: [0], scale: 1,
                    out: HeadView(headMajor: out, head: 0), scratch: scratch)
            }
            return start.secondsUntilNow
        }.min() ?? 0
    }
}
