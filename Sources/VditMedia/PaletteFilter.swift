import CFFmpeg
import VditTensor

/// Chooses one palette for a whole clip and dithers its frames to it, through libavfilter.
///
/// The palette depends on the last frame too, so the clip is held here, four bytes a pixel.
final class PaletteFilter {
    static let input = AV_PIX_FMT_BGRA

    private let path: String
    private let frameDuration: AVRational
    private var graph: UnsafeMutablePointer<AVFilterGraph>?
    private let source: UnsafeMutablePointer<AVFilterContext>
    private let sink: UnsafeMutablePointer<AVFilterContext>

    init(_ plan: VideoPlan) throws(MediaError) {
        path = plan.path
        Libav.prepare()
        var graph = avfilter_graph_alloc()
        guard let made = graph else { throw Libav.outOfMemory(path, "avfilter_graph_alloc") }
        made.pointee.nb_threads = 1
        let rate = plan.options.frameRate
        frameDuration = AVRational(num: Int32(rate.denominator), den: Int32(rate.numerator))
        let description = """
            buffer@in=video_size=\(plan.width)x\(plan.height):pix_fmt=bgra:\
            time_base=\(rate.denominator)/\(rate.numerator):\
            frame_rate=\(rate.numerator)/\(rate.denominator):pixel_aspect=1/1,split[a][b];\
            [a]palettegen=reserve_transparent=0[p];\
            [b][p]paletteuse=dither=sierra2_4a:diff_mode=rectangle,buffersink@out
            """
        do throws(MediaError) {
            var inputs: UnsafeMutablePointer<AVFilterInOut>?
            var outputs: UnsafeMutablePointer<AVFilterInOut>?
            defer {
                avfilter_inout_free(&inputs)
                avfilter_inout_free(&outputs)
            }
            try Libav.check(path, "avfilter_graph_parse2", fallback: .unsupported) {
                avfilter_graph_parse2(made, description, &inputs, &outputs)
            }
            try Libav.check(path, "avfilter_graph_config", fallback: .unsupported) {
                avfilter_graph_config(made, nil)
            }
            guard let source = avfilter_graph_get_filter(made, "buffer@in"),
                let sink = avfilter_graph_get_filter(made, "buffersink@out")
            else {
                throw .library(
                    path: path, call: "avfilter_graph_get_filter", reason: "no such filter",
                    kind: .internalError)
            }
            self.source = source
            self.sink = sink
        } catch {
            avfilter_graph_free(&graph)
            throw error
        }
        self.graph = graph
    }

    deinit { avfilter_graph_free(&graph) }

    func push(_ picture: UnsafeMutablePointer<AVFrame>) throws(MediaError) {
        try Libav.check(path, "av_buffersrc_write_frame", fallback: .osError) {
            av_buffersrc_write_frame(source, picture)
        }
    }

    /// Ends the clip and passes on its frames, reduced to the palette.
    func drain(
        _ receive: (UnsafeMutablePointer<AVFrame>) throws(MediaError) -> Void
    ) throws(MediaError) {
        try Libav.check(path, "av_buffersrc_close", fallback: .internalError) {
            av_buffersrc_write_frame(source, nil)
        }
        guard let picture = av_frame_alloc() else { throw Libav.outOfMemory(path, "av_frame_alloc") }
        defer {
            var picture: UnsafeMutablePointer<AVFrame>? = picture
            av_frame_free(&picture)
        }
        while true {
            Libav.prepare()
            let status = av_buffersink_get_frame(sink, picture)
            if status == vdit_averror_eof() { return }
            if status < 0 {
                throw Libav.error(path, "av_buffersink_get_frame", status, fallback: .internalError)
            }
            defer { av_frame_unref(picture) }
            picture.pointee.pts = av_rescale_q(
                picture.pointee.pts, av_buffersink_get_time_base(sink), frameDuration)
            try receive(picture)
        }
    }
}
