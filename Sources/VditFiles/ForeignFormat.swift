/// A file that is not safetensors, recognised by its first bytes.
package struct ForeignFormat {
    package let found: String
    package let advice: String
    /// Whether PyTorch wrote it in a form that can run code.
    package var isPickle = false

    /// - Throws: `FileError` for a file that cannot be read.
    package static func of(_ path: String) throws(FileError) -> ForeignFormat? {
        let file = try InputFile(path)
        return recognise(try file.read(0..<min(64, file.byteCount)))
    }

    package static func recognise(_ start: [UInt8]) -> ForeignFormat? {
        func begins(_ text: String) -> Bool { start.starts(with: text.utf8) }
        let torch = "load it in Python and write it with safetensors.torch.save_file"
        if begins("version https://git-lfs") {
            return ForeignFormat(
                found: "a Git LFS pointer, not the file itself", advice: "fetch the content with `git lfs pull`")
        }
        if begins("PK\u{3}\u{4}") {
            return ForeignFormat(found: "a zip archive, as torch.save makes", advice: torch, isPickle: true)
        }
        if start.count > 2 && start[0] == 0x80 && (2...5).contains(start[1]) && start[2] != 0 {
            return ForeignFormat(
                found: "a Python pickle", advice: "pickles can run code; " + torch, isPickle: true)
        }
        if begins("GGUF") || begins("GGML") {
            return ForeignFormat(
                found: "a \(begins("GGUF") ? "GGUF" : "GGML") file",
                advice: begins("GGUF")
                    ? "only a model's weights may be one" : "use the model's GGUF or safetensors release")
        }
        if start.starts(with: [0x93]) && start.dropFirst().starts(with: "NUMPY".utf8) {
            return ForeignFormat(
                found: "a NumPy array", advice: "name it .npy, or write it with safetensors.numpy.save_file")
        }
        if start.starts(with: [0x1f, 0x8b]) {
            return ForeignFormat(found: "a gzip archive", advice: "unpack it first")
        }
        let text = start.drop { [0x20, 0x09, 0x0a, 0x0d, 0xef, 0xbb, 0xbf].contains($0) }
        if text.first == UInt8(ascii: "<") {
            return ForeignFormat(
                found: "an HTML or XML page", advice: "the download was answered by a web page; download it again")
        }
        if text.first == UInt8(ascii: "{") {
            return ForeignFormat(
                found: "JSON text",
                advice: "give the .safetensors file, or the directory that holds the index; an error message saved by a download has to be downloaded again")
        }
        return nil
    }
}
