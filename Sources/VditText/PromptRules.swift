/// How a family of models wants its prompts: what `encode_prompt` of its pipeline does.
public struct PromptRules: Sendable, Equatable {
    /// What comes after a prompt's own rows.
    public enum Padding: Sendable {
        /// Zeros: the encoder sees the prompt alone.
        case zeros
        /// What the encoder makes of padding tokens, which the prompt attends to.
        case encoded
    }

    public let family: String
    /// Class names in `model_index.json`.
    let pipelines: [String]
    let encoder: TextModelFolder.Kind
    public let cleaning: PromptCleaning
    /// Rows of the embedding; tokens at most.
    public let length: Int
    public let padding: Padding
    /// The transformer takes a mask of the prompt's own rows beside the embedding.
    public let hasMask: Bool

    /// - Source: diffusers 0.42; the sample model's card.
    public static let all = [
        PromptRules(
            family: "wan", pipelines: ["WanPipeline", "WanImageToVideoPipeline", "WanDMDPipeline"], encoder: .umt5,
            cleaning: .wan, length: 512, padding: .zeros, hasMask: false),
        PromptRules(
            family: "cogvideox", pipelines: ["CogVideoXPipeline", "CogVideoXImageToVideoPipeline"], encoder: .t5,
            cleaning: .none, length: 226, padding: .encoded, hasMask: false),
        PromptRules(
            family: "ltx", pipelines: ["LTXPipeline", "LTXImageToVideoPipeline"], encoder: .t5, cleaning: .none,
            length: 128, padding: .encoded, hasMask: true),
        PromptRules(
            family: "ltx", pipelines: ["LTXConditionPipeline"], encoder: .t5, cleaning: .none, length: 256,
            padding: .encoded, hasMask: true),
        PromptRules(
            family: "mochi", pipelines: ["MochiPipeline"], encoder: .t5, cleaning: .none, length: 256,
            padding: .zeros, hasMask: true),
        PromptRules(
            family: "wan-mini", pipelines: ["WanPipeline"], encoder: .bert, cleaning: .none, length: 32,
            padding: .zeros, hasMask: false),
    ]

    /// The rules of a pipeline with an encoder; without a pipeline's name, those of the only family the encoder has.
    static func find(pipeline: String?, encoder: TextModelFolder.Kind) -> PromptRules? {
        let fitting = all.filter { $0.encoder == encoder && (pipeline.map($0.pipelines.contains) ?? true) }
        return fitting.count == 1 ? fitting[0] : nil
    }
}
