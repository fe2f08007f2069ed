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

    /// Reads both and makes them fit.
    ///
    /// - Parameters:
    ///   - negativePath: overrides a negative prompt in the file at `path`.
    ///   - needs: what the model expects.
    ///   - length: the length the model was trained with, if known. Otherwise a length the file names, or
    ///     the longer of the two as they are.
    public init(
        path: String, negativePath: String?, needs: ConditioningNeeds, length: Int?
    ) throws {
        let file = try blaming("prompt_embedding") { try PromptEmbedding.read(path, needs: needs) }
        prompt = file.prompt
        lacksNegative = negativePath == nil && file.negative == nil
        var notices: [String] = []
        if let negativePath {
            negative = try blaming("negative_prompt_embedding") {
                try PromptEmbedding.read(negativePath, needs: needs).prompt
            }
        } else if let inFile = file.negative {
            negative = inFile
        } else {
            negative = .zeros(like: file.prompt)
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
