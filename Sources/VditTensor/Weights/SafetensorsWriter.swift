import VditFiles

/// Writes safetensors files. The same tensors give the same bytes.
///
/// Order: larger types first, then by name, as the official writer does, so that every tensor is aligned.
/// Metadata is sorted by key.
public enum SafetensorsWriter {
    public struct Entry: Sendable {
        public let name: String
        public let dtype: DType
        public let shape: [Int]

        public init(name: String, dtype: DType, shape: [Int]) {
            (self.name, self.dtype, self.shape) = (name, dtype, shape)
        }

        var byteCount: Int { shape.reduce(dtype.byteCount, *) }
    }

    /// Writes a file that appears complete or not at all.
    ///
    /// - Throws: `FileError` when it cannot be created or written, `TensorError.mismatch` for a name the format
    ///   cannot hold.
    public static func write(
        _ tensors: [String: Tensor], metadata: [String: String] = [:], to path: String,
        existing: ExistingFile
    ) throws {
        // The names are those of the tensors.
        try write(entries(of: tensors), metadata: metadata, to: path, existing: existing) { tensors[$0.name]! }
    }

    /// The same of tensors that are asked for one at a time.
    ///
    /// - Parameter tensor: of an entry's type and shape.
    /// - Throws: what `tensor` throws, and as above.
    public static func write(
        _ entries: [Entry], metadata: [String: String] = [:], to path: String, existing: ExistingFile,
        tensor: (Entry) throws -> Tensor
    ) throws {
        let entries = inOrder(entries)
        let header = try header(entries, metadata)
        let file = try AtomicFile(path, existing: existing)
        try file.write(header)
        for entry in entries {
            let tensor = try tensor(entry)
            precondition(tensor.dtype == entry.dtype && tensor.shape == entry.shape)
            try tensor.withBytes { (bytes) throws(FileError) in try file.write(bytes) }
        }
        try file.commit()
    }

    /// Writes a file of zeros that takes no room on a disk, for what looks at names and shapes alone.
    ///
    /// - Throws: as `write`.
    public static func writeHollow(
        _ entries: [Entry], to path: String, existing: ExistingFile
    ) throws(TensorError) {
        let header = try header(inOrder(entries), [:])
        try fileWork { () throws(FileError) in
            let file = try AtomicFile(path, existing: existing)
            try file.write(header)
            try file.skip(entries.reduce(0) { $0 + $1.byteCount })
            try file.commit()
        }
    }

    /// The bytes such a file would have.
    public static func bytes(
        _ tensors: [String: Tensor], metadata: [String: String] = [:]
    ) throws(TensorError) -> [UInt8] {
        let entries = inOrder(entries(of: tensors))
        var bytes = try header(entries, metadata)
        bytes.reserveCapacity(bytes.count + entries.reduce(0) { $0 + $1.byteCount })
        for entry in entries { tensors[entry.name]?.withBytes { bytes += $0 } }
        return bytes
    }

    private static func entries(of tensors: [String: Tensor]) -> [Entry] {
        tensors.map { Entry(name: $0, dtype: $1.dtype, shape: $1.shape) }
    }

    private static func inOrder(_ entries: [Entry]) -> [Entry] {
        entries.sorted { a, b in
            let ranks = (rank(a.dtype), rank(b.dtype))
            return ranks.0 != ranks.1 ? ranks.0 > ranks.1 : a.name.utf8.lexicographicallyPrecedes(b.name.utf8)
        }
    }

    private static func header(
        _ entries: [Entry], _ metadata: [String: String]
    ) throws(TensorError) -> [UInt8] {
        var fields: [String] = []
        if !metadata.isEmpty {
            let pairs = metadata.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
                .map { "\(quoted($0.key)):\(quoted($0.value))" }
            fields.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
        }
        var end = 0
        for entry in entries {
            let (name, shape) = (entry.name, entry.shape)
            if name == "__metadata__" || name.unicodeScalars.contains(where: SafetensorsHeader.isForbidden)
                || shape.count > SafetensorsHeader.maxRank
            {
                throw .mismatch(
                    tensor: name, found: "rank \(shape.count)",
                    expected: "rank at most \(SafetensorsHeader.maxRank) and a name without control characters")
            }
            let start = end
            end += entry.byteCount
            let extents = shape.map(String.init).joined(separator: ",")
            fields.append(
                "\(quoted(name)):{\"dtype\":\"\(entry.dtype.rawValue)\",\"shape\":[\(extents)],"
                    + "\"data_offsets\":[\(start),\(end)]}")
        }
        var json = Array("{\(fields.joined(separator: ","))}".utf8)
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
