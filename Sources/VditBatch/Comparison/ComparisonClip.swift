import VditMedia
import VditPipeline
import VditTensor

/// A clip to be compared: any video FFmpeg reads, a PNG sequence (pattern or folder), or saved frames.
///
/// Saved frames are a `.safetensors` file with one tensor: u8 or u16 `[frames, height, width, 3]`, or f32
/// `[3, frames, height, width]` in −1…1 as `vdit decode` writes it, which is rounded to 8 bits.
public struct ComparisonClip: Sendable {
    public let path: String
    public let width: Int
    public let height: Int
    /// Bits of a sample in the file.
    public let bitDepth: Int
    /// Nil for what states none: PNG sequences and saved frames.
    public let frameRate: FrameRate?
    /// Nil for saved frames.
    public let info: VideoInfo?
    private let saved: Tensor?

    /// Opens the file and reads no more than its first frame.
    ///
    /// - Throws: `MediaError`, `FileError` or `BatchError` for what is missing, damaged or no clip.
    public init(_ path: String) throws {
        self.path = path
        if path.hasSuffix(".safetensors") {
            let frames = try Self.savedFrames(path)
            (height, width) = (frames.shape[1], frames.shape[2])
            bitDepth = frames.dtype == .u16 ? 16 : 8
            (frameRate, info, saved) = (nil, nil, frames)
        } else {
            let info = try FFmpegReader(path).info
            (width, height, bitDepth) = (info.width, info.height, info.bitDepth)
            (frameRate, self.info, saved) = (info.frameRate, info, nil)
        }
    }

    /// The frames one after the other, from the first one.
    func frames(depth: SampleDepth) throws -> ClipFrames {
        if let saved { return ClipFrames(saved: saved) }
        return ClipFrames(reader: try FFmpegReader(path, depth: depth))
    }

    private static func savedFrames(_ path: String) throws -> Tensor {
        let file = try SafetensorsReader(path)
        let expected = "one tensor of frames, U8 [frames, height, width, 3]"
        let fitting = file.tensors.filter { info in
            info.shape.count == 4 && info.shape.allSatisfy { $0 > 0 }
                && ([.u8, .u16].contains(info.dtype) && info.shape[3] == 3
                    || info.dtype == .f32 && info.shape[0] == 3)
        }
        guard fitting.count == 1 else {
            let found = file.tensors.prefix(4).map { "\($0.name) \($0.dtype?.rawValue ?? "of another type") \($0.shape)" }
            throw BatchError.invalid(
                path, found: found.isEmpty ? "no tensors" : found.joined(separator: ", "),
                expected: expected, kind: .badData)
        }
        let tensor = try file.tensor(fitting[0].name)
        guard tensor.dtype == .f32 else { return tensor }
        let result = Tensor(.u8, Array(tensor.shape.dropFirst()) + [3])
        for number in 0..<tensor.shape[1] {
            let frame = try VideoFrame(rounding: tensor.channelsLastFrame(number), number: number)
            result[number].assign(frame.pixels)
        }
        return result
    }
}

/// A clip's frames, in order.
final class ClipFrames {
    private let reader: FFmpegReader?
    private let saved: Tensor?
    private(set) var count = 0

    init(reader: FFmpegReader) { (self.reader, saved) = (reader, nil) }
    init(saved: Tensor) { (reader, self.saved) = (nil, saved) }

    /// The next frame; nil after the last.
    func next() throws -> VideoFrame? {
        if let saved {
            if count == saved.shape[0] { return nil }
            count += 1
            return VideoFrame(pixels: saved[count - 1])
        }
        guard let frame = try reader?.next() else { return nil }
        count += 1
        return frame
    }

    /// Whether the frames delivered so far last differently long.
    var hasVariableFrameRate: Bool { reader?.hasVariableFrameRate ?? false }
}
