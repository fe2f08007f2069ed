import CFFmpeg
import Glibc
import VditFiles
import VditTensor

/// Decodes the first video stream of a file, and insists that the file is whole.
final class VideoReader {
    let info: VideoInfo
    private let path: String
    private var container: UnsafeMutablePointer<AVFormatContext>?
    private var context: UnsafeMutablePointer<AVCodecContext>?
    private var packet: UnsafeMutablePointer<AVPacket>?
    private var picture: UnsafeMutablePointer<AVFrame>?
    private var stream = 0
    private var end: Int64 = 0
    private var frames = 0
    private var times: (last: Int64, shortest: Int64, longest: Int64)?

    init(_ path: String) throws(MediaError) {
        self.path = path
        let opened = try Self.open(path)
        info = opened.info
        container = opened.container
        context = opened.context
        stream = opened.stream
        packet = av_packet_alloc()
        picture = av_frame_alloc()
        if packet == nil || picture == nil { throw Libav.outOfMemory(path, "av_frame_alloc") }
    }

    deinit {
        av_frame_free(&picture)
        av_packet_free(&packet)
        avcodec_free_context(&context)
        avformat_close_input(&container)
    }

    /// Whether frames last differently long (by more than the rounding of the container's clock).
    var hasVariableFrameRate: Bool { times.map { $0.longest - $0.shortest > 1 && $0.shortest < .max } ?? false }

    /// The next picture, valid until the next call; nil after the last.
    func next() throws(MediaError) -> UnsafePointer<AVFrame>? {
        guard let context, let packet, let picture else { return nil }
        while true {
            Libav.prepare()
            let status = avcodec_receive_frame(context, picture)
            if status == 0 {
                try checkMessage()
                try check(picture)
                frames += 1
                return UnsafePointer(picture)
            }
            if status == vdit_averror_eof() {
                if frames == 0 { throw damaged("no frames", expected: "at least one") }
                return nil
            }
            if status != vdit_averror(EAGAIN) { throw undecodable(status) }
            try feed(context, packet)
        }
    }

    private func feed(
        _ context: UnsafeMutablePointer<AVCodecContext>, _ packet: UnsafeMutablePointer<AVPacket>
    ) throws(MediaError) {
        Libav.prepare()
        let status = av_read_frame(container, packet)
        if status == vdit_averror_eof() {
            try checkEnd()
            try Libav.check(path, "avcodec_send_packet", fallback: .badData) {
                avcodec_send_packet(context, nil)
            }
            return
        }
        if status < 0 { throw undecodable(status) }
        defer { av_packet_unref(packet) }
        if Int(packet.pointee.stream_index) != stream { return }
        if packet.pointee.flags & AV_PKT_FLAG_CORRUPT != 0 {
            throw damaged("a damaged packet after frame \(frames)", expected: "whole packets")
        }
        end = max(end, packet.pointee.pos + Int64(packet.pointee.size))
        Libav.prepare()
        let sent = avcodec_send_packet(context, packet)
        if sent < 0 { throw undecodable(sent) }
        try checkMessage()
    }

    /// Some decoders (FFV1 with a wrong checksum) report damage only in the log, and conceal it.
    private func checkMessage() throws(MediaError) {
        if let message = Libav.message {
            throw damaged("\(message) after \(frames) frames", expected: "frames that decode cleanly")
        }
    }

    private func check(_ picture: UnsafeMutablePointer<AVFrame>) throws(MediaError) {
        let frame = picture.pointee
        if frame.flags & AV_FRAME_FLAG_CORRUPT != 0 || frame.decode_error_flags != 0 {
            throw damaged("damage in frame \(frames)", expected: "frames that decode cleanly")
        }
        let name = Libav.name(of: AVPixelFormat(rawValue: frame.format))
        if Int(frame.width) != info.width || Int(frame.height) != info.height || name != info.pixelFormat {
            throw .malformed(
                path: path, found: "frame \(frames) of \(frame.width)x\(frame.height) \(name)",
                expected: "\(info.width)x\(info.height) \(info.pixelFormat) throughout")
        }
        let time = frame.best_effort_timestamp
        if time == vdit_av_nopts() { return }
        if let (last, shortest, longest) = times {
            let (step, overflow) = time.subtractingReportingOverflow(last)
            if !overflow { times = (time, min(shortest, step), max(longest, step)) }
        } else {
            times = (time, .max, 0)
        }
    }

    /// Demuxers end a truncated file as they end a whole one; what they log, or where they stop, tells.
    private func checkEnd() throws(MediaError) {
        if let message = Libav.message {
            throw damaged("\(message) after \(frames) frames", expected: "a complete file")
        }
        if let io = container?.pointee.pb, io.pointee.error < 0 {
            throw Libav.error(path, "reading", io.pointee.error, fallback: .ioError)
        }
        if info.container == "yuv4mpegpipe", let io = container?.pointee.pb, avio_size(io) != end {
            throw damaged("part of a frame at the end", expected: "whole frames")
        }
    }

    private func damaged(_ found: String, expected: String) -> MediaError {
        .malformed(path: path, found: found, expected: expected)
    }

    private func undecodable(_ status: Int32) -> MediaError {
        Libav.error(path, "decoding after \(frames) frames", status, fallback: .badData)
    }
}

extension VideoReader {
    private struct Opened {
        var container: UnsafeMutablePointer<AVFormatContext>
        var context: UnsafeMutablePointer<AVCodecContext>
        var stream: Int
        let info: VideoInfo
    }

    private static func open(_ path: String) throws(MediaError) -> Opened {
        var container: UnsafeMutablePointer<AVFormatContext>?
        var context: UnsafeMutablePointer<AVCodecContext>?
        do throws(MediaError) {
            // A playlist must not make us open anything but files.
            var options = LibavOptions([("protocol_whitelist", "file")])
            try Libav.check(path, "opening", fallback: .badData) {
                Libav.url(path).withPath { avformat_open_input(&container, $0, nil, &options.dictionary) }
            }
            try Libav.check(path, "avformat_find_stream_info", fallback: .badData) {
                avformat_find_stream_info(container, nil)
            }
            let index = av_find_best_stream(container, AVMEDIA_TYPE_VIDEO, -1, -1, nil, 0)
            guard index >= 0, let opened = container, let stream = opened.pointee.streams[Int(index)],
                stream.pointee.disposition & AV_DISPOSITION_ATTACHED_PIC == 0
            else { throw .malformed(path: path, found: "no video stream", expected: "a video") }
            let parameters = stream.pointee.codecpar
            guard let id = parameters?.pointee.codec_id, let codec = avcodec_find_decoder(id) else {
                throw .library(
                    path: path, call: "avcodec_find_decoder",
                    reason: "this FFmpeg build cannot decode its codec", kind: .unsupported)
            }
            context = avcodec_alloc_context3(codec)
            guard let made = context else { throw Libav.outOfMemory(path, "avcodec_alloc_context3") }
            try Libav.check(path, "avcodec_parameters_to_context", fallback: .badData) {
                avcodec_parameters_to_context(made, parameters)
            }
            made.pointee.pkt_timebase = stream.pointee.time_base
            made.pointee.thread_count = 1
            made.pointee.err_recognition =
                AV_EF_CRCCHECK | AV_EF_BITSTREAM | AV_EF_BUFFER | AV_EF_EXPLODE
            try Libav.check(path, "avcodec_open2", fallback: .unsupported) {
                avcodec_open2(made, codec, nil)
            }
            // Here, where what was opened is closed when it throws.
            let info = try describe(path, opened, Int(index), made)
            return Opened(container: opened, context: made, stream: Int(index), info: info)
        } catch {
            avcodec_free_context(&context)
            avformat_close_input(&container)
            throw error
        }
    }

    private static func describe(
        _ path: String, _ container: UnsafeMutablePointer<AVFormatContext>, _ index: Int,
        _ context: UnsafeMutablePointer<AVCodecContext>
    ) throws(MediaError) -> VideoInfo {
        let (width, height) = (Int(context.pointee.width), Int(context.pointee.height))
        guard let stream = container.pointee.streams[index],
            let format = av_pix_fmt_desc_get(context.pointee.pix_fmt), (1...16384).contains(width),
            (1...16384).contains(height)
        else {
            throw .malformed(
                path: path, found: "a picture of \(width)x\(height)", expected: "1 to 16384 pixels a side")
        }
        let isRGB = PixelConverter.isRGB(context.pointee.pix_fmt)
        let matrix = context.pointee.colorspace
        let isTagged = matrix != AVCOL_SPC_UNSPECIFIED
        let text = { (name: UnsafePointer<CChar>?) in name.map { String(cString: $0) } ?? "unknown" }
        return VideoInfo(
            path: path, width: width, height: height,
            frameRate: frameRate(stream.pointee.avg_frame_rate),
            container: text(container.pointee.iformat.pointee.name),
            codec: text(avcodec_get_name(context.pointee.codec_id)), pixelFormat: text(format.pointee.name),
            bitDepth: Int(format.pointee.comp.0.depth),
            matrix: isTagged ? text(av_color_space_name(matrix)) : nil,
            primaries: context.pointee.color_primaries == AVCOL_PRI_UNSPECIFIED
                ? nil : text(av_color_primaries_name(context.pointee.color_primaries)),
            transfer: context.pointee.color_trc == AVCOL_TRC_UNSPECIFIED
                ? nil : text(av_color_transfer_name(context.pointee.color_trc)),
            range: context.pointee.color_range == AVCOL_RANGE_UNSPECIFIED
                ? nil : text(av_color_range_name(context.pointee.color_range)),
            assumedMatrix: isTagged || isRGB ? nil : text(av_color_space_name(assumedMatrix(height))),
            hasSubsampledChroma: format.pointee.log2_chroma_w > 0 || format.pointee.log2_chroma_h > 0,
            hadAlpha: format.pointee.flags & UInt64(AV_PIX_FMT_FLAG_ALPHA) != 0,
            metadata: tags(container.pointee.metadata))
    }

    static func assumedMatrix(_ height: Int) -> AVColorSpace {
        height >= 720 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M
    }

    private static func frameRate(_ rate: AVRational) -> FrameRate? {
        var (numerator, denominator): (Int32, Int32) = (0, 0)
        av_reduce(&numerator, &denominator, Int64(rate.num), Int64(rate.den), 1_000_000)
        return try? FrameRate(Int(numerator), Int(denominator))
    }

    private static func tags(_ dictionary: OpaquePointer?) -> [String: String] {
        var tags: [String: String] = [:]
        var entry: UnsafeMutablePointer<AVDictionaryEntry>?
        while let next = av_dict_get(dictionary, "", entry, AV_DICT_IGNORE_SUFFIX) {
            tags[String(cString: next.pointee.key)] = String(cString: next.pointee.value)
            entry = next
        }
        return tags
    }
}
