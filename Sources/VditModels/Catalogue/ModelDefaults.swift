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
    /// The noise levels before any shift, where the sampler is a plain flow.
    public var spacing = NoiseSpacing.interpolated
    /// The order of axes that noise is drawn in.
    public var drawOrder = DrawOrder.channelsFirst
    /// Guidance that the model is told, where it takes one in place of a second call.
    public var embeddedGuidance: Double?
    /// How guidance changes along the loop, with the sampler the model is published with.
    public var guidanceSchedule = GuidanceSchedule.constant
    /// How a video begins with a picture; nil for models that take none.
    public var pictureStart: PictureStart?

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

/// The order in which a pipeline draws its latents' noise: where each of a seed's numbers goes.
public enum DrawOrder: Sendable, Equatable {
    /// `[channels, frames, height, width]`.
    case channelsFirst
    /// `[frames, channels, height, width]`: CogVideoX.
    case framesFirst
}

/// How classifier-free guidance changes along the loop.
public enum GuidanceSchedule: String, Sendable, CaseIterable {
    case constant
    /// CogVideoX's dynamic guidance: of `n` steps at time `t`, `1 + g · (1 − cos(π · ((n − t) / n)⁵)) / 2`.
    case cosine
}

/// Noise levels of a flow's loop before any shift.
public enum NoiseSpacing: Sendable, Equatable {
    /// The sampler's own: from the shifted largest to the shifted smallest training level. The shift is
    /// then applied a second time, as diffusers does.
    case interpolated
    /// 1 down to 0, the 0 left out: HunyuanVideo.
    case linearToZero
    /// 1 down to 1/n: LTX-Video.
    case linearToLast
    /// Small linear steps for the first half, quadratic ones for the second: Mochi, LTX-Video since 0.9.5.
    case linearQuadratic(threshold: Double)
}
