import CFFmpeg
import Glibc
import VditFiles
import VditTensor

/// Frames to a container file through libavformat.
package final class VideoSink: FrameSink {
    private let plan: VideoPlan
    /// What to call the output.
    private let name: String
    /// Nil for standard output, which is what it is at once.
    private let temporary: String?
    private let encoder: VideoEncoder
    private let converter: PixelConverter
    private let palette: PaletteFilter?
    private var container: UnsafeMutablePointer<AVFormatContext>?
    private var frames = 0
    private var packets = 0
    private var finished = false

    /// - Parameter temporary: where to write before the rename; tests pass a device that is full.
    package init(_ plan: VideoPlan, temporary: String? = nil) throws(MediaError) {
        self.plan = plan
        name = StandardOutput.shown(plan.path)
        try MediaError.files { () throws(FileError) in
            try AtomicFile.checkStream(plan.path, existing: plan.options.existing)
        }
        self.temporary = plan.path == StandardOutput.name
            ? nil : temporary ?? AtomicFile.freshTemporaryPath(for: plan.path)
        guard let muxer = plan.format.muxer, let format = av_guess_format(muxer, nil, nil) else {
            throw .library(
                path: plan.path, call: "av_guess_format",
                reason: "this FFmpeg build cannot write .\(plan.format.rawValue)", kind: .unsupported)
        }
        encoder = try VideoEncoder(
            plan, globalHeader: format.pointee.flags & AVFMT_GLOBALHEADER != 0)
        let isGIF = plan.format == .gif
        converter = try PixelConverter(
            from: PixelConverter.samples(plan.frameDepth),
            to: isGIF ? PaletteFilter.input : plan.libavFormat, width: plan.width, height: plan.height,
            ownsSource: true)
        palette = isGIF ? try PaletteFilter(plan) : nil
        encoder.tag(converter.target)
        try open(format)
    }

    deinit {
        close()
        if let temporary, !finished { unlink(temporary) }
    }

    private func open(_ format: UnsafePointer<AVOutputFormat>) throws(MediaError) {
        let url = temporary.map(Libav.url) ?? Libav.standardOutput
        try Libav.check(name, "avformat_alloc_output_context2", fallback: .internalError) {
            url.withPath { avformat_alloc_output_context2(&container, format, nil, $0) }
        }
        guard let container, let stream = avformat_new_stream(container, nil) else {
            throw Libav.outOfMemory(name, "avformat_new_stream")
        }
        container.pointee.flags |= AVFMT_FLAG_BITEXACT
        stream.pointee.time_base = encoder.context.pointee.time_base
        stream.pointee.avg_frame_rate = encoder.context.pointee.framerate
        stream.pointee.r_frame_rate = encoder.context.pointee.framerate
        try Libav.check(name, "avcodec_parameters_from_context", fallback: .internalError) {
            avcodec_parameters_from_context(stream.pointee.codecpar, encoder.context)
        }
        if plan.codec == .hevc, plan.format == .mp4 || plan.format == .mov {
            // The tag Apple's players look for: parameter sets live in the header only.
            stream.pointee.codecpar.pointee.codec_tag = UInt32(littleEndian: 0x3163_7668)
        }
        if plan.format.keepsMetadata {
            for (key, value) in plan.options.metadata.sorted(by: { $0.key < $1.key }) {
                av_dict_set(&container.pointee.metadata, key, value, 0)
            }
        }
        try Libav.check(name, "creating the file", fallback: .cannotCreate) {
            url.withPath { avio_open(&container.pointee.pb, $0, AVIO_FLAG_WRITE) }
        }
        var given: [(String, String)] = []
        if plan.format == .mp4 || plan.format == .mov { given.append(("movflags", "use_metadata_tags+faststart")) }
        if let loop = plan.options.loop { given.append(("loop", "\(loop)")) }
        var options = LibavOptions(given)
        try Libav.check(name, "avformat_write_header", fallback: .ioError) {
            avformat_write_header(container, &options.dictionary)
        }
        if let unused = options.unused {
            throw .library(
                path: name, call: "avformat_write_header", reason: "it has no option \(unused)",
                kind: .unsupported)
        }
    }

    private func close() {
        if container?.pointee.pb != nil { avio_closep(&container!.pointee.pb) }
        avformat_free_context(container)
        container = nil
    }

    package func write(_ frame: VideoFrame) throws(MediaError) {
        try converter.convert(frame)
        converter.target.pointee.pts = Int64(frames)
        frames += 1
        if let palette {
            try palette.push(converter.target)
        } else {
            try encode(converter.target)
        }
    }

    package func finish() throws(MediaError) {
        try palette?.drain { (picture) throws(MediaError) in try encode(picture) }
        try encode(nil)
        guard let container else { return }
        try Libav.check(name, "av_write_trailer", fallback: .ioError) { av_write_trailer(container) }
        try Libav.check(name, "writing", fallback: .ioError) {
            avio_flush(container.pointee.pb)
            return container.pointee.pb.pointee.error
        }
        try Libav.check(name, "avio_closep", fallback: .ioError) { avio_closep(&container.pointee.pb) }
        close()
        guard let temporary else { return }
        let found = try PacketCount.video(in: temporary, named: name)
        if found != frames {
            throw .malformed(path: name, found: "\(found) frames read back", expected: "\(frames)")
        }
        finished = true
        try MediaError.files { () throws(FileError) in
            try AtomicFile.commit(temporary: temporary, to: plan.path, existing: plan.options.existing)
        }
    }

    private func encode(_ picture: UnsafeMutablePointer<AVFrame>?) throws(MediaError) {
        try encoder.encode(picture) { (packet) throws(MediaError) in
            guard let container, let stream = container.pointee.streams[0] else { return }
            packet.pointee.stream_index = 0
            av_packet_rescale_ts(
                packet, encoder.context.pointee.time_base, stream.pointee.time_base)
            try Libav.check(name, "writing", fallback: .ioError) {
                let status = av_interleaved_write_frame(container, packet)
                return status < 0 ? status : min(0, container.pointee.pb.pointee.error)
            }
        }
    }
}

/// Counts what a demuxer finds in a finished file.
enum PacketCount {
    /// - Parameter name: the name to use in errors.
    static func video(in path: String, named name: String) throws(MediaError) -> Int {
        var container: UnsafeMutablePointer<AVFormatContext>?
        try Libav.check(name, "reading back", fallback: .ioError) {
            Libav.url(path).withPath { avformat_open_input(&container, $0, nil, nil) }
        }
        defer { avformat_close_input(&container) }
        guard let packet = av_packet_alloc() else { throw Libav.outOfMemory(name, "av_packet_alloc") }
        defer {
            var packet: UnsafeMutablePointer<AVPacket>? = packet
            av_packet_free(&packet)
        }
        var count = 0
        while true {
            Libav.prepare()
            let status = av_read_frame(container, packet)
            if status == vdit_averror_eof() { return count }
            if status < 0 { throw Libav.error(name, "reading back", status, fallback: .ioError) }
            if packet.pointee.size > 0 { count += 1 }
            av_packet_unref(packet)
        }
    }
}
