import VditFiles

/// A prompt in a file of its own.
public enum PromptFile {
    /// The file's text without the line ends it closes with.
    ///
    /// - Throws: `FileError`: no such file, more than `PromptEncoder.maxPromptBytes`, or not UTF-8.
    public static func text(_ path: String) throws(FileError) -> String {
        var bytes = try InputFile.contents(of: path, limit: PromptEncoder.maxPromptBytes)
        while let last = bytes.last, last == 0x0a || last == 0x0d { bytes.removeLast() }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .malformed(path: path, field: "content", found: "bytes that are not UTF-8", expected: "UTF-8 text")
        }
        return text
    }
}
