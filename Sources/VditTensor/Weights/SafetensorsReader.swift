import VditFiles

/// A safetensors file. Opening it checks it completely; its tensors are views of the mapped file.
public final class SafetensorsReader: TensorFile {
    public let content: TensorFileContent

    /// Opens a file.
    ///
    /// - Throws: `FileError.missing`, `.inaccessible`, `.malformed` with the field at fault, or `.refused`
    ///   for a Git LFS pointer, a web page, a pickle, a zip or a GGUF file.
    public init(_ path: String) throws(FileError) {
        let file = try InputFile(path)
        let range = try SafetensorsHeader.range(
            start: file.read(0..<min(64, file.byteCount)), fileByteCount: file.byteCount, path: path)
        let header = try SafetensorsHeader(
            json: file.read(range), data: range.upperBound..<file.byteCount, path: path)
        let map = try FileMap(file)
        content = try TensorFileContent(
            path: path, metadata: header.metadata, tensors: header.tensors, header: range, storage: Storage(map),
            map: map)
    }

    /// Reads a file's bytes from memory; `name` stands for the path in errors.
    public init(bytes: [UInt8], name: String) throws(FileError) {
        let range = try SafetensorsHeader.range(
            start: Array(bytes.prefix(64)), fileByteCount: bytes.count, path: name)
        let header = try SafetensorsHeader(
            json: Array(bytes[range]), data: range.upperBound..<bytes.count, path: name)
        let storage = Storage(byteCount: bytes.count)
        bytes.withUnsafeBytes { storage.base.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        content = try TensorFileContent(
            path: name, metadata: header.metadata, tensors: header.tensors, header: range, storage: storage, map: nil)
    }
}
