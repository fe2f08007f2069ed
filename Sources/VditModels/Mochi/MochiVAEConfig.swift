import VditFiles
import VditTensor

/// The shape of an `AutoencoderKLMochi`, as its `config.json` states it. Only the decoder is served: no pipeline of the
/// model takes a picture.
///
/// Its group norms are of single frames and its convolutions causal, so that the decoder streams in time.
/// - Source: AutoencoderKLMochi, diffusers 0.42.1.
public struct MochiVAEConfig: Sendable, Equatable {
    public var latentChannels: Int
    /// Channels of each level, from the pixels to the latents.
    public var encoderChannels: [Int]
    public var channels: [Int]
    /// Residual blocks: at the pixels, of each level, at the latents.
    public var layers: [Int]
    /// Of each level: frames, and rows and columns, that one of the next is made of.
    public var temporalExpansions: [Int]
    public var spatialExpansions: [Int]
    /// Which of the encoder's blocks, as in `layers`, have attention.
    public var encoderAttention: [Bool]
    public var latentsMean: [Float]
    public var latentsStd: [Float]
    public var scalingFactor: Double

    private init() {
        latentChannels = 12
        encoderChannels = [64, 128, 256, 384]
        channels = [128, 256, 512, 768]
        layers = [3, 3, 4, 6, 3]
        temporalExpansions = [1, 2, 3]
        spatialExpansions = [2, 2, 2]
        encoderAttention = [false, true, true, true, true]
        latentsMean = [
            -0.067309, -0.038011, -0.074778, -0.055653, 0.012767, -0.047035, 0.043897, -0.093463, -0.099183,
            -0.008730, -0.011932, -0.032199,
        ]
        latentsStd = [
            0.926380, 0.924889, 0.939306, 0.959254, 0.824456, 0.917260, 0.929415, 1.372094, 0.881394, 0.916832,
            0.918525, 0.927476,
        ]
        scalingFactor = 1
    }

    /// The released VAE, its normalisation rounded.
    public static let released = MochiVAEConfig()

    private static let normGroups = 32

    /// - Throws: `FileError.malformed` naming the key that is missing, out of range or not supported. Missing keys but
    ///   those of the normalisation have the values of the released VAE.
    public init(_ file: ConfigFile) throws(FileError) {
        _ = try file.string("_class_name", oneOf: ["AutoencoderKLMochi"])
        for (key, only) in [("in_channels", 15.0), ("out_channels", 3)] { try file.only(key, only) }
        try file.only("act_fn", "silu")
        self = .released
        latentChannels = try file.integerIfPresent("latent_channels", 1...4096) ?? latentChannels
        channels = try file.wholeNumbers("decoder_block_out_channels", standard: channels)
        let levels = channels.count
        guard levels > 1 else {
            throw .malformed(
                path: file.path, field: "decoder_block_out_channels", found: "1 value", expected: "2 or more")
        }
        encoderChannels = try file.wholeNumbers(
            "encoder_block_out_channels", count: levels, standard: encoderChannels)
        for (key, widths) in [
            ("decoder_block_out_channels", channels), ("encoder_block_out_channels", encoderChannels),
        ] {
            guard let width = widths.first(where: { $0 % Self.normGroups != 0 }) else { continue }
            throw .malformed(
                path: file.path, field: key, found: "\(width)", expected: "multiples of \(Self.normGroups)")
        }
        layers = try file.wholeNumbers("layers_per_block", count: levels + 1, standard: layers)
        temporalExpansions = try file.wholeNumbers(
            "temporal_expansions", count: levels - 1, standard: temporalExpansions)
        spatialExpansions = try file.wholeNumbers("spatial_expansions", count: levels - 1, standard: spatialExpansions)
        guard spatialExpansions.allSatisfy({ $0 == 2 }) else {
            throw .malformed(
                path: file.path, field: "spatial_expansions", found: "\(spatialExpansions)",
                expected: "2 at every level")
        }
        guard let most = temporalExpansions.max(), most <= 8 else {
            throw .malformed(
                path: file.path, field: "temporal_expansions", found: "\(temporalExpansions)", expected: "1 to 8 each")
        }
        encoderAttention = try file.boolsIfPresent("add_attention_block") ?? encoderAttention
        guard encoderAttention.count == levels + 1 else {
            throw .malformed(
                path: file.path, field: "add_attention_block", found: "\(encoderAttention.count) values",
                expected: "\(levels + 1)")
        }
        latentsMean = try file.perChannel("latents_mean", latentChannels)
        latentsStd = try file.perChannel("latents_std", latentChannels, positive: true)
        scalingFactor = try file.scalingFactor(1)
    }
}

extension MochiVAEConfig: StagedVAESpecification {
    public var spatialCompression: Int { spatialExpansions.reduce(1, *) }
    public var temporalCompression: Int { temporalExpansions.reduce(1, *) }

    /// Two frames at once are what convolutions over time work fast on.
    var groupSizes: (decoder: Int?, encoder: Int?) { (2, nil) }
    var leadingFrames: Int { temporalCompression - 1 }

    var denormalization: (scale: [Float], shift: [Float]) {
        (latentsStd.map { $0 / Float(scalingFactor) }, latentsMean)
    }

    public func loadEncoder(_ weights: any WeightSource, _ compute: ComputeContext) throws -> (any VideoEncoder)? {
        nil
    }

    public var configuration: [String: ConfigurationValue] {
        [
            "_class_name": .text("AutoencoderKLMochi"), "in_channels": .integer(15), "out_channels": .integer(3),
            "latent_channels": .integer(latentChannels), "encoder_block_out_channels": .integers(encoderChannels),
            "decoder_block_out_channels": .integers(channels), "layers_per_block": .integers(layers),
            "temporal_expansions": .integers(temporalExpansions), "spatial_expansions": .integers(spatialExpansions),
            "add_attention_block": .flags(encoderAttention), "act_fn": .text("silu"),
            "latents_mean": .numbers(latentsMean), "latents_std": .numbers(latentsStd),
            "scaling_factor": .number(scalingFactor),
        ]
    }
}
