import VditFiles

/// Reads a header's fields one after the other; none goes beyond the file.
struct GGUFCursor {
    private let all: UnsafeRawBufferPointer
    private let path: String
    private(set) var position = 0

    init(_ bytes: UnsafeRawBufferPointer, path: String) { (all, self.path) = (bytes, path) }

    private var left: Int { all.count - position }

    func malformed(_ field: String, _ found: String, _ expected: String) -> FileError {
        .malformed(path: path, field: field, found: found, expected: expected)
    }

    /// The next bytes, and past them.
    mutating func bytes(_ count: Int, _ field: String) throws(FileError) -> UnsafeRawBufferPointer {
        guard count >= 0, count <= left else {
            throw malformed(field, "\(count) bytes", "at most the \(left) that are left of the file")
        }
        defer { position += count }
        return UnsafeRawBufferPointer(rebasing: all[position..<position + count])
    }

    mutating func integer<Number: FixedWidthInteger & BitwiseCopyable>(
        _ type: Number.Type, _ field: String
    ) throws(FileError) -> Number {
        Number(littleEndian: try bytes(MemoryLayout<Number>.size, field).loadUnaligned(as: type))
    }

    /// A u64 that counts what follows.
    mutating func count(_ field: String, atMost limit: Int, bytesOfEach size: Int) throws(FileError) -> Int {
        let number = try integer(UInt64.self, field)
        guard let count = Int(exactly: number), count <= limit, count <= left / size else {
            throw malformed(field, "\(number)", "at most \(min(limit, left / size)), what the file has room for")
        }
        return count
    }

    /// A text; nil for one longer than is kept, which is passed over.
    mutating func text(_ field: String, atMost limit: Int) throws(FileError) -> String? {
        let length = try count(field, atMost: Int.max, bytesOfEach: 1)
        let bytes = try bytes(length, field)
        if length > limit { return nil }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw malformed(field, "bytes that are no UTF-8", "a text in UTF-8")
        }
        return text
    }

    /// The name of a key or a tensor.
    mutating func name(_ field: String, atMost limit: Int) throws(FileError) -> String {
        guard let name = try text(field, atMost: limit), !name.isEmpty, !name.utf8.contains(0) else {
            throw malformed(field, "one that is empty, too long or holds a NUL", "1 to \(limit) bytes")
        }
        return name
    }
}
