/// Where each token of an attention sequence sits: `[text before] [frames × height × width] [text after]`.
///
/// Video tokens are frame-major and row-major inside a frame: token `(frame * height + row) * width + column`.
public struct TokenLayout: Sendable, Hashable, Codable {
    /// Extents of the token grid, after VAE compression and patching.
    public let frames: Int
    public let height: Int
    public let width: Int
    /// Valid text tokens in front of the video (CogVideoX) and behind it (HunyuanVideo). Padding that the
    /// reference masks out is dropped before attention and not counted here.
    public let textBefore: Int
    public let textAfter: Int

    /// Extents are our own: they must be positive, text counts non-negative.
    public init(frames: Int, height: Int, width: Int, textBefore: Int = 0, textAfter: Int = 0) {
        precondition(frames > 0 && height > 0 && width > 0 && textBefore >= 0 && textAfter >= 0)
        self.frames = frames
        self.height = height
        self.width = width
        self.textBefore = textBefore
        self.textAfter = textAfter
    }

    /// Frames, rows and columns.
    var extents: [Int] { [frames, height, width] }
    public var tokensPerFrame: Int { height * width }
    public var videoTokens: Int { frames * tokensPerFrame }
    public var textTokens: Int { textBefore + textAfter }
    public var tokens: Int { videoTokens + textTokens }
    /// The video's tokens within the sequence.
    public var video: Range<Int> { textBefore..<textBefore + videoTokens }
}
