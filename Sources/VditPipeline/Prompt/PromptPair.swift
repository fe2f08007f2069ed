import VditAttention
import VditFiles
import VditModels
import VditTensor

/// The two embeddings of a run, at one length.
public struct PromptPair: Sendable {
    /// `[tokens, width]` f32 each.
    public let conditional: Tensor
    public let unconditional: Tensor
    public let prompt: PromptEmbedding
    public let negative: PromptEmbedding
    /// What was done to make them fit, in sentences.
    public let notices: [String]
    /// Whether none was given, so that zeros stand for it.
    public let lacksNegative: Bool

    /// Reads both, or encodes them, and makes them fit.
    ///
    /// - Parameters:
    ///   - given: overrides a negative prompt in the prompt's file. Beside a prompt in words it is the empty text where
    ///     none is given, as pipelines have it.
    ///   - needs: what the model expects.
    ///   - length: the length the model was trained with, if known. Otherwise a length the file names, or
    ///     the longer of the two as they are.
    ///   - reading: how texts are encoded.
    public init(
        _ source: PromptSource, negative given: PromptSource?, needs: ConditioningNeeds, length: Int?,
        reading: PromptReading = PromptReading()
    ) throws {
        let words = try source.words()
        let negativeWords = try given?.words() ?? (given == nil && words != nil ? "" : nil)
        if let pooled = needs.pooledWidth, words != nil || negativeWords != nil {
            throw PipelineError.setting(
                words == nil ? "negative_prompt" : "prompt", found: "a text",
                expected: "an embedding file with prompt_embeds, prompt_attention_mask and pooled_prompt_embeds "
                    + "[\(pooled)]: this model's two text encoders are not among those that are read")
        }
        // Both, before either is encoded.
        for text in [words, negativeWords].compactMap({ $0 }) { _ = try reading.book.note(text, reading) }

        var notices: [String] = []
        func encoded(_ text: String, _ source: PromptSource, _ name: String) throws -> PromptEmbedding {
            let noted = try reading.book.note(text, reading)
            if let notice = noted.prompt.notice(name) { notices.append(notice) }
            let prompt = reading.encodes ? try reading.book.encode(text, reading) : noted.prompt
            return try blaming("text_encoder") {
                try PromptEmbedding(prompt, source, noted, needs: needs, isEncoded: reading.encodes)
            }
        }
        var inFile: PromptEmbedding?
        if let words {
            prompt = try encoded(words, source, "the prompt")
        } else {
            let file = try blaming("prompt_embedding") {
                try PromptEmbedding.read(source.embedding ?? "", needs: needs)
            }
            (prompt, inFile) = (file.prompt, file.negative)
        }
        lacksNegative = given == nil && words == nil && inFile == nil
        if negativeWords?.isEmpty == true, needs.takesEmptyPrompt {
            // The reference leaves no token of an empty prompt.
            negative = .zeros(like: prompt, needs: needs)
        } else if let negativeWords {
            negative = try encoded(negativeWords, given ?? .text(""), "the negative prompt")
        } else if let path = given?.embedding {
            negative = try blaming("negative_prompt_embedding") {
                try PromptEmbedding.read(path, needs: needs).prompt
            }
        } else {
            negative = inFile ?? .zeros(like: prompt, needs: needs)
        }
        let length =
            length ?? prompt.maxSequenceLength
            ?? max(prompt.tokens.shape[0], negative.tokens.shape[0])
        let (conditional, first) = prompt.fitted(to: length)
        let (unconditional, second) = negative.fitted(to: length)
        self.conditional = conditional
        self.unconditional = unconditional
        if let first { notices.append(first) }
        if let second, negative.source != nil { notices.append(second) }
        self.notices = notices
    }

    /// What encoded the prompts that were given as text.
    public var encoder: RunRecord.TextEncoder? { prompt.encoder ?? negative.encoder }

    /// Of what the embeddings of texts follow from, by their settings: known before a text is encoded.
    public var textDigests: [(name: String, digest: String)] {
        [("prompt", prompt), ("negative_prompt", negative)].compactMap { name, embedding in
            embedding.encoder.map { _ in (name, embedding.sourceDigest) }
        }
    }

    /// What a branch of the transformer is conditioned on.
    ///
    /// - Parameter frameRate: for models that are told.
    func conditioning(_ branch: AttentionSite.Branch, frameRate: Double?) -> Conditioning {
        let isConditional = branch == .conditional
        let embedding = isConditional ? prompt : negative
        let tokens = isConditional ? conditional : unconditional
        return Conditioning(
            prompt: tokens, mask: embedding.mask.map { fitted($0, to: tokens.shape[0]) },
            pooled: embedding.pooled, frameRate: frameRate)
    }

    /// Tokens of each that the model sees.
    var textTokens: RenderPlan.TextTokens {
        RenderPlan.TextTokens(
            conditional: conditioning(.conditional, frameRate: nil).textTokens,
            unconditional: conditioning(.unconditional, frameRate: nil).textTokens)
    }

    /// Padding is not valid.
    private func fitted(_ mask: [Bool], to length: Int) -> [Bool] {
        Array(mask.prefix(length)) + Array(repeating: false, count: max(0, length - mask.count))
    }
}
