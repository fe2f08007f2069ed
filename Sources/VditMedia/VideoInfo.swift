import VditTensor

/// What a video says about itself, known before its first frame is decoded.
public struct VideoInfo: Sendable, Equatable {
    public let path: String
    public let width: Int
    public let height: Int
    /// The average rate the container states; nil for a PNG sequence.
    public let frameRate: FrameRate?
    /// libav's names, such as "mov,mp4,m4a,3gp,3g2,mj2", "h264" and "yuv420p".
    public let container: String
    public let codec: String
    public let pixelFormat: String
    /// Bits of a sample in the file.
    public let bitDepth: Int
    /// The colour tags, nil where the file has none.
    public let matrix: String?
    public let primaries: String?
    public let transfer: String?
    public let range: String?
    /// The matrix used to make R'G'B' where the file names none: bt709 from 720 lines up, else smpte170m.
    public let assumedMatrix: String?
    /// Whether colour is stored at half resolution, as in 4:2:0. R'G'B' measures are then dominated by that loss.
    public let hasSubsampledChroma: Bool
    /// Whether alpha was dropped.
    public let hadAlpha: Bool
    /// Container tags, or the text chunks of a PNG.
    public let metadata: [String: String]
}

/// One picture of planar 8-bit Y'CbCr, as stored.
public struct YUVFrame: Sendable {
    /// Y', Cb and Cr (or Y' alone), each u8 `[rows, columns]` at its own size.
    public let planes: [Tensor]
}
