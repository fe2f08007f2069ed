import VditFiles

/// The shape of an `AutoencoderKLHunyuanVideo`, as its `config.json` states it.
///
/// Its group norms, and the attention in the middle, span all frames of a clip. As in the reference by default, clips
/// of more than four latent frames are cut into pieces that overlap, each a clip of its own. As the reference is
/// commonly used, though not by default, frames larger than 256 pixels are decoded in tiles.
/// - Source: AutoencoderKLHunyuanVideo, diffusers 0.42.1.
public struct HunyuanVideoVAEConfig: Sendable, Equatable {
    public var latentChannels: Int
    /// Channels of each level of the encoder; the decoder has them reversed.
    public var channels: [Int]
    /// Residual blocks of a level of the encoder; those of the decoder have one more.
    public var layers: Int
    public var normGroups: Int
    /// Levels that halve time: those before the last.
    public var timeLevels: Int
    public var hasAttention: Bool
    public var scalingFactor: Double

    private init() {
        latentChannels = 16
        channels = [128, 256, 512, 512]
        layers = 2
        normGroups = 32
        timeLevels = 2
        hasAttention = true
        scalingFactor = 0.476986
    }

    /// The released VAE.
    public static let released = HunyuanVideoVAEConfig()

    /// - Throws: `FileError.malformed` naming the key that is out of range or not supported. Missing keys have the
    ///   values of the released VAE.
    public init(_ file: ConfigFile) throws(FileError) {
        _ = try file.string("_class_name", oneOf: ["AutoencoderKLHunyuanVideo"])
        for key in ["in_channels", "out_channels"] { try file.only(key, 3.0) }
        try file.only("act_fn", "silu")
        self = .released
        latentChannels = try file.integerIfPresent("latent_channels", 1...4096) ?? latentChannels
        channels = try file.wholeNumbers("block_out_channels", standard: channels)
        let levels = channels.count
        try file.only("down_block_types", "HunyuanVideoDownBlock3D", levels: levels)
        try file.only("up_block_types", "HunyuanVideoUpBlock3D", levels: levels)
        layers = try file.integerIfPresent("layers_per_block", 1...64) ?? layers
        normGroups = try file.groups("norm_num_groups", of: channels)
        hasAttention = try file.boolIfPresent("mid_block_add_attention") ?? true
        let compression = try file.integerIfPresent("temporal_compression_ratio", 1...1024) ?? 4
        timeLevels = compression.trailingZeroBitCount
        // Pieces are 12 frames apart.
        let most = min(8, 1 << (levels - 1))
        guard compression == 1 << timeLevels, compression <= most else {
            throw .malformed(
                path: file.path, field: "temporal_compression_ratio", found: "\(compression)",
                expected: "a power of 2 up to \(most)")
        }
        try file.stated("spatial_compression_ratio", spatialCompression, by: "\(levels) block_out_channels")
        scalingFactor = try file.scalingFactor(scalingFactor)
    }
}

extension HunyuanVideoVAEConfig: StagedVAESpecification {
    public var spatialCompression: Int { 1 << (channels.count - 1) }
    public var temporalCompression: Int { 1 << timeLevels }

    var groupSizes: (decoder: Int?, encoder: Int?) { (nil, nil) }
    var pieces: VAEPieces? { VAEPieces(length: 16 / temporalCompression + 1, stride: 12 / temporalCompression) }
    var tiling: VAETiling? { VAETiling() }

    var denormalization: (scale: [Float], shift: [Float]) {
        (
            Array(repeating: Float(1 / scalingFactor), count: latentChannels),
            Array(repeating: 0, count: latentChannels)
        )
    }

    public var configuration: [String: ConfigurationValue] {
        [
            "_class_name": .text("AutoencoderKLHunyuanVideo"), "in_channels": .integer(3), "out_channels": .integer(3),
            "latent_channels": .integer(latentChannels), "block_out_channels": .integers(channels),
            "down_block_types": .texts(channels.map { _ in "HunyuanVideoDownBlock3D" }),
            "up_block_types": .texts(channels.map { _ in "HunyuanVideoUpBlock3D" }),
            "layers_per_block": .integer(layers), "norm_num_groups": .integer(normGroups), "act_fn": .text("silu"),
            "spatial_compression_ratio": .integer(spatialCompression),
            "temporal_compression_ratio": .integer(temporalCompression), "scaling_factor": .number(scalingFactor),
            "mid_block_add_attention": .flag(hasAttention),
        ]
    }
}
