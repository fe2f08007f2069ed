import VditTensor

extension PatchGrid {
    /// The patches of a chunk's tokens through a linear layer, as the chunk's rows.
    ///
    /// - Parameter latents: `[channels, frames, height, width]` f32.
    func embed(_ latents: Tensor, _ chunk: RowChunk, _ embedding: Linear) throws(TensorError) {
        let patches = chunk.scratch.tensor(.f32, [chunk.rows.count, tokenSize])
        gather(latents, first: chunk.rows.lowerBound, into: patches)
        try embedding(patches.as(embedding.operandType, chunk.scratch), into: chunk.x, chunk.scratch)
    }
}

extension VideoModel {
    /// - Throws: `ModelError` unless these are `[channels, frames, height, width]` f32.
    func checkLatents(_ latents: Tensor, channels: Int) throws(ModelError) {
        guard latents.rank == 4, latents.shape[0] == channels, latents.dtype == .f32 else {
            throw .invalid(
                "latents", found: "\(latents.dtype.rawValue) \(latents.shape)",
                expected: "F32 [\(channels), frames, height, width]", kind: .badData)
        }
    }

    /// - Throws: `ModelError` unless there is one for all tokens or one for each.
    func checkTimesteps(_ timesteps: [Float], tokens: Int) throws(ModelError) {
        guard timesteps.count == 1 || timesteps.count == tokens else {
            throw .invalid(
                "timestep", found: "\(timesteps.count) values", expected: "1, or \(tokens), one per token",
                kind: .badData)
        }
    }
}
