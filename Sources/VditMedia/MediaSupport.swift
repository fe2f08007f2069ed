import CFFmpeg
import CPNG

/// What this machine's FFmpeg and libpng offer.
public enum MediaSupport {
    public struct Codec: Sendable, Equatable {
        public let codec: VideoCodec
        /// libav's names of the encoders present; empty if the codec cannot be written.
        public let encoders: [String]
        public let canDecode: Bool
    }

    /// The version of FFmpeg, such as "5.1.9-0+deb12u1".
    public static var ffmpegVersion: String { String(cString: av_version_info()) }

    public static var pngVersion: String { String(cString: vdit_png_version()) }

    /// The versions of the libraries at run time, by name.
    public static var libraryVersions: [(name: String, version: String)] {
        [
            ("libavformat", avformat_version()), ("libavcodec", avcodec_version()),
            ("libavfilter", avfilter_version()), ("libswscale", swscale_version()),
            ("libavutil", avutil_version()),
        ].map { ($0.0, "\($0.1 >> 16).\($0.1 >> 8 & 255).\($0.1 & 255)") }
    }

    /// Every codec that can be asked for, and what this build has of it.
    public static var codecs: [Codec] {
        VideoCodec.allCases.map { codec in
            let encoders = EncoderRow.of(codec).encoders
            let name = codec == .prores ? "prores" : codec.rawValue
            let descriptor = avcodec_descriptor_get_by_name(name)
            let decoder = descriptor.flatMap { avcodec_find_decoder($0.pointee.id) }
            return Codec(
                codec: codec, encoders: encoders.map { String(cString: $0.pointee.name) },
                canDecode: decoder != nil)
        }
    }

    /// The outputs this build can write.
    public static var formats: [OutputFormat] {
        OutputFormat.allCases.filter { format in
            guard let muxer = format.muxer else { return true }
            return av_guess_format(muxer, nil, nil) != nil
        }
    }
}
