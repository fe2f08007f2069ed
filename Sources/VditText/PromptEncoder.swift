import VditFiles
import VditTensor

/// A prompt as a model takes it.
public struct EncodedPrompt: Sendable {
    public let prompt: String
    /// After the family's cleaning.
    public let cleaned: String
    public let ids: [Int32]
    /// The end of the prompt that did not fit; nil when all of it did.
    public let lost: String?
    /// What the encoder gave, `[rows, width]` f32: all other rows of the embedding are zeros.
    let rows: Tensor
    /// How many rows the model takes.
    public let length: Int
    let hasMask: Bool

    /// `[length, width]` f32.
    public var embedding: Tensor {
        if rows.shape[0] == length { return rows }
        let embedding = Tensor(.f32, [length, rows.columns])
        embedding.slice(0..<rows.shape[0]).assign(rows)
        return embedding
    }

    /// `[length]` i64, 1 for the prompt's own rows; nil where the model takes none.
    public var mask: Tensor? {
        guard hasMask else { return nil }
        let mask = Tensor(.i64, [length])
        let values = mask.pointer(as: Int64.self)
        for index in ids.indices { values[index] = 1 }
        return mask
    }

    /// What a person should know: text that was cut off.
    ///
    /// - Parameter name: of the prompt, "the negative prompt".
    public func notice(_ name: String) -> String? {
        lost.map { lost in
            let shown = lost.count > 200 ? "\(lost.prefix(200))…" : lost
            return "\(name) is cut to \(ids.count) tokens; lost: \"\(shown)\""
        }
    }
}

/// Encodes prompts with a model's own text encoder.
public struct PromptEncoder: Sendable {
    public let rules: PromptRules
    public let encoder: any TextEncoder
    public let tokenizer: any Tokenizer
    public let folder: TextModelFolder

    /// - Parameters:
    ///   - pipeline: the model's class name, where it is known.
    ///   - family: one of `PromptRules.all`, where the encoder serves several and no pipeline tells which.
    /// - Throws: `FileError`, `TensorError`: files that are missing or not an encoder's, a tokenizer that does not fit
    ///   the encoder, an encoder that is not the pipeline's, or one of several families' without a name.
    public init(_ folder: TextModelFolder, pipeline: String? = nil, family: String? = nil) throws {
        self.folder = folder
        let (encoder, kind) = try folder.openEncoder()
        self.encoder = encoder
        tokenizer = try folder.openTokenizer(kind)
        let named = family.flatMap { name in PromptRules.all.first { $0.family == name && $0.encoder == kind } }
        guard let rules = family == nil ? PromptRules.find(pipeline: pipeline, encoder: kind) : named else {
            let families = PromptRules.all.filter { $0.encoder == kind }.map(\.family).uniqued
            throw FileError.malformed(
                path: folder.encoder, field: "model_type",
                found: "\(kind.rawValue), for \(families.joined(separator: ", "))",
                expected: family.map { "the encoder of \($0)" } ?? pipeline.map { "the encoder of \($0.onOneLine)" }
                    ?? "the name of one of these families")
        }
        self.rules = rules
        func unfit(_ field: String, _ found: String, _ expected: String) -> FileError {
            .malformed(path: folder.tokenizer, field: field, found: found, expected: expected)
        }
        if tokenizer.count > encoder.vocabularySize {
            throw unfit("vocabulary", "\(tokenizer.count) ids", "at most the encoder's \(encoder.vocabularySize)")
        }
        if let end = encoder.endID, end != tokenizer.endID {
            throw unfit("</s>", "id \(tokenizer.endID)", "\(end), as the encoder's eos_token_id")
        }
        if let most = encoder.maxTokens, most < rules.length {
            throw FileError.malformed(
                path: folder.encoder, field: "max_position_embeddings", found: "\(most)",
                expected: "at least \(rules.length)")
        }
    }

    /// Longer ones are no prompts.
    public static let maxPromptBytes = 1 << 20

    /// The ids a prompt has, special tokens included, cut to the model's length.
    ///
    /// - Throws: `FileError.malformed` for a prompt beyond `maxPromptBytes`, or a defect of the tokenizer's file.
    public func tokens(_ prompt: String) throws(FileError) -> (cleaned: String, sequence: TokenSequence) {
        if prompt.utf8.count > Self.maxPromptBytes {
            throw .malformed(
                path: "prompt", field: "length", found: "\(prompt.utf8.count) bytes",
                expected: "at most \(Self.maxPromptBytes)")
        }
        let cleaned = rules.cleaning.applied(to: prompt)
        return (cleaned, try tokenizer.sequence(cleaned, length: rules.length))
    }

    /// Encodes prompts, all of them in one pass over the weights.
    ///
    /// - Parameter progress: called after each layer with the layers done and their number.
    /// - Throws: `FileError` as `tokens` does, `TensorError`, also for weights that give NaN or infinities.
    public func encode(
        _ prompts: [String], compute: ComputeContext, progress: (_ done: Int, _ layers: Int) -> Void = { _, _ in }
    ) throws -> [EncodedPrompt] {
        let tokens = try prompts.map { try self.tokens($0) }
        // A prompt that is there twice is encoded once.
        var numbers: [[Int32]: Int] = [:]
        var sequences: [[Int32]] = []
        for (_, sequence) in tokens where numbers[sequence.ids] == nil {
            numbers[sequence.ids] = sequences.count
            sequences.append(sequence.ids)
        }
        if rules.padding == .encoded {
            sequences = sequences.map { $0 + [Int32](repeating: tokenizer.paddingID, count: rules.length - $0.count) }
        }
        let states = try encoder.encode(sequences, compute: compute, progress: progress)
        // Weights are read where they lie, up to the last layer.
        try encoder.verifyUnchanged()
        if let broken = states.firstIndex(where: { !$0.isFinite }) {
            throw TensorError.mismatch(
                tensor: "\(folder.encoder): hidden states of prompt \(broken + 1)", found: "NaN or infinity",
                expected: "finite numbers")
        }
        return zip(prompts, tokens).map { prompt, tokens in
            return self.prompt(
                prompt, tokens.cleaned, tokens.sequence, rows: states[numbers[tokens.sequence.ids] ?? 0])
        }
    }

    /// A prompt that is not encoded yet: all that is known of it, with zeros for an embedding.
    ///
    /// - Throws: as `tokens` does.
    public func unencoded(_ prompt: String) throws(FileError) -> EncodedPrompt {
        let (cleaned, sequence) = try tokens(prompt)
        return self.prompt(prompt, cleaned, sequence, rows: Tensor(.f32, [1, encoder.width]))
    }

    private func prompt(
        _ prompt: String, _ cleaned: String, _ sequence: TokenSequence, rows: Tensor
    ) -> EncodedPrompt {
        EncodedPrompt(
            prompt: prompt, cleaned: cleaned, ids: sequence.ids, lost: sequence.lost, rows: rows, length: rules.length,
            hasMask: rules.hasMask)
    }
}
