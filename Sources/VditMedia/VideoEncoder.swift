import CFFmpeg
import VditTensor

/// One open libavcodec encoder: frames of ours in, packets out.
final class VideoEncoder {
    private let plan: VideoPlan
    let context: UnsafeMutablePointer<AVCodecContext>
    private let packet: UnsafeMutablePointer<AVPacket>

    /// - Parameter globalHeader: whether the container keeps the codec's header apart from the packets.
    init(_ plan: VideoPlan, globalHeader: Bool) throws(MediaError) {
        self.plan = plan
        guard let codec = avcodec_find_encoder_by_name(plan.encoder),
            let context = avcodec_alloc_context3(codec), let packet = av_packet_alloc()
        else { throw Libav.outOfMemory(plan.path, "avcodec_alloc_context3") }
        self.context = context
        self.packet = packet
        let rate = plan.options.frameRate
        context.pointee.width = Int32(plan.width)
        context.pointee.height = Int32(plan.height)
        context.pointee.pix_fmt = plan.libavFormat
        context.pointee.time_base = AVRational(num: Int32(rate.denominator), den: Int32(rate.numerator))
        context.pointee.framerate = AVRational(num: Int32(rate.numerator), den: Int32(rate.denominator))
        context.pointee.sample_aspect_ratio = AVRational(num: 1, den: 1)
        context.pointee.flags |= Int32(AV_CODEC_FLAG_BITEXACT)
        if globalHeader { context.pointee.flags |= Int32(AV_CODEC_FLAG_GLOBAL_HEADER) }
        context.pointee.thread_count = plan.threads
        setColour()
        var options = LibavOptions(settings())
        try Libav.check(plan.path, "opening encoder \(plan.encoder)", fallback: .unsupported) {
            avcodec_open2(context, codec, &options.dictionary)
        }
        if let unused = options.unused {
            throw .library(
                path: plan.path, call: "opening encoder \(plan.encoder)",
                reason: "it has no option \(unused)", kind: .unsupported)
        }
    }

    deinit {
        var context: UnsafeMutablePointer<AVCodecContext>? = context
        avcodec_free_context(&context)
        var packet: UnsafeMutablePointer<AVPacket>? = packet
        av_packet_free(&packet)
    }

    /// Encodes one picture, or with nil the ones still inside, and passes on every packet that is ready.
    func encode(
        _ picture: UnsafeMutablePointer<AVFrame>?,
        _ receive: (UnsafeMutablePointer<AVPacket>) throws(MediaError) -> Void
    ) throws(MediaError) {
        try Libav.check(plan.path, "avcodec_send_frame", fallback: .internalError) {
            avcodec_send_frame(context, picture)
        }
        while true {
            Libav.prepare()
            let status = avcodec_receive_packet(context, packet)
            if status == vdit_averror(EAGAIN) || status == vdit_averror_eof() { return }
            if status < 0 {
                throw Libav.error(plan.path, "avcodec_receive_packet", status, fallback: .internalError)
            }
            defer { av_packet_unref(packet) }
            if packet.pointee.duration == 0 { packet.pointee.duration = 1 }
            try receive(packet)
        }
    }

    /// Gives a picture the stream's colour tags; ProRes writes them into each frame.
    func tag(_ picture: UnsafeMutablePointer<AVFrame>) {
        picture.pointee.colorspace = context.pointee.colorspace
        picture.pointee.color_primaries = context.pointee.color_primaries
        picture.pointee.color_trc = context.pointee.color_trc
        picture.pointee.color_range = context.pointee.color_range
        picture.pointee.chroma_location = context.pointee.chroma_sample_location
    }

    private func setColour() {
        context.pointee.color_primaries = AVCOL_PRI_BT709
        if plan.format == .gif { return }
        if PixelConverter.isRGB(plan.libavFormat) {
            context.pointee.colorspace = AVCOL_SPC_RGB
            context.pointee.color_trc = AVCOL_TRC_IEC61966_2_1
            context.pointee.color_range = AVCOL_RANGE_JPEG
        } else {
            context.pointee.colorspace = AVCOL_SPC_BT709
            context.pointee.color_trc = AVCOL_TRC_BT709
            context.pointee.color_range = AVCOL_RANGE_MPEG
            context.pointee.chroma_sample_location = YUVColour.bt709.location
        }
    }

    /// The encoder's own options. What could make bytes depend on the number of threads is pinned here.
    private func settings() -> [(String, String)] {
        let crf = plan.crf.map { [("crf", String($0))] } ?? []
        let preset = plan.preset ?? ""
        switch plan.codec {
        case .h264:
            return crf + [("preset", preset)]
        case .hevc:
            let parameters =
                "log-level=none:info=0:frame-threads=1:pools=\(plan.options.threads)"
            return crf + [("preset", preset), ("x265-params", parameters)]
        case .av1:
            return crf + [("cpu-used", preset), ("b", "0"), ("row-mt", "0"), ("tiles", "1x1")]
        case .vp9:
            return crf + [
                ("cpu-used", preset), ("b", "0"), ("deadline", "good"), ("row-mt", "0"),
                ("tile-columns", "0"),
            ]
        case .prores:
            let isFull = plan.pixelFormat.hasPrefix("yuv444")
            return [("profile", isFull ? "4444" : "hq"), ("vendor", "apl0")]
        case .ffv1:
            return [("level", "3"), ("slicecrc", "1"), ("g", "1")]
        case nil:
            return []
        }
    }
}
