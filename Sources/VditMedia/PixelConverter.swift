import CFFmpeg
import VditTensor

/// How a Y'CbCr picture relates to R'G'B'.
struct YUVColour: Equatable {
    var matrix: AVColorSpace
    var isFullRange: Bool
    var location: AVChromaLocation

    /// What we write: BT.709, limited range, chroma sited left as H.264, HEVC and VP9 assume.
    static let bt709 = YUVColour(
        matrix: AVCOL_SPC_BT709, isFullRange: false, location: AVCHROMA_LOC_LEFT)
}

/// Converts pictures of one size between R'G'B' samples and another pixel format, with swscale's exact and
/// reproducible code paths.
final class PixelConverter {
    private let context: OpaquePointer
    let source: UnsafeMutablePointer<AVFrame>?
    let target: UnsafeMutablePointer<AVFrame>

    /// - Parameters:
    ///   - from: source pixel format and, if it is Y'CbCr, its colour.
    ///   - ownsSource: whether `source` is allocated here, for pictures that come from memory.
    init(
        from: AVPixelFormat, to: AVPixelFormat, width: Int, height: Int,
        sourceSize: (width: Int, height: Int)? = nil, yuv: YUVColour = .bt709, ownsSource: Bool
    ) throws(MediaError) {
        guard let context = sws_alloc_context() else { throw Libav.outOfMemory("swscale", "sws_alloc_context") }
        let (sourceWidth, sourceHeight) = sourceSize ?? (width, height)
        let flags =
            SWS_LANCZOS | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_BITEXACT
        var settings: [(String, Int)] = [
            ("srcw", sourceWidth), ("srch", sourceHeight), ("src_format", Int(from.rawValue)),
            ("dstw", width), ("dsth", height), ("dst_format", Int(to.rawValue)),
            ("sws_flags", Int(flags)),
            ("src_range", Self.isRGB(from) || yuv.isFullRange ? 1 : 0),
            ("dst_range", Self.isRGB(to) || yuv.isFullRange ? 1 : 0),
        ]
        settings += Self.siting("src", of: from, yuv.location) + Self.siting("dst", of: to, yuv.location)
        for (name, value) in settings {
            av_opt_set_int(UnsafeMutableRawPointer(context), name, Int64(value), 0)
        }
        do throws(MediaError) {
            try Libav.check("swscale", "sws_init_context", fallback: .unsupported) {
                sws_init_context(context, nil, nil)
            }
            let matrix = sws_getCoefficients(Int32(bitPattern: yuv.matrix.rawValue))
            try Libav.check("swscale", "sws_setColorspaceDetails", fallback: .unsupported) {
                // RGB to RGB has no matrix to set and says so.
                let status = sws_setColorspaceDetails(
                    context, matrix, Self.isRGB(from) || yuv.isFullRange ? 1 : 0, matrix,
                    Self.isRGB(to) || yuv.isFullRange ? 1 : 0, 0, 1 << 16, 1 << 16)
                return Self.isRGB(from) && Self.isRGB(to) ? 0 : status
            }
            target = try Libav.picture(to, width, height)
            source = ownsSource ? try Libav.picture(from, sourceWidth, sourceHeight) : nil
        } catch {
            sws_freeContext(context)
            throw error
        }
        self.context = context
    }

    deinit {
        sws_freeContext(context)
        var frames = [source, target]
        for index in frames.indices where frames[index] != nil { av_frame_free(&frames[index]) }
    }

    /// Converts a picture libav gave us; the result is in `target` until the next call.
    func convert(_ picture: UnsafePointer<AVFrame>) throws(MediaError) {
        try makeTargetWritable()
        try Libav.check("swscale", "sws_scale", fallback: .internalError) {
            vdit_sws_convert(context, picture, target)
        }
    }

    /// Converts samples of ours, of the format and size given to `init`.
    func convert(_ frame: VideoFrame) throws(MediaError) {
        guard let source else { preconditionFailure("the converter was made without a source picture") }
        fill(source, from: frame)
        try convert(source)
    }

    /// The result as samples of ours; the target format must be rgb24 or rgb48.
    func frame() -> VideoFrame {
        let depth: SampleDepth = target.pointee.format == AV_PIX_FMT_RGB24.rawValue ? .eight : .sixteen
        let (height, width) = (Int(target.pointee.height), Int(target.pointee.width))
        let result = VideoFrame(height: height, width: width, depth: depth)
        vdit_av_copy_plane(
            target, 0, result.pixels.pointer(of: UInt8.self),
            Int32(width * 3 * depth.dtype.byteCount), Int32(height))
        return result
    }

    private func fill(_ picture: UnsafeMutablePointer<AVFrame>, from frame: VideoFrame) {
        vdit_av_fill_plane(
            picture, 0, frame.pixels.pointer(of: UInt8.self),
            Int32(frame.width * 3 * frame.depth.dtype.byteCount), Int32(frame.height))
    }

    private func makeTargetWritable() throws(MediaError) {
        try Libav.check("frame", "av_frame_make_writable", fallback: .osError) {
            av_frame_make_writable(target)
        }
    }

    static func isRGB(_ format: AVPixelFormat) -> Bool {
        guard let description = av_pix_fmt_desc_get(format) else { return false }
        return description.pointee.flags & UInt64(AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL) != 0
    }

    /// The format of our samples in memory.
    static func samples(_ depth: SampleDepth) -> AVPixelFormat {
        depth == .eight ? AV_PIX_FMT_RGB24 : VDIT_PIX_FMT_RGB48
    }

    /// swscale's chroma position options, in 1/256 of a luma sample, for subsampled formats.
    private static func siting(
        _ side: String, of format: AVPixelFormat, _ location: AVChromaLocation
    ) -> [(String, Int)] {
        guard let description = av_pix_fmt_desc_get(format), !isRGB(format) else { return [] }
        let horizontal = description.pointee.log2_chroma_w == 1
        let vertical = description.pointee.log2_chroma_h == 1
        let (x, y) =
            switch location {
            case AVCHROMA_LOC_CENTER: (128, 128)
            case AVCHROMA_LOC_TOPLEFT: (0, 0)
            case AVCHROMA_LOC_TOP: (128, 0)
            case AVCHROMA_LOC_BOTTOMLEFT: (0, 256)
            case AVCHROMA_LOC_BOTTOM: (128, 256)
            default: (0, 128)
            }
        return (horizontal ? [("\(side)_h_chr_pos", x)] : []) + (vertical ? [("\(side)_v_chr_pos", y)] : [])
    }
}

extension Tensor {
    /// The bytes behind any dtype.
    func pointer(of type: UInt8.Type) -> UnsafeMutablePointer<UInt8> {
        rawPointer.assumingMemoryBound(to: UInt8.self)
    }
}
