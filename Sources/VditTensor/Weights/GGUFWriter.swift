import VditFiles

/// Writes GGUF files, version 3. The same tensors give the same bytes.
public enum GGUFWriter {
    public struct Entry: Sendable {
        public let name: String
        public let shape: [Int]
        public let type: StoredType

        /// - Parameter type: one whose blocks the rows are whole of.
        public init(name: String, shape: [Int], type: StoredType) {
            precondition(type.fits(shape))
            (self.name, self.shape, self.type) = (name, shape, type)
        }
    }

    private static let alignment = 32

    /// Writes a file that appears complete or not at all. Tensors are asked for one at a time.
    ///
    /// - Parameters:
    ///   - architecture: `wan`, `ltxv`.
    ///   - most: the type of most weights.
    ///   - tensor: floating-point values of an entry's shape.
    /// - Throws: what `tensor` throws, `TensorError` when it cannot be written or a value does not fit its type.
    public static func write(
        _ entries: [Entry], architecture: String, most: StoredType, to path: String, existing: ExistingFile,
        tensor: (Entry) throws -> Tensor
    ) throws {
        var header = Array("GGUF".utf8) + bytes(UInt32(3)) + bytes(UInt64(entries.count)) + bytes(UInt64(3))
        header += text("general.architecture") + bytes(UInt32(8)) + text(architecture)
        for (key, value) in [("general.quantization_version", 2), ("general.file_type", most.ggufFileType)] {
            header += text(key) + bytes(UInt32(4)) + bytes(value)
        }
        var offset = 0
        for entry in entries {
            header += text(entry.name) + bytes(UInt32(entry.shape.count))
            for extent in entry.shape.reversed() { header += bytes(UInt64(extent)) }
            header += bytes(entry.type.ggufNumber) + bytes(UInt64(offset))
            offset += padded(entry.type.byteCount(entry.shape))
        }
        let file = try AtomicFile(path, existing: existing)
        try file.write(header + zeros(padded(header.count) - header.count))
        for entry in entries {
            let stored = try entry.type.stored(tensor(entry), name: entry.name)
            try stored.withBytes { (bytes) throws(FileError) in try file.write(bytes) }
            try file.write(zeros(padded(stored.byteCount) - stored.byteCount))
        }
        try file.commit()
    }

    private static func padded(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }

    private static func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }

    private static func bytes(_ number: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: number.littleEndian, Array.init)
    }

    private static func text(_ text: String) -> [UInt8] { bytes(UInt64(text.utf8.count)) + Array(text.utf8) }
}
