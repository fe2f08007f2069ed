import VditFiles
import VditMedia
import VditTensor

/// What a text encoder made of a prompt, read from a file.
public struct PromptEmbedding: Sendable {
    /// `[tokens, width]` f32.
    public let tokens: Tensor
    public let path: String
    /// SHA-256 of the values as stored, and how they were stored.
    public let digest: String
    public let storedShape: [Int]
    public let storedType: DType
    /// The text, where the file's metadata tells it.
    public let prompt: String?
    /// The length the encoder pads to, where the file's metadata tells it.
    public let maxSequenceLength: Int?

    /// Keys a file may hold the tensor under: diffusers' argument name, then musubi-tuner's cache.
    private static let keys = ["prompt_embeds", "prompt_embeddings", "varlen_t5"]
    private static let negativeKeys = ["negative_prompt_embeds", "negative_prompt_embeddings"]

    /// Reads the prompt of a `.safetensors` or `.npy` file, and its negative prompt where it has one.
    ///
    /// - Parameter width: what the model expects per token.
    /// - Throws: `FileError` for a file that is no such file; `PipelineError.invalid` (65) naming file and
    ///   field for a wrong rank, width, type, length, or for NaN and infinities.
    public static func read(
        _ path: String, width: Int
    ) throws -> (prompt: PromptEmbedding, negative: PromptEmbedding?) {
        if path.hasSuffix(".npy") {
            let tensor = try Npy.read(path)
            return (try PromptEmbedding(tensor, name: "array", path, width, [:]), nil)
        }
        for (suffix, name) in [(".pt", "PyTorch"), (".pth", "PyTorch"), (".pkl", "pickle")]
        where path.hasSuffix(suffix) {
            throw FileError.refused(
                path: path, found: "a \(name) file, which can run code when it is loaded",
                advice: "convert it in Python: safetensors.torch.save_file({'prompt_embeds': "
                    + "torch.load(F, weights_only=True)}, 'prompt.safetensors')")
        }
        let file = try SafetensorsReader(path)
        let name = try find(keys, in: file, prefixes: true)
        guard let name else {
            throw PipelineError.invalid(
                "\(path): tensor prompt_embeds",
                found: "only " + file.names.prefix(5).joined(separator: ", "),
                expected: "prompt_embeds [tokens, \(width)]", kind: .badData)
        }
        let prompt = try PromptEmbedding(file.tensor(name), name: name, path, width, file.metadata)
        let negative = try find(negativeKeys, in: file, prefixes: false).map {
            try PromptEmbedding(
                file.tensor($0), name: $0, path, width,
                ["prompt": file.metadata["negative_prompt"]].compactMapValues { $0 })
        }
        return (prompt, negative)
    }

    private static func find(
        _ keys: [String], in file: SafetensorsReader, prefixes: Bool
    ) throws -> String? {
        if let exact = keys.first(where: { file.info($0) != nil }) { return exact }
        // musubi-tuner appends the type: varlen_t5_bf16.
        return prefixes ? file.names.first { $0.hasPrefix("varlen_t5_") } : nil
    }

    /// The all-zero embedding that stands for "no negative prompt".
    public static func zeros(like other: PromptEmbedding) -> PromptEmbedding {
        PromptEmbedding(
            tokens: Tensor(.f32, other.tokens.shape), path: "", digest: "zeros",
            storedShape: other.tokens.shape, storedType: .f32, prompt: nil,
            maxSequenceLength: nil)
    }

    private init(
        _ stored: Tensor, name: String, _ path: String, _ width: Int, _ metadata: [String: String]
    ) throws(PipelineError) {
        func refuse(_ field: String, _ found: String, _ expected: String) -> PipelineError {
            .invalid("\(path): \(name): \(field)", found: found, expected: expected, kind: .badData)
        }
        guard stored.dtype.isFloatingPoint else {
            throw refuse("dtype", stored.dtype.rawValue, "F32, F16 or BF16")
        }
        var shape = stored.shape
        if shape.count == 3 {
            guard shape[0] == 1 else {
                throw refuse("batch", "\(shape[0])", "1 (one prompt per file)")
            }
            shape.removeFirst()
        }
        guard shape.count == 2 else {
            throw refuse("shape", "\(stored.shape)", "[tokens, \(width)] or [1, tokens, \(width)]")
        }
        guard shape[1] == width else {
            throw refuse(
                "width", "\(shape[1])", "\(width), the text width of this model's transformer")
        }
        guard (1...4096).contains(shape[0]) else {
            throw refuse("tokens", "\(shape[0])", "1 to 4096")
        }
        let values = stored.converted(to: .f32).reshaped(shape)
        guard values.isFinite else {
            throw refuse("values", "NaN or infinity", "finite numbers")
        }
        self.init(
            tokens: values, path: path, digest: stored.withBytes { Digest.sha256($0) },
            storedShape: stored.shape, storedType: stored.dtype, prompt: metadata["prompt"],
            maxSequenceLength: metadata["max_sequence_length"].flatMap { Int($0) }
                .flatMap { (1...4096).contains($0) ? $0 : nil })
    }

    private init(
        tokens: Tensor, path: String, digest: String, storedShape: [Int], storedType: DType,
        prompt: String?, maxSequenceLength: Int?
    ) {
        self.tokens = tokens
        self.path = path
        self.digest = digest
        self.storedShape = storedShape
        self.storedType = storedType
        self.prompt = prompt
        self.maxSequenceLength = maxSequenceLength
    }

    /// The embedding at the length the model was trained with: zero rows appended, or rows cut off.
    ///
    /// - Returns: `[length, width]` f32, and what was done when something was.
    public func fitted(to length: Int) -> (tokens: Tensor, notice: String?) {
        let present = tokens.shape[0]
        if present == length { return (tokens, nil) }
        if present > length {
            let rest = tokens.slice(length..<present).withFloats { $0.contains { $0 != 0 } }
            let lost = rest ? "; the cut rows were not zero, the end of the prompt is lost" : ""
            return (
                tokens.slice(0..<length).copy(),
                "\(path): cut from \(present) to \(length) tokens, the model's length\(lost)"
            )
        }
        let result = Tensor(.f32, [length, tokens.shape[1]])
        result.slice(0..<present).assign(tokens)
        return (
            result,
            "\(path): \(present) tokens padded with zeros to \(length), the model's length"
        )
    }
}

/// The two embeddings of a run, at one length.
public struct PromptPair: Sendable {
    /// `[tokens, width]` f32 each.
    public let conditional: Tensor
    public let unconditional: Tensor
    public let prompt: PromptEmbedding
    public let negative: PromptEmbedding
    /// What was done to make them fit, in sentences.
    public let notices: [String]

    /// Reads both and makes them fit.
    ///
    /// - Parameters:
    ///   - negativePath: overrides a negative prompt in the file at `path`.
    ///   - width: what the model expects per token.
    ///   - length: the length the model was trained with, if known. Otherwise a length the file names, or
    ///     the longer of the two as they are.
    public init(
        path: String, negativePath: String?, width: Int, length: Int?, usesGuidance: Bool
    ) throws {
        let file = try PromptEmbedding.read(path, width: width)
        prompt = file.prompt
        var notices: [String] = []
        if let negativePath {
            negative = try PromptEmbedding.read(negativePath, width: width).prompt
        } else if let inFile = file.negative {
            negative = inFile
        } else {
            negative = .zeros(like: file.prompt)
            if usesGuidance {
                notices.append(
                    "no negative prompt embedding given: guidance uses an all-zero one")
            }
        }
        let length =
            length ?? file.prompt.maxSequenceLength
            ?? max(prompt.tokens.shape[0], negative.tokens.shape[0])
        let (conditional, first) = prompt.fitted(to: length)
        let (unconditional, second) = negative.fitted(to: length)
        self.conditional = conditional
        self.unconditional = unconditional
        if let first { notices.append(first) }
        if let second, !negative.path.isEmpty { notices.append(second) }
        self.notices = notices
    }
}
