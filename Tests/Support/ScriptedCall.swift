import VDiT

extension CacheContext {
    /// A call of a model that is nothing but what is decided about its blocks.
    public func predict(
        _ call: CacheCall, output: [Int] = [], scripted run: (((BlockState) throws -> BlockDecision)?) throws -> Tensor
    ) throws -> Tensor {
        try predict(call, output: output, conditional: nil) { prepare in
            var pass = ForwardPass(timesteps: [0]) { call in AttentionOutput(values: call.q, logSumExp: call.q) }
            prepare(&pass)
            return try run(pass.decideBlocks)
        }
    }
}
