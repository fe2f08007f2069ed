import VditFiles
import VditMedia
import VditTensor
import VditText

/// Turns a prompt into the embedding file that a render takes.
public struct EmbedJob: Sendable {
    /// A checkpoint's folder: its pipeline's rules, and its encoder and tokenizer where none are named.
    public var model: String?
    /// See `TextModelFolder`.
    public var textEncoder: String?
    public var tokenizer: String?
    /// One of `PromptRules.all`, where neither model nor encoder tells.
    public var family: String?
    public var prompt: String
    /// What pipelines encode where nobody names one is the empty text.
    public var negativePrompt = ""
    public var precision = Precision.bf16
    public var threads = 1

    public init(prompt: String) { self.prompt = prompt }

    /// - Throws: `FileError`, `TensorError`, `PipelineError` as the encoder's files, or their absence, demand.
    public func encoder() throws -> PromptEncoder {
        var pipeline: String?
        if let model {
            let index = "\(model)/model_index.json"
            if textEncoder == nil || FilePath.exists(index) {
                pipeline = try ConfigFile(path: index).stringIfPresent("_class_name")
            }
        }
        return try PromptEncoder(
            TextModelFolder(try place(), tokenizer: tokenizer), pipeline: pipeline, family: family)
    }

    private func place() throws(PipelineError) -> String {
        if let textEncoder { return textEncoder }
        if let model, FilePath.exists("\(model)/text_encoder") { return model }
        throw .invalid(
            "text encoder", found: model.map { "none in \($0)" } ?? "none", expected:
                "a model with text_encoder/ and tokenizer/, or their folder; for the sample model "
                + "'scripts/setup --text-encoder' brings it to samples/.text-encoder", kind: .missingInput)
    }

    /// What `run` made.
    public struct Result: Sendable {
        public let prompt: EncodedPrompt
        public let negative: EncodedPrompt
        /// What a person should know: text that was cut off.
        public var notices: [String] {
            [("the prompt", prompt), ("the negative prompt", negative)].compactMap { name, encoded in
                encoded.lost.map { lost in
                    let shown = lost.count > 200 ? "\(lost.prefix(200))…" : lost
                    return "\(name) is cut to \(encoded.ids.count) tokens; lost: \"\(shown)\""
                }
            }
        }
    }

    /// Encodes both prompts and writes the file.
    ///
    /// - Parameter progress: called after each layer with the layers done and their number.
    public func run(
        to path: String, existing: ExistingFile, progress: (_ done: Int, _ layers: Int) -> Void = { _, _ in }
    ) throws -> Result {
        try FileRoles(
            reads: ["model": model, "text encoder": textEncoder, "tokenizer": tokenizer], makes: ["embedding": path]
        ).check()
        try AtomicFile.check(path, existing: existing)
        let encoder = try encoder()
        let compute = try ComputeContext(threads: threads, precision: precision)
        let encoded = try encoder.encode([prompt, negativePrompt], compute: compute, progress: progress)
        let result = Result(prompt: encoded[0], negative: encoded[1])
        var tensors = [
            "prompt_embeds": Self.batched(result.prompt.embedding),
            "negative_prompt_embeds": Self.batched(result.negative.embedding),
        ]
        if let mask = result.prompt.mask { tensors["prompt_attention_mask"] = Self.batched(mask) }
        if let mask = result.negative.mask { tensors["negative_prompt_attention_mask"] = Self.batched(mask) }
        try SafetensorsWriter.write(tensors, metadata: [
            "format": "vdit-embedding-1", "prompt": prompt, "negative_prompt": negativePrompt,
            "text_encoder": encoder.encoder.name, "text_encoder_digest": try Self.digest(encoder.folder),
            "max_sequence_length": "\(encoder.rules.length)", "precision": precision.rawValue,
        ], to: path, existing: existing)
        return result
    }

    /// `[1, …]`, as diffusers has its prompts.
    private static func batched(_ tensor: Tensor) -> Tensor { tensor.reshaped([1] + tensor.shape) }

    /// Of the encoder's files by name, size and header, and of the tokenizer's whole.
    private static func digest(_ folder: TextModelFolder) throws -> String {
        var bytes: [UInt8] = []
        for file in try folder.weightIdentity() {
            bytes += Array("\(file.name) \(file.byteCount)\n".utf8) + file.header
        }
        return Digest.sha256(bytes + (try folder.tokenizerBytes()))
    }
}
