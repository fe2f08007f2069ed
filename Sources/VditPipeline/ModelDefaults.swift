import VditModels

/// What a model's authors recommend, known by the shape of its transformer.
public struct ModelDefaults: Sendable, Equatable {
    public var name: String
    public var width: Int
    public var height: Int
    public var numFrames: Int
    /// Frames per second the model was trained at.
    public var frameRate: Int
    public var steps: Int
    public var guidanceScale: Double
    /// Of the second transformer, where there are two.
    public var secondGuidanceScale: Double?
    /// Tokens of a prompt embedding; nil when not known.
    public var textLength: Int?

    /// - Source: samples/wan-mini/MODEL_CARD.md; github.com/Wan-Video/Wan2.1 and Wan2.2, `wan/configs`.
    static func of(_ config: WanTransformerConfig, hasSecond: Bool) -> ModelDefaults {
        let text = config.textDim == 4096 ? 512 : nil
        var defaults = ModelDefaults(
            name: "wan", width: 832, height: 480, numFrames: 81, frameRate: 16, steps: 50,
            guidanceScale: 5, secondGuidanceScale: nil, textLength: text)
        switch (config.layers, config.heads, config.headDim, config.inChannels, config.textDim) {
        case (8, 3, 128, 16, 384):
            defaults.name = "wan-mini"
            (defaults.width, defaults.height) = (320, 192)
            (defaults.steps, defaults.guidanceScale, defaults.textLength) = (25, 4, 32)
        case (30, 12, 128, 16, 4096):
            defaults.name = "wan2.1-t2v-1.3b"
        case (40, 40, 128, 16, 4096) where hasSecond:
            defaults.name = "wan2.2-t2v-a14b"
            (defaults.steps, defaults.guidanceScale, defaults.secondGuidanceScale) = (40, 4, 3)
        case (40, 40, 128, 16, 4096):
            defaults.name = "wan2.1-t2v-14b"
        case (30, 24, 128, 48, 4096):
            defaults.name = "wan2.2-ti2v-5b"
            (defaults.width, defaults.height) = (1280, 704)
            (defaults.numFrames, defaults.frameRate) = (121, 24)
        default:
            break
        }
        return defaults
    }
}
