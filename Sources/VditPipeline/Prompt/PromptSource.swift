import VditFiles
import VditText

/// A prompt as somebody gives it.
public enum PromptSource: Sendable, Hashable {
    /// What a text encoder made of it: `.safetensors` or `.npy`, see `PromptEmbedding`.
    case embedding(String)
    case text(String)
    /// A UTF-8 file with the text.
    case textFile(String)

    /// The words; nil where only an encoder's result is known.
    ///
    /// - Throws: `SettingFailure` of "prompt_file" for a file that cannot be read, is too large or not UTF-8;
    ///   `FileError.malformed` for words that are not UTF-8.
    public func words() throws -> String? {
        switch self {
        case .embedding: nil
        case .text(let text):
            if text.holdsEscapedBytes {
                throw FileError.inaccessible(path: "prompt", reason: "the words are not UTF-8", kind: .usage)
            } else { text }
        case .textFile(let path): try blaming("prompt_file") { try PromptFile.text(path) }
        }
    }

    /// The file that is read.
    public var path: String? {
        switch self {
        case .embedding(let path), .textFile(let path): path
        case .text: nil
        }
    }

    public var embedding: String? { if case .embedding(let path) = self { path } else { nil } }
    var text: String? { if case .text(let text) = self { text } else { nil } }
    var textFile: String? { if case .textFile(let path) = self { path } else { nil } }

    /// What files and rows of tables call it: the file's name without its ending, or the words.
    public var name: String { path.map(FilePath.stem) ?? text ?? "" }
}
