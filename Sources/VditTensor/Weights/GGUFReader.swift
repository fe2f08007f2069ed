import VditFiles

/// A GGUF file, version 2 or 3. Opening it checks it completely; its tensors are views of the mapped file.
///
/// - Source: the GGUF text of the ggml repository; types and limits as gguf-py 0.19.0 has them.
/// - Differs: overlapping tensors, ranks above 8, names that are empty or not UTF-8, and numbers that are not finite
///   are refused.
public final class GGUFReader: TensorFile {
    public let content: TensorFileContent

    /// - Throws: `FileError.missing`, `.inaccessible`, `.malformed` with the field at fault; `.unsupported` (69) for
    ///   types no video model is published in, a part of several files, and models of language or pictures.
    public init(_ path: String) throws(FileError) {
        let map = try FileMap(InputFile(path))
        let storage = Storage(map)
        let header = try GGUFHeader(
            UnsafeRawBufferPointer(start: storage.base, count: storage.byteCount), path: path)
        content = try TensorFileContent(
            path: path, metadata: header.metadata, tensors: header.tensors, header: 0..<header.byteCount,
            storage: storage, map: map, checksNumbers: true)
    }

    /// Whether a file begins as one does.
    ///
    /// - Throws: `FileError` for a file that cannot be read.
    static func recognises(_ path: String) throws(FileError) -> Bool {
        let file = try InputFile(path)
        return try file.read(0..<min(4, file.byteCount)).elementsEqual("GGUF".utf8)
    }
}
