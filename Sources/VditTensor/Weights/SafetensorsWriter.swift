import VditFiles

/// Writes safetensors files. The same tensors give the same bytes.
///
/// Order: larger types first, then by name, as the official writer does, so that every tensor is aligned.
/// Metadata is sorted by key.
public enum SafetensorsWriter {
    /// Writes a file that appears complete or not at all.
    ///
    /// - Throws: `TensorError.file` when it cannot be created or written, `.mismatch` for a name the format
    ///   cannot hold.
    public static func write(
        _ tensors: [String: Tensor], metadata: [String: String] = [:], to path: String,
        existing: ExistingFile
    ) throws(TensorError) {
        let ordered = inOrder(tensors)
        let header = try header(ordered.map { ($0, $1.dtype, $1.shape) }, metadata)
        try fileWork { () throws(FileError) in
            let file = try AtomicFile(path, existing: existing)
            try file.write(header)
            for (_, tensor) in ordered {
                try tensor.withBytes { (bytes) throws(FileError) in try file.write(bytes) }
            }
            try file.commit()
        }
    }

    /// Writes a file of zeros that takes no room on a disk, for what looks at names and shapes alone.
    ///
    /// - Throws: as `write`.
    public static func writeHollow(
        _ tensors: [(name: String, shape: [Int])], _ dtype: DType, to path: String, existing: ExistingFile
    ) throws(TensorError) {
        let header = try header(tensors.sorted { $0.name < $1.name }.map { ($0.name, dtype, $0.shape) }, [:])
        try fileWork { () throws(FileError) in
            let file = try AtomicFile(path, existing: existing)
            try file.write(header)
            try file.skip(tensors.reduce(0) { $0 + $1.shape.reduce(dtype.byteCount, *) })
            try file.commit()
        }
    }

    /// The bytes such a file would have.
    public static func bytes(
        _ tensors: [String: Tensor], metadata: [String: String] = [:]
    ) throws(TensorError) -> [UInt8] {
        let ordered = inOrder(tensors)
        var bytes = try header(ordered.map { ($0, $1.dtype, $1.shape) }, metadata)
        bytes.reserveCapacity(bytes.count + ordered.reduce(0) { $0 + $1.1.byteCount })
        for (_, tensor) in ordered { tensor.withBytes { bytes += $0 } }
        return bytes
    }

    private static func inOrder(_ tensors: [String: Tensor]) -> [(String, Tensor)] {
        tensors.sorted { a, b in
            let ranks = (rank(a.value.dtype), rank(b.value.dtype))
            return ranks.0 != ranks.1
                ? ranks.0 > ranks.1 : a.key.utf8.lexicographicallyPrecedes(b.key.utf8)
        }.map { ($0.key, $0.value) }
    }

    private static func header(
        _ tensors: [(name: String, dtype: DType, shape: [Int])], _ metadata: [String: String]
    ) throws(TensorError) -> [UInt8] {
        var entries: [String] = []
        if !metadata.isEmpty {
            let pairs = metadata.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
                .map { "\(quoted($0.key)):\(quoted($0.value))" }
            entries.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
        }
        var end = 0
        for (name, dtype, shape) in tensors {
            if name == "__metadata__" || name.unicodeScalars.contains(where: SafetensorsHeader.isForbidden)
                || shape.count > SafetensorsHeader.maxRank
            {
                throw .mismatch(
                    tensor: name, found: "rank \(shape.count)",
                    expected: "rank at most \(SafetensorsHeader.maxRank) and a name without control characters")
            }
            let start = end
            end += shape.reduce(dtype.byteCount, *)
            let extents = shape.map(String.init).joined(separator: ",")
            entries.append(
                "\(quoted(name)):{\"dtype\":\"\(dtype.rawValue)\",\"shape\":[\(extents)],"
                    + "\"data_offsets\":[\(start),\(end)]}")
        }
        var json = Array("{\(entries.joined(separator: ","))}".utf8)
        json += [UInt8](repeating: 0x20, count: (8 - json.count % 8) % 8)
        return (0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) } + json
    }

    /// The official writer's order of types.
    private static func rank(_ dtype: DType) -> Int {
        let order: [DType] = [
            .bool, .u8, .i8, .i16, .u16, .f16, .bf16, .i32, .u32, .f32, .f64, .i64, .u64,
        ]
        return order.firstIndex(of: dtype) ?? 0
    }

    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "\u{8}": result += "\\b"
            case "\u{c}": result += "\\f"
            case _ where scalar.value < 0x20:
                result += "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
