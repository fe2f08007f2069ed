import VditFiles
import VditTensor

/// A codec a user can ask for by name.
public enum VideoCodec: String, Sendable, CaseIterable, Codable {
    case h264, hevc, av1, vp9, prores, ffv1
}

/// What a single `.png` output shows.
public enum Still: Sendable, Equatable {
    case firstFrame
    /// A grid of this many evenly spaced frames; see `ContactSheet`.
    case contactSheet(tiles: Int)
}

/// How a video is written. `nil` means the default of the container or codec, listed with each field.
public struct VideoOptions: Sendable, Equatable {
    public var frameRate: FrameRate
    /// h264 for mp4, mov and mkv; vp9 for webm. GIF, Y4M and PNG have none to choose.
    public var codec: VideoCodec?
    /// Constant quality, smaller is better: h264 18, hevc 20 (0…51); av1 24, vp9 24 (0…63).
    public var crf: Int?
    /// h264 and hevc `medium`; av1 and vp9 take a speed from 0 (slowest), default 6 and 2.
    public var preset: String?
    /// An FFmpeg name: yuv420p for h264, hevc, av1 and vp9; yuv422p10le for prores; bgr0 (exact R'G'B') for
    /// ffv1; yuv444p for Y4M.
    public var pixelFormat: String?
    /// Of PNG output.
    public var pngDepth: SampleDepth = .eight
    public var still: Still = .contactSheet(tiles: 9)
    /// How often a GIF repeats after it was shown once, up to 65535: 0 is for ever, as when nil, −1 not at all.
    public var loop: Int?
    /// Tags such as `title` and `comment`, and keys of your own. GIF and Y4M have no place for them.
    public var metadata: [String: String] = [:]
    public var existing: ExistingFile = .refuse
    /// Encoder threads. The bytes written do not depend on it; h264 and av1 always run on one for that reason.
    public var threads: Int = 1

    public init(frameRate: FrameRate) { self.frameRate = frameRate }
}
