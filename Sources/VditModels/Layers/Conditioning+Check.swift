import VditTensor

extension Conditioning {
    /// - Throws: `ModelError` unless prompt, mask and pooled vector are what a model takes.
    func check(_ needs: ConditioningNeeds) throws(ModelError) {
        guard prompt.rank == 2, prompt.shape[0] > 0, prompt.shape[1] == needs.promptWidth,
            prompt.dtype.isFloatingPoint
        else {
            throw .invalid(
                "prompt embedding", found: "\(prompt.dtype.rawValue) \(prompt.shape)",
                expected: "floating point [tokens, \(needs.promptWidth)]", kind: .badData)
        }
        if needs.takesMask {
            guard let mask, mask.count == prompt.shape[0], needs.takesEmptyPrompt || mask.contains(true) else {
                throw .invalid(
                    "prompt mask", found: mask.map { "\($0.count) values" } ?? "none",
                    expected: "\(prompt.shape[0]), at least one of them set", kind: .badData)
            }
        }
        if let width = needs.pooledWidth {
            guard let pooled, pooled.dtype == .f32, pooled.shape == [width] else {
                throw .invalid(
                    "pooled prompt", found: pooled.map { "\($0.dtype.rawValue) \($0.shape)" } ?? "none",
                    expected: "F32 [\(width)]", kind: .badData)
            }
        }
        if needs.takesFrameRate {
            guard let rate = frameRate, rate > 0, rate.isFinite else {
                throw .invalid(
                    "frame rate", found: frameRate.map { "\($0)" } ?? "none", expected: "frames per second",
                    kind: .badData)
            }
        }
        if needs.takesGuidance {
            guard let guidance, guidance.isFinite else {
                throw .invalid(
                    "embedded guidance", found: guidance.map { "\($0)" } ?? "none", expected: "a number",
                    kind: .badData)
            }
        }
    }

    /// The prompt's valid tokens. A reference that adds −10000 to the scores of the others computes the same: their
    /// weight is zero in fp32.
    var validPrompt: Tensor {
        guard let mask, mask.contains(false) else { return prompt }
        let result = Tensor(prompt.dtype, [textTokens, prompt.shape[1]])
        for (row, token) in mask.indices.filter({ mask[$0] }).enumerated() {
            result[row].assign(prompt[token])
        }
        return result
    }
}
