import VditFiles
import VditTensor

/// The shape of an `AutoencoderKLLTXVideo`, as its `config.json` states it: the layouts of LTX-Video 0.9.0, of 0.9.1
/// and of 0.9.5 and later, and what lies between.
///
/// The decoder's lists are kept in the order the decoder runs, the reverse of the file's.
public struct LTXVAEConfig: Sendable, Equatable {
    /// Latent channels.
    public var latentChannels: Int
    /// Pixels folded into channels, in height and in width.
    public var patchSize: Int
    public var encoder: Encoder
    public var decoder: Decoder
    public var spatialCompression: Int
    public var temporalCompression: Int

    public struct Encoder: Sendable, Equatable {
        /// Channels of each level.
        public var channels: [Int]
        /// Residual blocks of each level, then of the middle.
        public var layers: [Int]
        /// What ends each level.
        public var downsamplers: [Downsampler]
        /// Whether a level ends with as many channels as the next one has (0.9.5), or changes them behind its
        /// downsampler.
        public var widensInDownsampler: Bool
    }

    public enum Downsampler: String, Sendable, CaseIterable {
        case conv, spatial, temporal, spatiotemporal
        case none
    }

    public struct Decoder: Sendable, Equatable {
        /// Channels of the middle and, behind it, of each level.
        public var channels: [Int]
        public var layers: [Int]
        /// Of the middle and each level.
        public var injectsNoise: [Bool]
        /// Of each level: whether time, height and width double.
        public var doubles: [Bool]
        public var addsInput: [Bool]
        /// What the channels are divided by when they double.
        public var factors: [Int]
        public var takesTime: Bool
    }

    /// 0.9.0.
    public static let plain = LTXVAEConfig(
        latentChannels: 128, patchSize: 4,
        encoder: Encoder(
            channels: [128, 256, 512, 512], layers: [4, 3, 3, 3, 4], downsamplers: [.conv, .conv, .conv, .none],
            widensInDownsampler: false),
        decoder: Decoder(
            channels: [512, 512, 512, 256, 128], layers: [4, 3, 3, 3, 4],
            injectsNoise: Array(repeating: false, count: 5), doubles: [false, true, true, true],
            addsInput: Array(repeating: false, count: 4), factors: [1, 1, 1, 1], takesTime: false),
        spatialCompression: 32, temporalCompression: 8)
    /// 0.9.1.
    public static let timed = LTXVAEConfig(
        latentChannels: 128, patchSize: 4, encoder: plain.encoder,
        decoder: Decoder(
            channels: [1024, 512, 256, 128], layers: [8, 7, 6, 5], injectsNoise: [false, true, true, true],
            doubles: [true, true, true], addsInput: [true, true, true], factors: [2, 2, 2], takesTime: true),
        spatialCompression: 32, temporalCompression: 8)
    /// 0.9.5 and later.
    public static let folded = LTXVAEConfig(
        latentChannels: 128, patchSize: 4,
        encoder: Encoder(
            channels: [128, 256, 512, 1024, 2048], layers: [4, 6, 6, 2, 2],
            downsamplers: [.spatial, .temporal, .spatiotemporal, .spatiotemporal], widensInDownsampler: true),
        decoder: Decoder(
            channels: [1024, 512, 256, 128], layers: [5, 5, 5, 5], injectsNoise: Array(repeating: false, count: 4),
            doubles: [true, true, true], addsInput: [true, true, true], factors: [2, 2, 2], takesTime: true),
        spatialCompression: 32, temporalCompression: 8)

    private init(
        latentChannels: Int, patchSize: Int, encoder: Encoder, decoder: Decoder, spatialCompression: Int,
        temporalCompression: Int
    ) {
        self.latentChannels = latentChannels
        self.patchSize = patchSize
        self.encoder = encoder
        self.decoder = decoder
        self.spatialCompression = spatialCompression
        self.temporalCompression = temporalCompression
    }

    /// - Throws: `FileError.malformed` naming the key that is out of range or not supported. Missing keys have the
    ///   values of 0.9.0, as in diffusers.
    public init(_ file: ConfigFile) throws(FileError) {
        _ = try file.string("_class_name", oneOf: ["AutoencoderKLLTXVideo"])
        for (key, only) in [("in_channels", 3.0), ("out_channels", 3), ("patch_size_t", 1)] { try file.only(key, only) }
        for (key, only) in [("scaling_factor", 1.0), ("resnet_norm_eps", 1e-6)] { try file.only(key, only) }
        for (key, only) in [("encoder_causal", true), ("decoder_causal", false)] { try file.only(key, only) }
        latentChannels = try file.integerIfPresent("latent_channels", 1...4096) ?? 128
        patchSize = try file.integerIfPresent("patch_size", 1...16) ?? 4
        encoder = try Encoder(file)
        decoder = try Decoder(file)
        let doublings = decoder.doubles.count { $0 }
        // What the encoder's folding levels would give by themselves is not what it says.
        spatialCompression = patchSize << doublings
        temporalCompression = 1 << doublings
        for (field, own) in [
            ("spatial_compression_ratio", spatialCompression), ("temporal_compression_ratio", temporalCompression),
        ] { try file.stated(field, own, by: "the decoder's levels") }
        let side = spatialCompression / patchSize
        let clip = encoderStages.output(of: VAEClip(frames: 1 + temporalCompression, height: side, width: side))
        guard (clip.frames, clip.height, clip.width) == (2, 1, 1) else {
            throw .malformed(
                path: file.path, field: "downsample_type", found: "levels of another compression than the decoder's",
                expected: "\(spatialCompression) in space and \(temporalCompression) in time")
        }
    }
}

/// A list of a configuration file, of one length.
private func list<Value>(
    _ values: [Value]?, _ key: String, count: Int, standard: [Value], _ file: ConfigFile
) throws(FileError) -> [Value] {
    let values = values ?? standard
    guard values.count == count else {
        throw .malformed(path: file.path, field: key, found: "\(values.count) values", expected: "\(count)")
    }
    return values
}

extension LTXVAEConfig.Encoder {
    fileprivate init(_ file: ConfigFile) throws(FileError) {
        let standard = LTXVAEConfig.plain.encoder
        channels = try file.wholeNumbers("block_out_channels", standard: standard.channels)
        let classes = ["LTXVideoDownBlock3D", "LTXVideo095DownBlock3D"]
        let names = try file.stringsIfPresent("down_block_types") ?? Array(repeating: classes[0], count: 4)
        guard let name = names.first, classes.contains(name), names.allSatisfy({ $0 == name }) else {
            throw .malformed(
                path: file.path, field: "down_block_types", found: names.joined(separator: ", "),
                expected: "all \(classes.joined(separator: ", or all "))")
        }
        widensInDownsampler = name == classes[1]
        let levels = names.count
        // 0.9.5 lists the middle's channels too.
        guard channels.count == levels + (widensInDownsampler ? 1 : 0) else {
            throw .malformed(
                path: file.path, field: "block_out_channels", found: "\(channels.count) values",
                expected: "\(levels + (widensInDownsampler ? 1 : 0)) with \(levels) down_block_types")
        }
        layers = try file.wholeNumbers("layers_per_block", count: levels + 1, standard: standard.layers)
        let scales = try list(
            file.boolsIfPresent("spatio_temporal_scaling"), "spatio_temporal_scaling", count: levels,
            standard: [true, true, true, false], file)
        let types = try list(
            file.stringsIfPresent("downsample_type"), "downsample_type", count: levels,
            standard: Array(repeating: "conv", count: levels), file)
        downsamplers = []
        for (type, isScaled) in zip(types, scales) {
            guard let known = LTXVAEConfig.Downsampler(rawValue: type), known != .none,
                (known == .conv) != widensInDownsampler
            else {
                throw .malformed(
                    path: file.path, field: "downsample_type", found: type,
                    expected: widensInDownsampler ? "spatial, temporal or spatiotemporal" : "conv")
            }
            downsamplers.append(isScaled ? known : .none)
        }
        for (level, kind) in downsamplers.enumerated() where widensInDownsampler {
            let (from, to) = (channels[level], channels[level + 1])
            if kind == .none ? from != to : to % kind.places != 0 || from * kind.places % to != 0 {
                throw .malformed(
                    path: file.path, field: "block_out_channels", found: "\(to) after \(from)",
                    expected: kind == .none
                        ? "\(from), as this level folds nothing"
                        : "a multiple of \(kind.places) that divides \(from * kind.places)")
            }
        }
    }
}

extension LTXVAEConfig.Downsampler {
    /// Frames, and rows and columns, folded into one.
    var folds: (frames: Int, factor: Int) {
        switch self {
        case .spatial: (1, 2)
        case .temporal: (2, 1)
        case .spatiotemporal, .conv: (2, 2)
        case .none: (1, 1)
        }
    }

    var places: Int { folds.frames * folds.factor * folds.factor }
}

extension LTXVAEConfig.Decoder {
    fileprivate init(_ file: ConfigFile) throws(FileError) {
        let widths = try file.wholeNumbers("decoder_block_out_channels", standard: [128, 256, 512, 512])
        let levels = widths.count
        let none = Array(repeating: false, count: levels)
        layers = try file.wholeNumbers(
            "decoder_layers_per_block", count: levels + 1, standard: [4, 3, 3, 3, 4]).reversed()
        injectsNoise = try list(
            file.boolsIfPresent("decoder_inject_noise"), "decoder_inject_noise", count: levels + 1,
            standard: none + [false], file).reversed()
        doubles = try list(
            file.boolsIfPresent("decoder_spatio_temporal_scaling"), "decoder_spatio_temporal_scaling", count: levels,
            standard: [true, true, true, false], file).reversed()
        addsInput = try list(
            file.boolsIfPresent("upsample_residual"), "upsample_residual", count: levels, standard: none, file)
            .reversed()
        factors = try file.wholeNumbers(
            "upsample_factor", count: levels, standard: Array(repeating: 1, count: levels)).reversed()
        takesTime = try file.boolIfPresent("timestep_conditioning") ?? false
        channels = []
        var inside = widths[levels - 1]
        channels.append(inside)
        for level in 0..<levels {
            let wide = widths[levels - 1 - level]
            // Divided where it doubles; where it does not, the factor must be 1.
            let factor = factors[level]
            let changes = inside != wide
            guard wide % factor == 0, factor == 1 || doubles[level] && !changes,
                !(doubles[level] && addsInput[level]) || wide % 8 == 0, !(takesTime && changes && factor == 1)
            else {
                throw .malformed(
                    path: file.path, field: "decoder_block_out_channels",
                    found: "\(wide) after \(inside) with upsample_factor \(factor)",
                    expected: "channels as in LTX-Video 0.9.0, 0.9.1 or 0.9.5")
            }
            inside = wide / factor
            channels.append(inside)
        }
    }
}
