import VditFiles
import VditMedia
import VditModels
import VditTensor
import VditText

/// What a text encoder made of a prompt: read from a file, or of a text.
public struct PromptEmbedding: Sendable {
    /// `[tokens, width]` f32.
    public let tokens: Tensor
    /// Which tokens are valid, where the model takes a mask.
    public let mask: [Bool]?
    /// `[width]` f32 of a second text encoder, where the model takes it.
    public let pooled: Tensor?
    /// Nil for the zeros that stand for none.
    public let source: PromptSource?
    /// What encoded a text; nil for a file.
    let encoder: RunRecord.TextEncoder?
    /// SHA-256 of the values as stored, mask and pooled vector included where the model takes them, and how the
    /// tokens were stored.
    public let digest: String
    /// Of what the values follow from: of a text and its encoder. Else `digest`.
    let sourceDigest: String
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
    /// - Parameter needs: what the model takes.
    /// - Throws: `TensorError` for a file that is no such file; `PipelineError.invalid` (65) naming file and
    ///   field for a wrong rank, width, type, length, or for NaN and infinities.
    public static func read(
        _ path: String, needs: ConditioningNeeds
    ) throws -> (prompt: PromptEmbedding, negative: PromptEmbedding?) {
        if path.hasSuffix(".npy") {
            let tensor = try Npy.read(path)
            return (try PromptEmbedding(tensor, name: "array", path, needs, Extras(path: path), [:]), nil)
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
                expected: "prompt_embeds [tokens, \(needs.promptWidth)]", kind: .badData)
        }
        let prompt = try PromptEmbedding(
            file.tensor(name), name: name, path, needs, Extras(file, prefix: ""), file.metadata)
        let negative = try find(negativeKeys, in: file, prefixes: false).map {
            try PromptEmbedding(
                file.tensor($0), name: $0, path, needs, Extras(file, prefix: "negative_"),
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

    /// The all-zero embedding that stands for "no negative prompt"; without a token where the model takes that.
    public static func zeros(like other: PromptEmbedding, needs: ConditioningNeeds) -> PromptEmbedding {
        PromptEmbedding(
            tokens: Tensor(.f32, other.tokens.shape),
            mask: needs.takesEmptyPrompt ? other.mask?.map { _ in false } : other.mask,
            pooled: other.pooled.map { Tensor(.f32, $0.shape) }, source: nil, encoder: nil, digest: "zeros",
            sourceDigest: "zeros", storedShape: other.tokens.shape, storedType: .f32, prompt: nil,
            maxSequenceLength: nil)
    }

    /// A text, and how far it is.
    private struct Text {
        let source: PromptSource
        let noted: PromptBook.Noted
        let isEncoded: Bool
    }

    /// What an encoder made of a text.
    ///
    /// - Parameters:
    ///   - source: as it was given.
    ///   - isEncoded: false for zeros in its place.
    /// - Throws: `PipelineError.invalid` (65) for an encoder whose width, mask or vectors are not the model's.
    init(
        _ prompt: EncodedPrompt, _ source: PromptSource, _ noted: PromptBook.Noted, needs: ConditioningNeeds,
        isEncoded: Bool
    ) throws {
        try self.init(
            prompt.embedding, name: "hidden states", noted.encoder.path, needs, Extras(noted.encoder.path, prompt),
            ["prompt": prompt.prompt], of: Text(source: source, noted: noted, isEncoded: isEncoded))
    }

    private init(
        _ stored: Tensor, name: String, _ path: String, _ needs: ConditioningNeeds, _ extras: Extras,
        _ metadata: [String: String], of text: Text? = nil
    ) throws {
        let width = needs.promptWidth
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
        let mask = needs.takesMask ? try extras.mask(tokens: shape[0], mayBeEmpty: needs.takesEmptyPrompt) : nil
        let pooled = try needs.pooledWidth.map { try extras.pooled(width: $0) }
        var digest = stored.withBytes { Digest.sha256($0) }
        if mask != nil || pooled != nil {
            let parts = [digest, mask.map { "\($0)" }, pooled?.withBytes { Digest.sha256($0) }].compactMap { $0 }
            digest = Digest.sha256(Array(parts.joined(separator: "\n").utf8))
        }
        self.init(
            tokens: values, mask: mask, pooled: pooled, source: text?.source ?? .embedding(path),
            encoder: text?.noted.encoder, digest: text?.isEncoded == false ? text?.noted.digest ?? digest : digest,
            sourceDigest: text?.noted.digest ?? digest, storedShape: stored.shape, storedType: stored.dtype,
            prompt: metadata["prompt"],
            maxSequenceLength: metadata["max_sequence_length"].flatMap { Int($0) }
                .flatMap { (1...4096).contains($0) ? $0 : nil })
    }

    private init(
        tokens: Tensor, mask: [Bool]?, pooled: Tensor?, source: PromptSource?, encoder: RunRecord.TextEncoder?,
        digest: String, sourceDigest: String, storedShape: [Int], storedType: DType, prompt: String?,
        maxSequenceLength: Int?
    ) {
        self.tokens = tokens
        self.mask = mask
        self.pooled = pooled
        self.source = source
        self.encoder = encoder
        self.digest = digest
        self.sourceDigest = sourceDigest
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
        let name = source?.path ?? "the prompt"
        if present == length { return (tokens, nil) }
        if present > length {
            let rest = tokens.slice(length..<present).withFloats { $0.contains { $0 != 0 } }
            let lost = rest ? "; the cut rows were not zero, the end of the prompt is lost" : ""
            return (
                tokens.slice(0..<length).copy(),
                "\(name): cut from \(present) to \(length) tokens, the model's length\(lost)"
            )
        }
        let result = Tensor(.f32, [length, tokens.shape[1]])
        result.slice(0..<present).assign(tokens)
        return (
            result,
            "\(name): \(present) tokens padded with zeros to \(length), the model's length"
        )
    }
}

/// What a prompt's file holds beside the tokens, for models that take it.
private struct Extras {
    private let path: String
    private let prefix: String
    /// A tensor by its name; nil where there is none.
    private let find: (String) throws -> Tensor?

    /// Of a file that can hold one tensor only.
    init(path: String) {
        (self.path, prefix, find) = (path, "", { _ in nil })
    }

    /// - Parameter prefix: of the tensors' names.
    init(_ file: SafetensorsReader, prefix: String) {
        (path, self.prefix) = (file.path, prefix)
        find = { try file.info($0) == nil ? nil : file.tensor($0) }
    }

    /// Of a text encoder.
    init(_ path: String, _ prompt: EncodedPrompt) {
        (self.path, prefix) = (path, "")
        find = { $0 == "prompt_attention_mask" ? prompt.mask : nil }
    }

    private func tensor(_ name: String, _ expected: String) throws -> Tensor {
        guard let tensor = try find(prefix + name) else {
            throw PipelineError.invalid(
                "\(path): tensor \(prefix)\(name)", found: "nothing", expected: "\(expected), which this model takes",
                kind: .badData)
        }
        return tensor
    }

    func mask(tokens: Int, mayBeEmpty: Bool) throws -> [Bool] {
        let name = "prompt_attention_mask"
        let expected = "[\(tokens)] or [1, \(tokens)] of 0 and 1" + (mayBeEmpty ? "" : ", at least one of them 1")
        let stored = try tensor(name, expected)
        guard let mask = stored.promptMask(tokens: tokens, mayBeEmpty: mayBeEmpty) else {
            throw PipelineError.invalid(
                "\(path): \(prefix)\(name)", found: "\(stored.dtype.rawValue) \(stored.shape)", expected: expected,
                kind: .badData)
        }
        return mask
    }

    func pooled(width: Int) throws -> Tensor {
        let name = "pooled_prompt_embeds"
        let expected = "finite floating point [\(width)] or [1, \(width)]"
        let stored = try tensor(name, expected)
        guard stored.dtype.isFloatingPoint, stored.count == width, stored.shape.last == width, stored.isFinite else {
            throw PipelineError.invalid(
                "\(path): \(prefix)\(name)", found: "\(stored.dtype.rawValue) \(stored.shape)", expected: expected,
                kind: .badData)
        }
        return stored.converted(to: .f32).reshaped([width])
    }
}
