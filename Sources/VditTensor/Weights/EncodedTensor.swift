/// A weight as it is stored in blocks, and what its values are multiplied by.
public struct EncodedTensor: Sendable {
    public let format: BlockFormat
    public let shape: [Int]
    /// `[bytes]` u8, rows one after the other.
    let bytes: Tensor
    /// One f32 for all of it, or one for each of `shape[0]`; nil where blocks carry their own.
    let scales: Tensor?
    /// Elements of a row that were rotated together, a power of four; nil where nothing was.
    let rotation: Int?
    /// What it is called in the file at `path`.
    let name: String
    let path: String

    /// Rows of the last axis.
    fileprivate var rowCount: Int { shape.dropLast().reduce(1, *) }
    fileprivate var columns: Int { shape.last ?? 1 }

    /// Values of some rows, rounded to nearest even where `out` is no f32.
    ///
    /// - Parameter out: `[rows.count, columns]` of a floating-point type.
    /// - Throws: `FileError.malformed` for values that are not finite.
    func read(_ rows: Range<Int>, into out: Tensor, _ scratch: Scratch) throws(TensorError) {
        precondition(out.count == rows.count * columns)
        let first = rows.lowerBound * columns
        if format == .q8_0, scales == nil, [.f32, .bf16].contains(out.dtype) {
            // Whether values are finite their scales say: they are not looked at again.
            let wrong = BlockFormat.decodeQ8(bytes(of: rows), count: out.count, into: out.rawPointer, as: out.dtype)
            if let wrong { throw Tensor.notFinite(name, of: path, first + wrong) }
            return
        }
        let values = out.dtype == .f32 ? out : scratch.tensor(.f32, [rows.count, columns])
        decode(rows, into: values)
        try values.checkFinite(name, of: path, from: first)
        if out.dtype != .f32 { out.convert(from: values) }
    }

    private func bytes(of rows: Range<Int>) -> UnsafeRawPointer {
        UnsafeRawPointer(bytes.rawPointer + rows.lowerBound * format.byteCount(ofRow: columns))
    }

    /// - Parameter out: `[rows.count, columns]` f32.
    private func decode(_ rows: Range<Int>, into out: Tensor) {
        let (columns, values) = (columns, out.pointer(as: Float.self))
        format.decode(bytes(of: rows), count: rows.count * columns, into: values)
        guard let scales else { return }
        let rowsOfScale = scales.count == 1 ? Int.max : rowCount / scales.count
        for (index, row) in rows.enumerated() {
            let scale = scales.pointer(as: Float.self)[row / rowsOfScale]
            let out = values + index * columns
            for column in 0..<columns { out[column] *= scale }
            if let rotation { Self.rotate(out, columns, groups: rotation) }
        }
    }

    /// All of it as f32, finite or not.
    public func decoded() -> Tensor {
        let result = Tensor(.f32, shape)
        decode(0..<rowCount, into: result)
        return result
    }

    /// Multiplies groups of a row by the normalised Kronecker power of
    /// `½·[[1,1,1,−1], [1,1,−1,1], [1,−1,1,1], [−1,1,1,1]]`, which is its own inverse.
    static func rotate(_ row: UnsafeMutablePointer<Float>, _ columns: Int, groups: Int) {
        var stride = 1
        while stride < groups {
            for start in Swift.stride(from: 0, to: columns, by: 4 * stride) {
                for index in start..<start + stride {
                    let (a, b) = (row[index], row[index + stride])
                    let (c, d) = (row[index + 2 * stride], row[index + 3 * stride])
                    row[index] = (a + b + c - d) / 2
                    row[index + stride] = (a + b - c + d) / 2
                    row[index + 2 * stride] = (a - b + c + d) / 2
                    row[index + 3 * stride] = (b + c + d - a) / 2
                }
            }
            stride *= 4
        }
    }
}

/// A weight as its source has it.
public enum StoredWeight: Sendable {
    case values(Tensor)
    case blocks(EncodedTensor)

    public var shape: [Int] {
        switch self {
        case .values(let tensor): tensor.shape
        case .blocks(let encoded): encoded.shape
        }
    }

    public var count: Int { shape.reduce(1, *) }

    /// All of it, of a floating-point type.
    ///
    /// - Throws: `FileError.malformed` for blocks whose values are not finite.
    public func tensor() throws(TensorError) -> Tensor {
        switch self {
        case .values(let tensor): return tensor
        case .blocks(let encoded):
            let values = encoded.decoded()
            try values.checkFinite(encoded.name, of: encoded.path)
            return values
        }
    }

    /// Some of `shape[0]`'s rows, rounded to nearest even where `out` cannot hold them.
    ///
    /// - Parameter out: as many values of a floating-point type.
    /// - Throws: as `tensor` does.
    func read(_ rows: Range<Int>, into out: Tensor, _ scratch: Scratch) throws(TensorError) {
        switch self {
        case .values(let tensor): out.convert(from: tensor.slice(rows))
        case .blocks(let encoded):
            let each = encoded.rowCount / encoded.shape[0]
            try encoded.read(rows.lowerBound * each..<rows.upperBound * each, into: out, scratch)
        }
    }
}
