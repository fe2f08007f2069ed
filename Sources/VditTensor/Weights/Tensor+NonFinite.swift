import VditFiles

extension Tensor {
    /// Position of the first NaN or infinity in row-major order; nil when there is none, or the type is
    /// not floating point.
    public var firstNonFinite: Int? {
        switch dtype {
        case .f32: first(where: 0x7f80_0000 as UInt32)
        case .f64: first(where: 0x7ff0_0000_0000_0000 as UInt64)
        case .bf16: first(where: 0x7f80 as UInt16)
        case .f16: first(where: 0x7c00 as UInt16)
        default: nil
        }
    }

    /// - Parameters:
    ///   - name: of the tensor these values are from, in the file at `path`.
    ///   - first: its element that the first of them is.
    /// - Throws: `FileError.malformed` naming it for a NaN or an infinity.
    func checkFinite(_ name: String, of path: String, from first: Int = 0) throws(TensorError) {
        if let position = firstNonFinite { throw Self.notFinite(name, of: path, first + position) }
    }

    /// What is said of a NaN or an infinity.
    static func notFinite(_ name: String, of path: String, _ element: Int) -> TensorError {
        .file(
            .malformed(
                path: path, field: "tensor \(name.shortened)", found: "NaN or infinity, element \(element)",
                expected: "finite numbers"))
    }

    /// The first element with all bits of `exponent` set.
    private func first<Bits: FixedWidthInteger>(where exponent: Bits) -> Int? {
        let values = UnsafeBufferPointer(start: pointer(as: Bits.self), count: count)
        let (chunk, lowest) = (4096, exponent & (~exponent &+ 1))
        for start in stride(from: 0, to: values.count, by: chunk) {
            let range = start..<min(start + chunk, values.count)
            // Without a branch or a comparison inside, so that the compiler vectorises it: only an exponent of ones
            // carries into the sign's place.
            var found: Bits = 0
            for index in range { found |= (values[index] & exponent) &+ lowest }
            if found & (exponent &+ lowest) != 0 { return range.first { values[$0] & exponent == exponent } }
        }
        return nil
    }
}
