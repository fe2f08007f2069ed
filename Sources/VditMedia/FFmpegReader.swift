import CFFmpeg
import Glibc
import VditFiles
import VditTensor

/// Reads the frames of any video FFmpeg decodes, or of a PNG sequence, one after the other.
///
/// A sequence is given as a pattern (`frames/%05d.png`) or as the directory that holds it. A file that is
/// truncated or damaged is an error, at the frame where that shows: no frame is repeated, skipped or
/// concealed. R'G'B' comes from Y'CbCr by the matrix and range the file is tagged with
/// (`VideoInfo.assumedMatrix` if it has none); transfer functions are not touched.
public final class FFmpegReader {
    public let info: VideoInfo
    /// Frames delivered so far.
    public private(set) var frameCount = 0
    private let depth: SampleDepth
    private let source: Source
    private var converter: PixelConverter?
    /// How the first picture is to be shown, where the file tells.
    private(set) var orientation: Orientation?

    private enum Source {
        case video(VideoReader)
        case sequence(SequenceReader)
    }

    /// - Parameter depth: of the frames to deliver; deeper sources are rounded.
    /// - Throws: `MediaError`: missing, no video, undecodable, a sequence with gaps.
    public init(_ path: String, depth: SampleDepth = .eight) throws(MediaError) {
        self.depth = depth
        if path.utf8.contains(0) {
            throw .invalid("path", found: "a NUL character", expected: "a file name", kind: .usage)
        }
        let (type, code) = FilePath.type(path)
        if type == nil, FilePath.split(path).name.contains("%") {
            source = .sequence(try SequenceReader(pattern: path))
        } else if type == S_IFDIR {
            source = .sequence(try SequenceReader(directory: path))
        } else if type == nil {
            throw .system(path, errno: code, missing: .missingInput)
        } else if type != S_IFREG {
            throw .inaccessible(path: path, reason: "is not a regular file", kind: .badData)
        } else {
            source = .video(try VideoReader(path))
        }
        info =
            switch source {
            case .video(let decoder): decoder.info
            case .sequence(let reader): reader.info
            }
    }

    /// Whether the frames delivered so far last differently long.
    public var hasVariableFrameRate: Bool {
        if case .video(let decoder) = source { decoder.hasVariableFrameRate } else { false }
    }

    /// The next frame; nil after the last.
    ///
    /// - Throws: `MediaError.malformed` or `.library` where the file is truncated or damaged.
    public func next() throws(MediaError) -> VideoFrame? {
        switch source {
        case .sequence(let reader):
            guard let frame = try reader.next() else { return nil }
            if frame.depth != depth {
                throw .malformed(
                    path: info.path, found: "\(frame.depth.rawValue)-bit frames",
                    expected: "\(depth.rawValue)-bit frames")
            }
            frameCount += 1
            return frame
        case .video(let decoder):
            guard let picture = try decoder.next() else { return nil }
            if converter == nil {
                converter = try makeConverter(picture)
                orientation = Orientation(picture)
            }
            try converter?.convert(picture)
            frameCount += 1
            return converter?.frame()
        }
    }

    /// The next frame's planes as stored; nil after the last.
    ///
    /// - Throws: `MediaError.invalid` unless the video is planar Y'CbCr of 8 bits.
    public func nextPlanes() throws(MediaError) -> YUVFrame? {
        guard case .video(let decoder) = source, info.pixelFormat.hasPrefix("yuv"), info.bitDepth == 8,
            !info.hadAlpha
        else {
            throw .invalid(
                "pixel format of \(info.path)", found: info.pixelFormat,
                expected: "planar Y'CbCr of 8 bits", kind: .badData)
        }
        guard let picture = try decoder.next() else { return nil }
        frameCount += 1
        let planes = (0..<3).compactMap { (plane: Int32) -> Tensor? in
            let columns = vdit_av_plane_row_bytes(picture, plane)
            let rows = vdit_av_plane_rows(picture, plane)
            if columns == 0 { return nil }
            let tensor = Tensor(.u8, [Int(rows), Int(columns)])
            vdit_av_copy_plane(picture, plane, tensor.pointer(of: UInt8.self), columns, rows)
            return tensor
        }
        return YUVFrame(planes: planes)
    }

    private func makeConverter(_ picture: UnsafePointer<AVFrame>) throws(MediaError) -> PixelConverter {
        let format = AVPixelFormat(rawValue: picture.pointee.format)
        let tagged = picture.pointee.colorspace
        let matrix = tagged == AVCOL_SPC_UNSPECIFIED ? VideoReader.assumedMatrix(info.height) : tagged
        let known = [
            AVCOL_SPC_BT709, AVCOL_SPC_FCC, AVCOL_SPC_BT470BG, AVCOL_SPC_SMPTE170M, AVCOL_SPC_SMPTE240M,
            AVCOL_SPC_BT2020_NCL,
        ]
        if !PixelConverter.isRGB(format), !known.contains(matrix) {
            throw .invalid(
                "colour matrix of \(info.path)", found: info.matrix ?? "unknown",
                expected: "bt709, bt470bg, smpte170m, smpte240m, fcc or bt2020nc", kind: .unsupported)
        }
        let isFull = picture.pointee.color_range == AVCOL_RANGE_JPEG || info.pixelFormat.hasPrefix("yuvj")
        return try PixelConverter(
            from: format, to: PixelConverter.samples(depth), width: info.width, height: info.height,
            yuv: YUVColour(
                matrix: matrix, isFullRange: isFull, location: picture.pointee.chroma_location),
            ownsSource: false)
    }
}
