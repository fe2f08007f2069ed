import VditFiles
import VditTensor
import VditText

/// Turns a prompt into the embedding file that a render takes.
public struct EmbedJob: Sendable {
    public var choice = TextEncoderChoice()
    public var prompt: String
    /// What pipelines encode where nobody names one is the empty text.
    public var negativePrompt = ""
    public var precision = Precision.bf16
    public var threads = 1
    /// Whether the threads keep to memory nodes (`WorkerPlaces`).
    public var numa = false

    public init(prompt: String) { self.prompt = prompt }

    /// What `run` made.
    public struct Result: Sendable {
        public let prompt: EncodedPrompt
        public let negative: EncodedPrompt
        /// What a person should know: text that was cut off, where the threads ran.
        public let notices: [String]

        init(_ encoded: [EncodedPrompt], _ compute: ComputeContext) {
            (prompt, negative) = (encoded[0], encoded[1])
            notices = [prompt.notice("the prompt"), negative.notice("the negative prompt")].compactMap { $0 }
                + compute.notices
        }
    }

    /// Encodes both prompts and writes the file.
    ///
    /// - Parameter progress: called after each layer with the layers done and their number.
    public func run(
        to path: String, existing: ExistingFile, progress: (_ done: Int, _ layers: Int) -> Void = { _, _ in }
    ) throws -> Result {
        try FileRoles(
            reads: ["model": choice.model, "text encoder": choice.folder, "tokenizer": choice.tokenizer],
            makes: ["embedding": path]
        ).check()
        try AtomicFile.checkStream(path, existing: existing)
        let encoder = try choice.open()
        let compute = try ComputeContext(threads: threads, numa: numa, precision: precision.unquantised)
        let encoded = try encoder.encode([prompt, negativePrompt], compute: compute, progress: progress)
        let result = Result(encoded, compute)
        var tensors = [
            "prompt_embeds": Self.batched(result.prompt.embedding),
            "negative_prompt_embeds": Self.batched(result.negative.embedding),
        ]
        if let mask = result.prompt.mask { tensors["prompt_attention_mask"] = Self.batched(mask) }
        if let mask = result.negative.mask { tensors["negative_prompt_attention_mask"] = Self.batched(mask) }
        try SafetensorsWriter.write(tensors, metadata: [
            "format": "vdit-embedding-1", "prompt": prompt, "negative_prompt": negativePrompt,
            "text_encoder": encoder.encoder.name, "text_encoder_digest": try encoder.digest(),
            "max_sequence_length": "\(encoder.rules.length)", "precision": precision.unquantised.rawValue,
        ], to: path, existing: existing)
        return result
    }

    /// `[1, …]`, as diffusers has its prompts.
    private static func batched(_ tensor: Tensor) -> Tensor { tensor.reshaped([1] + tensor.shape) }
}
