import VditFiles

/// What a model's authors recommend, under the name they published it by.
public struct ModelDefaults: Sendable, Equatable {
    /// What presets of sparse methods and benchmarks know the model by, such as `wan2.1-t2v-1.3b`.
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
    /// The few-step sampling the model was distilled for, by its name; nil for others.
    public var fewStep: String?

    public init(
        name: String, width: Int, height: Int, numFrames: Int, frameRate: Int, steps: Int,
        guidanceScale: Double, secondGuidanceScale: Double? = nil, textLength: Int? = nil
    ) {
        self.name = name
        self.width = width
        self.height = height
        self.numFrames = numFrames
        self.frameRate = frameRate
        self.steps = steps
        self.guidanceScale = guidanceScale
        self.secondGuidanceScale = secondGuidanceScale
        self.textLength = textLength
    }
}
