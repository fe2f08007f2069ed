import VditTensor

extension Tensor {
    /// Which tokens of a prompt are valid, as its file says; nil unless this is a 0 or 1 for each, some of them 1.
    ///
    /// - Parameter mayBeEmpty: for models to which a prompt without tokens means something.
    func promptMask(tokens: Int, mayBeEmpty: Bool) -> [Bool]? {
        guard count == tokens, shape.last == tokens, let values = wholeNumbers,
            values.allSatisfy({ $0 == 0 || $0 == 1 }), mayBeEmpty || values.contains(1)
        else { return nil }
        return values.map { $0 == 1 }
    }
}
