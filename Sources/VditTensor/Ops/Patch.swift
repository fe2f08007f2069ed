/// The grid of patches that latents `[channels, frames, height, width]` are cut into.
public struct PatchGrid: Sendable, Equatable {
    public let channels: Int
    /// Patches along each axis.
    public let frames: Int
    public let height: Int
    public let width: Int
    /// Size of a patch: frames, height, width.
    public let patch: (frames: Int, height: Int, width: Int)

    /// Extents must divide by the patch.
    public init(
        channels: Int, frames: Int, height: Int, width: Int,
        patch: (frames: Int, height: Int, width: Int)
    ) {
        precondition(frames % patch.frames == 0 && height % patch.height == 0 && width % patch.width == 0)
        self.channels = channels
        self.frames = frames / patch.frames
        self.height = height / patch.height
        self.width = width / patch.width
        self.patch = patch
    }

    public static func == (a: PatchGrid, b: PatchGrid) -> Bool {
        a.channels == b.channels && a.frames == b.frames && a.height == b.height && a.width == b.width
            && a.patch == b.patch
    }

    public var tokens: Int { frames * height * width }
    /// Values of one channel in a patch.
    public var patchSize: Int { patch.frames * patch.height * patch.width }
    /// Values of one token.
    public var tokenSize: Int { channels * patchSize }

    /// Calls `body` for every run of a patch that is contiguous in the latents: its first element there
    /// (channel 0), and its place in the patch. Runs are `patch.width` long.
    @inline(__always)
    private func runs(of token: Int, _ body: (_ latent: Int, _ inPatch: Int) -> Void) {
        let column = token % width
        let row = token / width % height
        let frame = token / (width * height)
        let fullHeight = height * patch.height
        let fullWidth = width * patch.width
        for f in 0..<patch.frames {
            for y in 0..<patch.height {
                let latent = ((frame * patch.frames + f) * fullHeight + row * patch.height + y) * fullWidth
                body(latent + column * patch.width, (f * patch.height + y) * patch.width)
            }
        }
    }

    private var channelStride: Int { tokens * patchSize }

    /// Tokens `first ..< first + out.shape[0]` as rows in the order `[channel, frame, row, column]`, which is
    /// that of a patch convolution's weights.
    ///
    /// - Parameters:
    ///   - latents: `[channels, frames, height, width]` f32.
    ///   - out: `[rows, tokenSize]` f32.
    public func gather(_ latents: Tensor, first: Int, into out: Tensor) {
        precondition(latents.count == tokens * tokenSize && out.columns == tokenSize)
        let source = latents.pointer(as: Float.self)
        let target = out.pointer(as: Float.self)
        for row in 0..<out.shape[0] {
            runs(of: first + row) { latent, inPatch in
                for channel in 0..<channels {
                    let from = source + channel * channelStride + latent
                    let to = target + row * tokenSize + channel * patchSize + inPatch
                    for x in 0..<patch.width { to[x] = from[x] }
                }
            }
        }
    }

    /// Where the channel stands among the values of a token that a model puts out.
    public enum ChannelOrder: Sendable {
        /// `[frame, row, column, channel]` (Wan).
        case last
        /// `[channel, frame, row, column]` (HunyuanVideo).
        case first
    }

    /// Puts rows of token values back in their places.
    ///
    /// - Parameters:
    ///   - rows: `[rows, tokenSize]` f32 of tokens `first …`.
    ///   - latents: `[channels, frames, height, width]` f32; only these tokens' places are written.
    public func scatter(_ rows: Tensor, first: Int, order: ChannelOrder, into latents: Tensor) {
        precondition(latents.count == tokens * tokenSize && rows.columns == tokenSize)
        let source = rows.pointer(as: Float.self)
        let target = latents.pointer(as: Float.self)
        let (channelStep, valueStep) = order == .last ? (1, channels) : (patchSize, 1)
        for row in 0..<rows.shape[0] {
            runs(of: first + row) { latent, inPatch in
                for channel in 0..<channels {
                    let from = source + row * tokenSize + channel * channelStep + inPatch * valueStep
                    let to = target + channel * channelStride + latent
                    for x in 0..<patch.width { to[x] = from[x * valueStep] }
                }
            }
        }
    }
}
