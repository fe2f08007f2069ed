import VditFiles

/// The shape of an `AutoencoderKLCogVideoX`, as its `config.json` states it.
///
/// Group norms take their statistics over the frames that enter together: two latent frames to the decoder, eight video
/// frames to the encoder, the first time what is left over too. So these numbers are part of the format.
/// - Source: AutoencoderKLCogVideoX, diffusers 0.42.1.
public struct CogVideoXVAEConfig: Sendable, Equatable {
    public var latentChannels: Int
    /// Channels of each level of the encoder; the decoder has them reversed.
    public var channels: [Int]
    /// Residual blocks of a level of the encoder; those of the decoder have one more.
    public var layers: Int
    public var normGroups: Int
    /// Levels that halve time.
    public var timeLevels: Int
    public var scalingFactor: Double
    /// Whether a picture's latents are divided by the scaling factor instead: CogVideoX 1.5 was trained so.
    public var dividesPictures: Bool

    /// The released VAE.
    public init(scalingFactor: Double, dividesPictures: Bool = false) {
        latentChannels = 16
        channels = [128, 256, 256, 512]
        layers = 3
        normGroups = 32
        timeLevels = 2
        self.scalingFactor = scalingFactor
        self.dividesPictures = dividesPictures
    }

    /// That of the 2B model.
    public static let small = CogVideoXVAEConfig(scalingFactor: 1.15258426)
    /// That of the 5B models.
    public static let large = CogVideoXVAEConfig(scalingFactor: 0.7)

    /// - Throws: `FileError.malformed` naming the key that is out of range or not supported. Missing keys have the
    ///   values of the 2B model, as in diffusers.
    public init(_ file: ConfigFile) throws(FileError) {
        _ = try file.string("_class_name", oneOf: ["AutoencoderKLCogVideoX"])
        for (key, only) in [("in_channels", 3), ("out_channels", 3), ("norm_eps", 1e-6)] { try file.only(key, only) }
        for key in ["use_quant_conv", "use_post_quant_conv"] { try file.only(key, false) }
        try file.only("act_fn", "silu")
        for key in ["latents_mean", "latents_std", "shift_factor"] where file.keys.contains(key) {
            throw .malformed(path: file.path, field: key, found: "a value", expected: "null: scaling_factor alone")
        }
        latentChannels = try file.integerIfPresent("latent_channels", 1...4096) ?? 16
        channels = try file.wholeNumbers("block_out_channels", standard: [128, 256, 256, 512])
        try file.only("down_block_types", "CogVideoXDownBlock3D", levels: channels.count)
        try file.only("up_block_types", "CogVideoXUpBlock3D", levels: channels.count)
        layers = try file.integerIfPresent("layers_per_block", 1...64) ?? 3
        normGroups = try file.groups("norm_num_groups", of: channels)
        let compression = try file.integerIfPresent("temporal_compression_ratio", 1...1024) ?? 4
        timeLevels = compression.trailingZeroBitCount
        guard compression == 1 << timeLevels, timeLevels < channels.count else {
            throw .malformed(
                path: file.path, field: "temporal_compression_ratio", found: "\(compression)",
                expected: "a power of 2 up to \(1 << (channels.count - 1))")
        }
        scalingFactor = try file.scalingFactor(1.15258426)
        dividesPictures = try file.boolIfPresent("invert_scale_latents") ?? false
    }
}

extension CogVideoXVAEConfig: StagedVAESpecification {
    public var spatialCompression: Int { 1 << (channels.count - 1) }
    public var temporalCompression: Int { 1 << timeLevels }
    /// The encoder's frames that enter together: clips of 1 more than a multiple of them are cut as in training.
    public var frameStep: Int { 2 * temporalCompression }

    var groupSizes: (decoder: Int?, encoder: Int?) { (2, frameStep) }

    var denormalization: (scale: [Float], shift: [Float]) { perChannel(1 / scalingFactor) }

    var normalization: (scale: [Float], shift: [Float]) {
        perChannel(dividesPictures ? 1 / scalingFactor : scalingFactor)
    }

    private func perChannel(_ factor: Double) -> (scale: [Float], shift: [Float]) {
        (Array(repeating: Float(factor), count: latentChannels), Array(repeating: 0, count: latentChannels))
    }

    /// Of an even number of latent frames each makes as many, of an odd number the first makes one.
    public func videoSize(of latents: LatentShape) -> (width: Int, height: Int, numFrames: Int) {
        let lost = latents.frames % 2 == 0 ? 0 : temporalCompression - 1
        return (
            latents.width * spatialCompression, latents.height * spatialCompression,
            latents.frames * temporalCompression - lost
        )
    }

    public var configuration: [String: ConfigurationValue] {
        [
            "_class_name": .text("AutoencoderKLCogVideoX"), "in_channels": .integer(3), "out_channels": .integer(3),
            "latent_channels": .integer(latentChannels), "block_out_channels": .integers(channels),
            "down_block_types": .texts(channels.map { _ in "CogVideoXDownBlock3D" }),
            "up_block_types": .texts(channels.map { _ in "CogVideoXUpBlock3D" }), "layers_per_block": .integer(layers),
            "norm_num_groups": .integer(normGroups), "norm_eps": .number(1e-6), "act_fn": .text("silu"),
            "temporal_compression_ratio": .integer(temporalCompression), "scaling_factor": .number(scalingFactor),
            "invert_scale_latents": .flag(dividesPictures), "use_quant_conv": .flag(false),
            "use_post_quant_conv": .flag(false),
        ]
    }
}
