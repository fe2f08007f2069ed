import VditFiles
import VditMedia
import VditText

/// Which text encoder turns prompts into embeddings.
public struct TextEncoderChoice: Sendable, Hashable {
    /// A checkpoint's folder: its pipeline's rules, and its encoder and tokenizer where none are named.
    public var model: String?
    /// See `TextModelFolder`.
    public var folder: String?
    public var tokenizer: String?
    /// One of `PromptRules.all`, where neither model nor encoder tells.
    public var family: String?
    /// The model's class name, where no index beside it says.
    public var pipeline: String?

    public init(model: String? = nil, folder: String? = nil) { (self.model, self.folder) = (model, folder) }

    /// - Throws: `FileError`, `TensorError`, `PipelineError` as the encoder's files, or their absence, demand.
    public func open() throws -> PromptEncoder {
        var pipeline = pipeline
        if let model {
            let index = "\(model)/model_index.json"
            // A model in one file has none.
            if FilePath.exists(index) || folder == nil && FilePath.isFolder(model) {
                pipeline = try ConfigFile(path: index).stringIfPresent("_class_name")
            }
        }
        return try PromptEncoder(
            TextModelFolder(try place(), tokenizer: tokenizer), pipeline: pipeline, family: family)
    }

    private func place() throws(PipelineError) -> String {
        if let folder { return folder }
        if let model, FilePath.exists("\(model)/text_encoder") { return model }
        throw .invalid(
            "text encoder", found: model.map { "none in \($0)" } ?? "none", expected:
                "a model with text_encoder/ and tokenizer/, their folder by --text-encoder, or a prompt that is encoded "
                + "already; 'scripts/setup --text-encoder' brings the sample model's", kind: .missingInput)
    }
}

extension PromptEncoder {
    /// Of the encoder's files by name, size and header, and of the tokenizer's whole.
    func digest() throws -> String {
        var bytes: [UInt8] = []
        for file in try folder.weightIdentity() {
            bytes += Array("\(file.name) \(file.byteCount)\n".utf8) + file.header
        }
        return Digest.sha256(bytes + (try folder.tokenizerBytes()))
    }
}
